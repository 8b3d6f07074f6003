# SPDX-License-Identifier: MIT

# AFN_LOOP(VARIABLE, NAME, MODULE)
# --------------------------------
# An event loop that an example runs on, and nothing else needs.  Sets VARIABLE_CFLAGS,
# VARIABLE_LIBS and the conditional HAVE_VARIABLE, and adds to loops_found or loops_missing.
AC_DEFUN([AFN_LOOP], [
PKG_CHECK_MODULES([$1], [$3],
  [afn_have_loop=yes
   loops_found="${loops_found:+$loops_found, }$2"
   # As a system directory: we warn about our code, not about the loop's headers.
   $1[]_CFLAGS=`AS_ECHO([" $$1[]_CFLAGS"]) | sed 's/ -I */ -isystem /g'`],
  [afn_have_loop=no
   loops_missing="${loops_missing:+$loops_missing, }$2"])
AM_CONDITIONAL([HAVE_$1], [test "$afn_have_loop" = yes])
])
