#!/bin/sh
# SPDX-License-Identifier: MIT
# The echo servers, one a loop: each is compiled, gives a megabyte back to two clients at a time, and
# ends on SIGTERM without clients and with one.
# shellcheck source=tests/examples/common.sh
. "${srcdir:=.}/common.sh"

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
make_data
mkfifo input

for loop in run: poll: epoll: libuv:libuv glib:glib-2.0 libevent:libevent_core; do
    module=${loop#*:}
    if test -n "$module" && ! $PKG_CONFIG --exists "$module"; then
        skip "${loop%:*}" "$module was not found"
    else
        try "${loop%:*}" "$module"
    fi
done
finish
