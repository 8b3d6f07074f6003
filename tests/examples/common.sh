# SPDX-License-Identifier: MIT
# What the tests of the examples share; to be sourced.  Each test prints TAP, works in a directory of
# its own, and has one server at a time.
# shellcheck shell=sh
: "${srcdir:=.}" "${CC:=cc}" "${FLAGS=}" "${WARNINGS=}" "${PKG_CONFIG:=pkg-config}" "${RUNNER=}"
: "${OPENSSL:=openssl}" "${CURL:=curl}" "${STAGE_LIB:?}" "${STAGE_PC:?}"
examples=$(cd "$srcdir/../../examples" && pwd) || exit 99
work=$(basename "$0" .sh).tmp
PKG_CONFIG_PATH=$STAGE_PC${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
PKG_CONFIG_DISABLE_UNINSTALLED=1
export PKG_CONFIG_PATH PKG_CONFIG_DISABLE_UNINSTALLED
server=
count=0

clean_up() {
    test -z "$server" || kill -KILL "$server" 2>/dev/null
    cd .. && rm -rf "$work"
}

rm -rf "$work"
mkdir "$work" && cd "$work" || exit 99
trap clean_up EXIT
trap 'exit 99' HUP INT TERM

# ---- TAP ----

skip_all() { # WHY
    echo "1..0 # SKIP $1"
    exit 0
}

skip() { # WHAT WHY
    count=$((count + 1))
    echo "ok $count - $1 # SKIP $2"
}

# One test: does the command succeed?  What may explain a failure is printed.
check() { # WHAT COMMAND...
    what=$1
    shift
    count=$((count + 1))
    if "$@" >check.log 2>&1; then
        echo "ok $count - $what"
        return
    fi
    echo "not ok $count - $what"
    for log in check.log server.err ./*.client.err; do
        test ! -s "$log" || tail -n 20 "$log" | sed "s,^,# $(basename "$log"): ,"
    done
}

finish() {
    echo "1..$count"
    exit 0
}

# ---- building ----

# Compiles an example by pkg-config alone, without a warning.
build() { # PROGRAM MODULES SOURCE...
    program=$1
    modules=$2
    shift 2
    werror=
    case " $WARNINGS " in *' -Werror '*) werror=-Werror ;; esac
    for source; do
        set -- "$@" "$examples/$source"
        shift
    done
    # shellcheck disable=SC2046,SC2086 # lists of words
    $CC $FLAGS -Wall -Wextra $werror -o "$program" "$@" \
        $($PKG_CONFIG --cflags --libs aiofastnet libssl libcrypto $modules)
}

make_certificate() {
    "$OPENSSL" req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
        -subj /CN=localhost -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -days 2 \
        -keyout key.pem -out certificate.pem 2>certificate.log || {
        cat certificate.log
        exit 99
    }
}

# ---- running ----

# Polls, not for ever and not for a server that is gone.
wait_until() { # COMMAND...
    tries=0
    until "$@" 2>/dev/null; do
        tries=$((tries + 1))
        test "$tries" -lt 1200 || return 1
        grep -q '^State:.[^Z]' "/proc/$server/status" 2>/dev/null || return 1
        sleep 0.05
    done
}

# Starts a server on a port of its choice.
start() { # PROGRAM ARGUMENT...
    program=$1
    shift
    : >server.out
    # shellcheck disable=SC2086 # a command
    LD_LIBRARY_PATH=$STAGE_LIB $RUNNER "./$program" 0 certificate.pem key.pem "$@" \
        >server.out 2>server.err &
    server=$!
    wait_until grep -q '^listening on ' server.out
    port=$(sed -n 's/^listening on 127\.0\.0\.1://p' server.out)
    test -n "$port"
}

# Waits for the end of the server, which is to be one without errors.
has_ended() {
    wait "$server"
    status=$?
    server=
    echo "exit status $status"
    test "$status" = 0 && test ! -s server.err
}

stop() {
    kill -TERM "$server" && has_ended
}

# A TLS client that sends what it reads and ends with it; the name is for its files.
connect() { # NAME ARGUMENT...
    client=$1
    shift
    "$OPENSSL" s_client -quiet -nocommands "$@" -connect "127.0.0.1:$port" \
        -CAfile certificate.pem -verify_return_error -verify_hostname localhost \
        >"$client.client.out" 2>"$client.client.err"
}

has_size() { # FILE BYTES
    test "$(wc -c <"$1")" -ge "$2"
}

# ---- echoes ----

make_data() {
    echo hello >hello
    "$OPENSSL" rand 1048576 >data
    cat hello data >hello+data
    expected=$(wc -c <hello+data)
}

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
