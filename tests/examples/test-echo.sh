#!/bin/sh
# SPDX-License-Identifier: MIT
# The echo servers, one a loop: each is compiled, gives a megabyte back to two clients at a time, and
# ends on SIGTERM without clients and with one.
# shellcheck source=tests/examples/common.sh
. "${srcdir:=.}/common.sh"

# Says hello, and sends the rest when the other client has its hello too.
converse() { # NAME OTHER
    {
        cat hello
        wait_until has_size "$2.client.out" 6
        cat data
        wait_until has_size "$1.client.out" "$expected"
    } | connect "$1" -no_ign_eof
}

two_at_a_time() {
    rm -f ./*.client.out
    : >one.client.out
    : >two.client.out
    converse one two &
    first=$!
    converse two one
    wait $first
    cmp hello+data one.client.out && cmp hello+data two.client.out
}

# The client stays connected until the server says goodbye, and then ends by itself.
end_with_a_client() {
    : >last.client.out
    connect last <input &
    client=$!
    exec 3>input
    cat hello >&3
    wait_until has_size last.client.out 6
    kill -TERM "$server"
    wait $client
    client_status=$?
    exec 3>&-
    echo "the client's status: $client_status"
    has_ended && test "$client_status" = 0
}

try() { # LOOP MODULE
    check "$1: compiles" build "echo-$1" "$2" "echo-$1.c" echo.c server.c
    check "$1: starts" start "echo-$1"
    check "$1: a megabyte comes back to two clients at a time" two_at_a_time
    check "$1: SIGTERM ends it" stop
    check "$1: starts again" start "echo-$1"
    check "$1: SIGTERM ends it with a client, who is told" end_with_a_client
}

command -v "$OPENSSL" >/dev/null || skip_all "openssl is missing"
make_certificate
echo hello >hello
mkfifo input
"$OPENSSL" rand 1048576 >data
cat hello data >hello+data
expected=$(wc -c <hello+data)

for loop in run: poll: epoll: libuv:libuv glib:glib-2.0 libevent:libevent_core; do
    module=${loop#*:}
    if test -n "$module" && ! $PKG_CONFIG --exists "$module"; then
        skip "${loop%:*}" "$module was not found"
    else
        try "${loop%:*}" "$module"
    fi
done
finish
