#!/bin/sh
# SPDX-License-Identifier: MIT
# The library exports what the public headers declare, the version script says so name by name,
# every header compiles alone, the header's version is the package's, and README's program compiles.
: "${srcdir:=.}" "${CC:=cc}" "${NM:=nm}" "${PYTHON_CPPFLAGS=}"
top=$srcdir/../..
headers=$top/include/aiofastnet
failed=0

complain() {
    echo "$*"
    failed=1
}

compare() { # NAME OF ONE, ITS LINES, NAME OF THE OTHER, ITS LINES
    test -n "$2" || complain "nothing in $1"
    test "$2" = "$4" && return
    complain "$1 and $3 differ (< only in $1, > only in $3):"
    echo "$2" > exports-one.tmp
    echo "$4" > exports-other.tmp
    diff exports-one.tmp exports-other.tmp
    rm -f exports-one.tmp exports-other.tmp
}

# Declarations end at a semicolon; a typedef's name is no function.
declared=$($CC -E -P -I"$top/include" "$headers/aiofastnet.h" | tr '\n' ' ' | tr ';' '\n' |
    grep -v '^ *typedef' | grep -o '\<afn_[a-z_]*(' | tr -d '(' | LC_ALL=C sort -u)
listed=$(sed -n 's/^ *\(afn_[a-z_]*\);.*/\1/p' "$top/lib/libaiofastnet.map" | LC_ALL=C sort)
exported=$($NM -D --defined-only ../../lib/.libs/libaiofastnet.so |
    awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | LC_ALL=C sort)
compare "the headers" "$declared" "the version script" "$listed"
compare "the version script" "$listed" "the library" "$exported"

for header in "$headers"/*.h; do
    if test "$(basename "$header")" = python.h && test -z "$PYTHON_CPPFLAGS"; then
        echo "configured without Python: python.h was not compiled"
    else
        # shellcheck disable=SC2086 # a list of words
        echo "#include <aiofastnet/$(basename "$header")>" |
            $CC -I"$top/include" $PYTHON_CPPFLAGS -Wall -Wextra -Werror -fsyntax-only -x c - ||
            complain "$(basename "$header") does not compile alone"
    fi
    grep -q "aiofastnet/$(basename "$header")" "$top/include/Makefile.am" ||
        complain "$(basename "$header") would not be installed"
done

number() {
    sed -n "s/^#define AFN_VERSION_$1 //p" "$headers/version.h"
}
header_version=$(number MAJOR).$(number MINOR).$(number MICRO)
grep -q "^#define PACKAGE_VERSION \"$header_version\"" ../../config.h ||
    complain "version.h says $header_version, configure.ac another"

awk '/^    #include/ { inside = 1 } /^    cc / { inside = 0 } inside' "$top/README" |
    $CC -I"$top/include" -Wall -Wextra -Werror -fsyntax-only -x c - ||
    complain "the program in README does not compile"

exit $failed
