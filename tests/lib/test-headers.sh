#!/bin/sh
# SPDX-License-Identifier: MIT
# Programs in C99 and, where there is a compiler for it, in C++ can include the public headers.
: "${srcdir:=.}" "${CC:=cc}"
include=$srcdir/../../include
failed=0

try() { # LANGUAGE OPTIONS...
    language=$1
    shift
    echo '#include <aiofastnet/aiofastnet.h>
    int main(void) { return afn_version() == 0; }' |
        $CC -I"$include" "$@" -Wall -Wextra -Werror -fsyntax-only -x "$language" - || {
        echo "the headers do not compile with $*"
        failed=1
    }
}

try c -std=c99 -pedantic-errors -Wshadow -Wconversion
try c -std=c17 -pedantic-errors
if echo 'int main() { return 0; }' | $CC -fsyntax-only -x c++ - 2> /dev/null; then
    try c++ -std=c++11 -pedantic-errors
else
    echo "no C++ compiler: only C was tried"
fi
exit $failed
