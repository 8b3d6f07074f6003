#!/bin/sh
# SPDX-License-Identifier: MIT
# The server of files, asked by curl, and by s_client for what curl would not send.
# shellcheck source=tests/examples/common.sh
. "${srcdir:=.}/common.sh"

fetch() { # ARGUMENT OF CURL...
    "$CURL" -q -sS --noproxy '*' --http1.1 --path-as-is --cacert certificate.pem "$@"
}

url() { # PATH
    echo "https://localhost:$port$1"
}

says() { # STATUS ARGUMENT OF CURL...
    wanted=$1
    shift
    status=$(fetch -o body -w '%{http_code}' "$@")
    echo "status $status"
    test "$status" = "$wanted"
}

# ---- what curl asks ----

serves_on_one_connection() {
    fetch -w '%{num_connects} ' -o a "$(url /a.txt)" -o b "$(url '/sub/deep%20er.json?query')" \
        -o c "$(url /empty)" -o d "$(url /)" >connects || return 1
    cat connects
    test "$(cat connects)" = '1 0 0 0 ' && cmp a www/a.txt && cmp b 'www/sub/deep er.json' &&
        test ! -s c && cmp d www/index.html
}

serves_a_long_file() {
    fetch -o big "$(url /big)" && test "$(sha256sum <big)" = "$(sha256sum <www/big)"
}

answers_head() {
    fetch -I -o head "$(url /a.txt)" --next -q -sS --cacert certificate.pem --http1.1 --noproxy '*' \
        -w '%{num_connects}' -o a "$(url /a.txt)" >connects || return 1
    cat head
    grep -q '^HTTP/1.1 200 OK' head && grep -q '^Content-Length: 14.$' head &&
        grep -q '^Content-Type: text/plain' head && cmp a www/a.txt && test "$(cat connects)" = 0
}

misses() {
    for path in /missing /a.txt/more /sub /pipe /missing/; do
        says 404 "$(url $path)" || return 1
    done
}

# What the files outside say must not come, whatever the status.
refuses_to_leave() {
    for path in /../outside /%2e%2e/outside /sub/../../outside /..%2foutside /sub/%2E./.%2e/outside \
        //../outside /link /links/outside /.. /sub/..; do
        says 403 "$(url $path)" || return 1
        ! grep -q secret body || return 1
    done
    says 400 "$(url '/a.txt%00.html')"
}

serves_ranges() {
    fetch -D head -r 1000-2999 -o part "$(url /big)" &&
        tail -c +1001 www/big | head -c 2000 | cmp - part &&
        grep -q '^HTTP/1.1 206 ' head &&
        grep -q '^Content-Range: bytes 1000-2999/20000000.$' head &&
        fetch -r -500 -o part "$(url /big)" && tail -c 500 www/big | cmp - part &&
        fetch -r 19999000- -o part "$(url /big)" && tail -c 1000 www/big | cmp - part &&
        says 416 -r 20000000- "$(url /big)" && says 416 -r 0-0 "$(url /empty)" &&
        says 200 -r 5-4 "$(url /a.txt)" && cmp body www/a.txt &&
        says 200 -r 0-1,3-4 "$(url /a.txt)" && cmp body www/a.txt
}

refuses_other_methods() {
    says 405 -d data "$(url /a.txt)" && says 405 -X DELETE "$(url /a.txt)" &&
        says 413 -X GET -d data "$(url /a.txt)"
}

# ---- what curl would not ask ----

# The status of the answer to what it reads, after which the connection ends.
ends_with() { # STATUS
    connect raw -ign_eof
    answer=$(head -n 1 raw.client.out)
    echo "answer $answer"
    case $answer in "HTTP/1.1 $1 "*) ;; *) return 1 ;; esac
}

refuses_nonsense() {
    printf 'GET / HTTP/1.1\r\n\r\n' | ends_with 400 &&
        printf 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n' | ends_with 400 &&
        printf 'GET / HTTP/1.1\r\nHost : a\r\n\r\n' | ends_with 400 &&
        printf 'GET / HTTP/1.1\r\nHost: a\r\n more\r\n\r\n' | ends_with 400 &&
        printf 'GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n' | ends_with 400 &&
        printf 'GET /\000 HTTP/1.1\r\nHost: a\r\n\r\n' | ends_with 400 &&
        printf 'GET a.txt HTTP/1.1\r\nHost: a\r\n\r\n' | ends_with 400 &&
        printf 'GET / HTTP/2.0\r\nHost: a\r\n\r\n' | ends_with 505 &&
        head -c 9000 /dev/zero | tr '\0' a | ends_with 431
}

# Nothing but two heads comes; curl passes over a body that it has at once.
heads_have_no_body() {
    printf 'HEAD /a.txt HTTP/1.1\r\nHost: a\r\n\r\nHEAD /a.txt HTTP/1.0\r\n\r\n' | ends_with 200 &&
        test "$(grep -c '^Content-Length: 14.$' raw.client.out)" = 2 &&
        ! grep 'what a.txt is' raw.client.out
}

# Three requests in one write; the answers come in their order, and the last ends the connection.
serves_a_pipeline() {
    {
        printf 'GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n'
        printf 'GET /big HTTP/1.1\r\nHost: a\r\n\r\n\r\n'
        printf 'GET https://a/a.txt HTTP/1.0\r\n\r\n'
    } | connect raw -ign_eof
    grep -a '^HTTP/1' raw.client.out
    # Each body is followed by the next head at once.
    sed '1,/^\r$/d' raw.client.out >rest
    head -c 14 rest | cmp - www/a.txt || return 1
    tail -c +15 rest | sed '1,/^\r$/d' >rest-of-it
    head -c 20000000 rest-of-it | cmp - www/big || return 1
    tail -c +20000001 rest-of-it >last
    grep -q '^Connection: close' last && tail -c 14 last | cmp - www/a.txt
}

# ---- clients that take their time ----

peak_memory() {
    sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$server/status"
}

# A client that takes a byte, and the rest once there is a file go.
fetch_slowly() { # PATH
    {
        fetch "$(url "$1")"
        echo $? >slow.status
    } | {
        dd bs=1 count=1 2>/dev/null >first
        wait_until test -e go
        cat first - | sha256sum >slow.sum
    }
}

begin_slowly() { # PATH
    rm -f first go slow.sum slow.status
    fetch_slowly "$1" &
    slow=$!
    wait_until has_size first 1
}

end_slowly() {
    : >go
    wait "$slow"
}

has_come_slowly() {
    test "$(cat slow.sum)" = "$(sha256sum <www/big)"
}

waits_for_the_slow() {
    begin_slowly /big
    serves_on_one_connection
    result=$?
    end_slowly
    after=$(peak_memory)
    echo "peak memory at the start $before kB, now $after kB"
    # Under an instrument, memory that was given back counts too.
    test $result = 0 && has_come_slowly &&
        { test -n "$instrumented" || test $((after - before)) -lt 8000; }
}

# The client is told that this is not all, and others are served.
cuts_off_what_shrinks() {
    cp www/big www/shrinks
    begin_slowly /shrinks
    : >www/shrinks
    end_slowly
    cat slow.status server.err
    test "$(cat slow.status)" != 0 && grep -q '^connection lost: Input/output error' server.err &&
        test "$(wc -l <server.err)" = 1 && serves_on_one_connection && : >server.err
}

stops_after_the_last() {
    begin_slowly /big
    kill -TERM "$server"
    wait_until refuses_connections
    result=$?
    end_slowly
    has_ended && test $result = 0 && has_come_slowly
}

refuses_connections() {
    ! fetch -o body "$(url /a.txt)"
}

# It does not end before the server does: nothing is sent, and the end of the input ignored.
is_sent_away() {
    connect idle -ign_eof </dev/null && test ! -s idle.client.out
}

# ----

command -v "$OPENSSL" >/dev/null || skip_all "openssl is missing"
command -v "$CURL" >/dev/null || skip_all "curl is missing"
make_certificate
instrumented=$RUNNER
case $FLAGS in *-fsanitize*) instrumented=yes ;; esac
mkdir www www/sub
echo 'what a.txt is' >www/a.txt
echo '<p>home</p>' >www/index.html
echo '{}' >'www/sub/deep er.json'
: >www/empty
"$OPENSSL" rand 20000000 >www/big
echo 'a secret' >outside
ln -s ../outside www/link
ln -s .. www/links
mkfifo www/pipe

check "compiles" build https-files '' https-files.c http-request.c server.c
check "starts" start https-files www
before=$(peak_memory)
check "several files on one connection" serves_on_one_connection
check "twenty megabytes" serves_a_long_file
check "HEAD" answers_head
check "404 for what is not there" misses
check "nothing leads out of the directory" refuses_to_leave
check "ranges" serves_ranges
check "other methods and bodies are refused" refuses_other_methods
check "nonsense is refused" refuses_nonsense
check "no body after HEAD" heads_have_no_body
check "requests before the answer to the first" serves_a_pipeline
check "a slow client takes neither time of others nor memory" waits_for_the_slow
check "a file that shrinks while it is sent ends the connection" cuts_off_what_shrinks
check "SIGTERM ends it after the answer that is under way" stops_after_the_last
check "starts again" start https-files www 1
check "a client that asks for nothing is sent away" is_sent_away
check "SIGTERM ends it" stop
finish
