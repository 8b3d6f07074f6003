# SPDX-License-Identifier: MIT

# AFN_KTLS
# --------
# Kernel TLS at compile time.  Whether the running kernel has it is found out at run time.  Defines
# HAVE_KTLS and sets ktls_summary.
AC_DEFUN([AFN_KTLS], [
AC_ARG_ENABLE([ktls],
  [AS_HELP_STRING([--enable-ktls@<:@=auto|yes|no@:>@],
    [kernel TLS; with yes, configure fails where it cannot be compiled @<:@auto@:>@])],
  [], [enable_ktls=auto])
AS_CASE([$enable_ktls], [auto|yes|no], [],
  [AC_MSG_ERROR([--enable-ktls takes auto, yes or no, not $enable_ktls])])
AS_IF(
  [test "$with_system_aiofastnet" != no], [ktls_summary="as the system's library"],
  [test "$enable_ktls" = no], [ktls_summary="no (--disable-ktls)"],
  [afn_save_CPPFLAGS=$CPPFLAGS
   CPPFLAGS="$CPPFLAGS $OPENSSL_CFLAGS"
   AC_CACHE_CHECK([for kernel TLS in linux/tls.h], [afn_cv_ktls_linux],
     [AC_COMPILE_IFELSE(
       [AC_LANG_PROGRAM([[#include <linux/tls.h>]], [[return TLS_TX + TLS_RX;]])],
       [afn_cv_ktls_linux=yes], [afn_cv_ktls_linux=no])])
   AC_CACHE_CHECK([for kernel TLS in OpenSSL], [afn_cv_ktls_openssl],
     [AC_COMPILE_IFELSE(
       [AC_LANG_PROGRAM([[#include <openssl/bio.h>
#include <openssl/ssl.h>
#if defined(OPENSSL_NO_KTLS) || !defined(SSL_OP_ENABLE_KTLS)
# error OpenSSL was built without it
#endif
]], [[return (int) BIO_get_ktls_send((BIO *) 0);]])],
       [afn_cv_ktls_openssl=yes], [afn_cv_ktls_openssl=no])])
   CPPFLAGS=$afn_save_CPPFLAGS
   AS_CASE([$afn_cv_ktls_linux-$afn_cv_ktls_openssl],
     [yes-yes],
       [ktls_summary="compiled in"
        AC_DEFINE([HAVE_KTLS], [1], [Define to 1 if kernel TLS can be compiled.])],
     [no-*], [ktls_summary="no (the kernel headers have no linux/tls.h)"],
     [ktls_summary="no (this OpenSSL was built without it)"])
   AS_CASE([$enable_ktls-$ktls_summary],
     [yes-no*], [AC_MSG_ERROR([--enable-ktls=yes was given, but kernel TLS: $ktls_summary])])])
])
