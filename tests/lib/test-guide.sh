#!/bin/sh
# SPDX-License-Identifier: MIT
# Each piece of C in the programmer's guide compiles as it stands; no line is too long for a terminal.
: "${srcdir:=.}" "${CC:=cc}"
top=$srcdir/../..
guide=$top/doc/guide.md
work=guide.tmp
failed=0

complain() {
    echo "$*"
    failed=1
}

rm -rf $work
mkdir $work || exit 99
trap 'rm -rf $work' EXIT

awk -v prefix="$work/line-" '
    /^```c$/ { name = prefix (FNR + 1) ".c"; next }
    /^```/ { name = "" }
    name { print > name }' "$guide"
test -n "$(ls $work)" || complain "no C in $guide"
for piece in $work/*.c; do
    for standard in gnu99 gnu17; do
        $CC -std=$standard -I"$top/include" $OPENSSL_CFLAGS -Wall -Wextra -Werror -fsyntax-only \
            "$piece" || complain "$guide, $(basename "$piece" .c): does not compile as $standard"
    done
done
awk 'length > 100 { print FILENAME ":" FNR ": longer than 100 characters"; bad = 1 }
    END { exit bad }' "$guide" || failed=1
exit $failed
