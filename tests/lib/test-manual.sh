#!/bin/sh
# SPDX-License-Identifier: MIT
# The manual says what the headers and the version script say: every public function, as it is
# declared, every structure and constant, and nothing else; each function has a page of its name,
# references lead somewhere, and the examples compile.  Then mandoc checks the pages.  python.h, whose
# functions are in the header itself, is read with an empty Python.h: Python need not be there.
: "${srcdir:=.}" "${CC:=cc}" "${PYTHON_CPPFLAGS=}"
top=$srcdir/../..
headers=$top/include/aiofastnet
pages=$top/man
built=../../man
work=manual.tmp
failed=0
LC_ALL=C
export LC_ALL

complain() {
    echo "$*"
    failed=1
}

compare() { # NAME OF ONE, ITS FILE, NAME OF THE OTHER, ITS FILE
    test -s "$work/$2" || complain "nothing in $1"
    cmp -s "$work/$2" "$work/$4" && return
    complain "$1 and $3 differ (< only in $1, > only in $3):"
    diff "$work/$2" "$work/$4"
}

squeeze() {
    tr -d ' \t' | sort
}

# Complete structures and function types, out of text that is one line.
types_of() {
    grep -o -e 'struct afn_[a-z_]* *{[^}]*}' -e 'typedef [a-z ]*afn_[a-z_]*([^)]*)' "$@" | squeeze
}

rm -rf $work
mkdir $work || exit 99
trap 'rm -rf $work' EXIT

# ---- what there is ----

$CC -E -P -I"$top/include" "$headers/aiofastnet.h" | sed '/^#/d; s/_Bool/bool/g' |
    tr '\n' ' ' > $work/header
mkdir $work/no-python
: > $work/no-python/Python.h
$CC -E -P -I$work/no-python -I"$top/include" "$headers/python.h" | tr '\n' ' ' >> $work/header
inline=$(sed -n 's/^static inline .*\<\(afn_python_[a-z_]*\)(.*/\1/p' "$headers/python.h")
test -n "$inline" || complain "no functions in python.h"
# Up to the body, where there is one.
tr ';' '\n' < $work/header | grep -v '^ *typedef' | sed 's/.*static inline//; s/).*{.*/)/' |
    grep '\<afn_[a-z_]*(' | squeeze > $work/prototypes
tr ';' '\n' < $work/header | grep -v '^ *typedef' | grep -o '\<afn_[a-z_]*(' | tr -d '(' |
    sort > $work/functions
{
    sed -n 's/^ *\(afn_[a-z_]*\);.*/\1/p' "$top/lib/libaiofastnet.map"
    echo "$inline"
} | sort > $work/exported
types_of $work/header > $work/types
cat "$headers"/*.h | grep -o '\<AFN_[A-Z_]*' | sort -u > $work/constants
grep -o '\<[a-z_-]*\.[1-9]\>' "$pages/Makefile.am" | sort > $work/pages
grep -h -o -e '\<struct afn_[a-z_]*' -e '\<enum afn_[a-z_]*' "$headers"/*.h | sed 's/.* //' |
    sort -u > $work/tags

# ---- what the manual says ----

topics=$(grep -l '^\.Dt ' "$pages"/*.3)
awk '/^\.Sh/ { inside = $2 == "NAME" } inside && $1 == ".Nm" { print $2 }' $topics |
    sort > $work/named
awk '/^\.Sh/ { inside = $2 == "SYNOPSIS" }
    inside && $1 ~ /^\.(Ft|Fo|Fa|Fc)$/ {
        macro = $1
        sub(/^\.F[a-z] */, "")
        gsub(/"/, "")
        if (macro == ".Ft")
            text = $0
        else if (macro == ".Fo") {
            text = text " " $0 "("
            separator = ""
        } else if (macro == ".Fa") {
            text = text separator $0
            separator = ","
        } else
            print text ")"
    }' $topics | squeeze > $work/described
cat $topics | tr '\n' ' ' | types_of > $work/described-types
cat "$pages"/*.[37] | grep -v '^\.Dt' | grep -o '\<AFN_[A-Z_]*' |
    sort -u > $work/described-constants
awk '$1 == ".Fn" && $2 ~ /^afn_/ { print $2 } $1 == ".Xr" && $2 ~ /^afn_/ { print $2 }' \
    "$pages"/*.[37] | sort -u > $work/mentioned

compare "the headers" functions "the version script" exported
compare "the headers" functions "the NAME sections" named
compare "the headers" prototypes "the SYNOPSIS sections" described
compare "the headers" types "the pages" described-types
compare "the headers" constants "the pages" described-constants

# ---- names of pages ----

while read -r name; do
    if test -f "$pages/$name.3" && grep -q '^\.Dt ' "$pages/$name.3"; then
        topic=$pages/$name.3
    else
        target=$(sed -n 's,^\.so man3/,,p' "$built/$name.3")
        topic=$pages/${target:-nothing}
    fi
    grep -q "^\.Nm $name\( ,\)*\$" "$topic" || complain "$name.3 does not lead to a page about it"
    grep -q "^$name\.3\$" $work/pages || complain "$name.3 would not be installed"
done < $work/functions

sort -u $work/functions $work/tags > $work/subjects
sed -n 's/\.3$//p' $work/pages | comm -23 - $work/subjects > $work/strange
test -s $work/strange && complain "pages about nothing: $(cat $work/strange)"
uniq -d $work/pages > $work/twice
test -s $work/twice && complain "pages listed twice: $(cat $work/twice)"
for page in "$pages"/*.[1-9]; do
    grep -q "^$(basename "$page")\$" $work/pages || complain "$page would not be installed"
done

while read -r name; do
    grep -q "^$name\.3\$" $work/pages || complain "a page mentions $name, which does not exist"
done < $work/mentioned
sed -n 's/^\.Xr \(aiofastnet[a-z-]*\) \([1-9]\).*/\1.\2/p' "$pages"/*.[37] | sort -u |
    comm -23 - $work/pages > $work/dangling
test -s $work/dangling && complain "references to nothing: $(cat $work/dangling)"

# ---- examples ----

for page in $topics "$pages/aiofastnet.7"; do
    # One file a block; those for loops that may not be installed here are left out.
    awk -v prefix="$work/$(basename "$page")-" '
        /^\.Sh/ { inside = $2 == "EXAMPLES" }
        /^\.Ed/ { writing = 0; fresh = 0 }
        inside && fresh && /^#include/ { writing = 1; count++; name = prefix count ".c" }
        { fresh = 0 }
        writing { gsub(/\\e/, "\\"); print > name }
        /^\.Bd/ { fresh = 1 }' "$page"
    test -f "$work/$(basename "$page")-1.c" || complain "$page has no example"
done
for example in $work/*.c; do
    grep -q -e '<glib' -e '<uv\.h>' "$example" && continue
    grep -q '<aiofastnet/python.h>' "$example" && test -z "$PYTHON_CPPFLAGS" && continue
    # shellcheck disable=SC2086 # a list of words
    $CC -std=gnu11 -I"$top/include" $PYTHON_CPPFLAGS -Wall -Wextra -Werror -fsyntax-only "$example" ||
        complain "the example $(basename "$example" .c) does not compile"
done

# ---- form ----

test $failed = 0 || exit 1
if ! command -v mandoc > /dev/null; then
    echo "mandoc is missing: the pages agree with the headers, but their form was not checked"
    exit 77
fi
# Whether pages of other packages are installed is no matter of ours; ours were looked for above.
mandoc -T lint -W style "$pages"/*.7 $topics 2> /dev/null | grep -v 'referenced manual not found' &&
    complain "mandoc complains"
exit $failed
