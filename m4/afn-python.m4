# SPDX-License-Identifier: MIT

# AFN_PYTHON(MINIMUM)
# -------------------
# Finds the interpreter that the extension is for.  The distribution's own comes first: what is
# first on PATH may be a shim of a version manager.  Sets have_python, python_summary, PYTHON,
# PYTHON_CPPFLAGS, PYTHON_EXT_SUFFIX and the directories.
AC_DEFUN([AFN_PYTHON], [
AC_ARG_WITH([python],
  [AS_HELP_STRING([--with-python@<:@=PATH|no@:>@],
    [the interpreter to build the extension for @<:@/usr/bin/python3@:>@])],
  [], [with_python=auto])
AC_ARG_VAR([PYTHON_CPPFLAGS], [preprocessor flags for Python.h, instead of what Python says])
AC_ARG_VAR([PYTHON_EXT_SUFFIX],
  [file name suffix of extension modules, instead of what Python says])
AS_CASE([$with_python],
  [auto|yes], [AS_IF([test -z "$PYTHON" && test -x /usr/bin/python3], [PYTHON=/usr/bin/python3])
               AS_IF([test -z "$PYTHON"], [AC_PATH_PROG([PYTHON], [python3])])],
  [no], [PYTHON=],
  [*/*], [PYTHON=$with_python],
  [AS_UNSET([PYTHON])
   AC_PATH_PROG([PYTHON], [$with_python])])

have_python=no
python_summary="no (--without-python)"
AS_IF([test "x$with_python" != xno], [
  AS_IF(
    [test -z "$PYTHON"], [python_summary="no (no interpreter was found)"],
    [! "$PYTHON" -c "import sys; sys.exit(sys.version_info < tuple(map(int, '$1'.split('.'))))"],
    [python_summary="no ($PYTHON does not run, or is older than $1)"],
    [_AFN_PYTHON_FOUND([$1])])
  AS_IF([test "$with_python$have_python" != autono && test "$have_python" = no],
    [AC_MSG_ERROR([--with-python was given, but: $python_summary])])
])
AM_CONDITIONAL([WITH_PYTHON], [test "$have_python" = yes])
])

AC_DEFUN([_AFN_PYTHON_FOUND], [
  AM_PATH_PYTHON([$1])
  # Debian's Python looks in dist-packages, not in the site-packages that AM_PATH_PYTHON sets.  The
  # directories stay relative to the prefix, so that DESTDIR and another prefix at `make' time work.
  AS_IF([$PYTHON -c "import sys, sysconfig
sys.exit('posix_local' not in sysconfig.get_scheme_names() or sys.prefix != sys.base_prefix)"],
    [AS_CASE([$prefix],
       [NONE|/usr/local], [pyexecdir='${exec_prefix}/lib/python$(PYTHON_VERSION)/dist-packages'],
       [/usr], [pyexecdir='${exec_prefix}/lib/python3/dist-packages'])
     pkgpyexecdir='${pyexecdir}/aiofastnet'])

  AC_MSG_CHECKING([where $PYTHON has its headers])
  AS_IF([test -z "$PYTHON_CPPFLAGS"],
    [PYTHON_CPPFLAGS=`$PYTHON -c "import sysconfig
paths = {sysconfig.get_path('include'), sysconfig.get_path('platinclude')}
print(' '.join('-isystem ' + path for path in sorted(paths)))"`])
  AC_MSG_RESULT([$PYTHON_CPPFLAGS])

  AC_MSG_CHECKING([which suffix $PYTHON gives to extension modules])
  AS_IF([test -z "$PYTHON_EXT_SUFFIX"],
    [PYTHON_EXT_SUFFIX=`$PYTHON -c "import sysconfig
print(sysconfig.get_config_var('EXT_SUFFIX'))"`])
  AC_MSG_RESULT([$PYTHON_EXT_SUFFIX])

  afn_save_CPPFLAGS=$CPPFLAGS
  CPPFLAGS="$CPPFLAGS $PYTHON_CPPFLAGS"
  AC_CHECK_HEADER([Python.h],
    [have_python=yes
     python_summary="for Python $PYTHON_VERSION ($PYTHON)"],
    [python_summary="no ($PYTHON has no Python.h; on Debian it is in python3-dev)"])
  CPPFLAGS=$afn_save_CPPFLAGS
])

# AFN_PYTEST
# ----------
# Sets have_pytest and pytest_summary.
AC_DEFUN([AFN_PYTEST], [
AC_ARG_VAR([PYTEST_PATH],
  [directory to add to the end of the module path for the tests, where PYTHON has no pytest itself])
AC_SUBST([have_pytest])
AS_IF([test "$have_python" = no],
  [have_pytest=no
   pytest_summary="not needed"],
  [AC_MSG_CHECKING([whether $PYTHON has pytest])
   AS_IF([PYTHONPATH=$PYTHONPATH${PYTHONPATH:+:}$PYTEST_PATH \
          $PYTHON -c 'import pytest' >&AS_MESSAGE_LOG_FD 2>&1],
     [have_pytest=yes
      pytest_summary=yes],
     [have_pytest=no
      pytest_summary="no: the Python tests will be skipped"])
   AC_MSG_RESULT([$have_pytest])])
])
