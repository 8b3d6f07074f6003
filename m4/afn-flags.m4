# SPDX-License-Identifier: MIT
# Flags of our own.  CFLAGS, CPPFLAGS and LDFLAGS are the user's and stay as they are.

# AFN_COMPILE_FLAG(FLAG, VARIABLE)
# --------------------------------
# Adds the flag to the variable if the compiler knows it.
AC_DEFUN([AFN_COMPILE_FLAG], [
AS_VAR_PUSHDEF([afn_cache], [afn_cv_cflag_$1])
AC_CACHE_CHECK([whether $CC takes $1], [afn_cache],
  [afn_save_CFLAGS=$CFLAGS
   CFLAGS="$CFLAGS -Werror $1"
   AC_COMPILE_IFELSE([AC_LANG_PROGRAM()], [AS_VAR_SET([afn_cache], [yes])],
     [AS_VAR_SET([afn_cache], [no])])
   CFLAGS=$afn_save_CFLAGS])
AS_VAR_IF([afn_cache], [yes], [AS_VAR_APPEND([$2], [" $1"])])
AS_VAR_POPDEF([afn_cache])
AC_SUBST([$2])
])

# AFN_LINK_FLAG(FLAG, VARIABLE)
# -----------------------------
AC_DEFUN([AFN_LINK_FLAG], [
AS_VAR_PUSHDEF([afn_cache], [afn_cv_ldflag_$1])
AC_CACHE_CHECK([whether the linker takes $1], [afn_cache],
  [afn_save_LDFLAGS=$LDFLAGS
   LDFLAGS="$LDFLAGS $1"
   AC_LINK_IFELSE([AC_LANG_PROGRAM()], [AS_VAR_SET([afn_cache], [yes])],
     [AS_VAR_SET([afn_cache], [no])])
   LDFLAGS=$afn_save_LDFLAGS])
AS_VAR_IF([afn_cache], [yes], [AS_VAR_APPEND([$2], [" $1"])])
AS_VAR_POPDEF([afn_cache])
AC_SUBST([$2])
])

# AFN_WARNINGS
# ------------
# Sets WARNING_CFLAGS.
AC_DEFUN([AFN_WARNINGS], [
AC_ARG_ENABLE([werror],
  [AS_HELP_STRING([--enable-werror], [treat compiler warnings as errors])],
  [], [enable_werror=no])
m4_foreach_w([afn_flag],
  [-Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes
   -Wold-style-definition -Wvla -Wpointer-arith -Wformat-security],
  [AFN_COMPILE_FLAG(afn_flag, [WARNING_CFLAGS])])
AS_IF([test "$enable_werror" = yes], [AS_VAR_APPEND([WARNING_CFLAGS], [" -Werror"])])
])

# AFN_INSTRUMENTS
# ---------------
# Sanitizers and coverage: sets INSTRUMENT_FLAGS, for compiling and for linking, and
# SANITIZER_PRELOAD, the runtime that a process needs which loads an instrumented module but is not
# instrumented itself, as Python.
AC_DEFUN([AFN_INSTRUMENTS], [
AC_ARG_ENABLE([sanitizers],
  [AS_HELP_STRING([--enable-sanitizers=LIST],
    [instrument everything, e.g. address,undefined or thread])],
  [], [enable_sanitizers=no])
AC_ARG_ENABLE([coverage],
  [AS_HELP_STRING([--enable-coverage], [count executed lines, for gcov])],
  [], [enable_coverage=no])
AS_IF([test "$enable_sanitizers" = yes], [enable_sanitizers=address,undefined])
instruments_summary=
AS_IF([test "$enable_sanitizers" != no],
  [INSTRUMENT_FLAGS="-fsanitize=$enable_sanitizers -fno-sanitize-recover=all"
   AS_VAR_APPEND([INSTRUMENT_FLAGS], [" -fno-omit-frame-pointer"])
   afn_save_CFLAGS=$CFLAGS
   CFLAGS="$CFLAGS $INSTRUMENT_FLAGS"
   AC_MSG_CHECKING([whether $CC can link with -fsanitize=$enable_sanitizers])
   AC_LINK_IFELSE([AC_LANG_PROGRAM()], [AC_MSG_RESULT([yes])],
     [AC_MSG_RESULT([no])
      AC_MSG_ERROR([--enable-sanitizers=$enable_sanitizers does not work with this compiler])])
   CFLAGS=$afn_save_CFLAGS
   instruments_summary="sanitizers $enable_sanitizers"
   AS_CASE([,$enable_sanitizers,],
     [*,address,*], [afn_runtime=asan],
     [*,thread,*], [afn_runtime=tsan],
     [afn_runtime=ubsan])
   AC_MSG_CHECKING([for the runtime of the sanitizer])
   SANITIZER_PRELOAD=
   for afn_name in lib$afn_runtime.so libclang_rt.$afn_runtime-`uname -m`.so; do
     afn_path=`$CC -print-file-name=$afn_name`
     AS_IF([test -z "$SANITIZER_PRELOAD" && test -f "$afn_path"], [SANITIZER_PRELOAD=$afn_path])
   done
   AC_MSG_RESULT([${SANITIZER_PRELOAD:-not found}])])
AS_IF([test "$enable_coverage" != no],
  [AS_VAR_APPEND([INSTRUMENT_FLAGS], [" --coverage"])
   instruments_summary="${instruments_summary:+$instruments_summary, }coverage"])
AC_SUBST([INSTRUMENT_FLAGS])
AC_SUBST([SANITIZER_PRELOAD])
])
