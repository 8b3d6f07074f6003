#!/bin/sh
# SPDX-License-Identifier: MIT
# Programs in C99 and, where there is a compiler for it, in C++ can include the public headers; and
# extension modules of Python python.h, also with the limited API.
: "${srcdir:=.}" "${CC:=cc}" "${PYTHON_CPPFLAGS=}"
include=$srcdir/../../include
failed=0

compile() { # LANGUAGE TEXT OPTIONS...
    language=$1
    text=$2
    shift 2
    echo "$text" | $CC -I"$include" "$@" -Wall -Wextra -Werror -fsyntax-only -x "$language" - || {
        echo "the headers do not compile with $*: $text"
        failed=1
    }
}

try() { # LANGUAGE OPTIONS...
    language=$1
    shift
    compile "$language" '#include <aiofastnet/aiofastnet.h>
    int main(void) { return afn_version() == 0; }' "$@"
    test -n "$PYTHON_CPPFLAGS" || return
    for limit in '' '#define Py_LIMITED_API 0x03090000'; do
        # shellcheck disable=SC2086 # a list of words
        compile "$language" "$limit
        #include <aiofastnet/python.h>
        #include <aiofastnet/aiofastnet.h>
        int main() { return afn_python_import() == 0 || afn_python_make_capsule(0) == 0; }" \
            "$@" $PYTHON_CPPFLAGS
    done
}

try c -std=c99 -pedantic-errors -Wshadow -Wconversion
try c -std=c17 -pedantic-errors
if echo 'int main() { return 0; }' | $CC -fsyntax-only -x c++ - 2> /dev/null; then
    try c++ -std=c++11 -pedantic-errors
else
    echo "no C++ compiler: only C was tried"
fi
test -n "$PYTHON_CPPFLAGS" || echo "configured without Python: python.h was not tried"
exit $failed
