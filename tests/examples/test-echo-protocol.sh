#!/bin/sh
# SPDX-License-Identifier: MIT
# The protocol in C for Python: compiled as its first comment says, it gives a megabyte back to two
# clients at a time, on asyncio's loop and uvloop's, with their own transports and with aiofastnet's.
# shellcheck source=tests/examples/common.sh
. "${srcdir:=.}/common.sh"
: "${PYTHON:?}" "${PYTHON_STAGE:?}" "${PRELOAD=}"

build_module() {
    werror=
    case " $WARNINGS " in *' -Werror '*) werror=-Werror ;; esac
    # shellcheck disable=SC2046,SC2086 # lists of words
    $CC $FLAGS -Wall -Wextra $werror -shared -fPIC \
        -o "echo_protocol$("$PYTHON-config" --extension-suffix)" "$examples/echo-protocol.c" \
        $($PKG_CONFIG --cflags aiofastnet) $("$PYTHON-config" --includes)
}

# The server as a program.  A sanitizer's runtime comes first in the process, and Python leaks.
make_program() {
    cat >echo-protocol <<PROGRAM
#!/bin/sh
PYTHONPATH=$PWD:$PYTHON_STAGE
ASAN_OPTIONS=\${ASAN_OPTIONS-detect_leaks=0}
export PYTHONPATH ASAN_OPTIONS
test -z "$PRELOAD" || export LD_PRELOAD=$PRELOAD
exec $PYTHON "$examples/echo-protocol.py" "\$@"
PROGRAM
    chmod +x echo-protocol
}

try() { # ARGUMENT...
    check "starts $*" start echo-protocol "$@"
    check "a megabyte comes back to two clients at a time $*" two_at_a_time
    check "SIGTERM ends it $*" stop
}

test -z "$RUNNER" || skip_all "Python is not run under valgrind"
command -v "$OPENSSL" >/dev/null || skip_all "openssl is missing"
command -v "$PYTHON-config" >/dev/null || skip_all "$PYTHON-config is missing"
make_certificate
make_data
check "compiles" build_module
make_program
try
try --stock
if "$PYTHON" -c 'import uvloop' 2>/dev/null; then
    try --uvloop
    try --uvloop --stock
else
    skip "uvloop" "$PYTHON has none"
fi
finish
