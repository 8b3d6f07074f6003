/* SPDX-License-Identifier: MIT */
#include <config.h>

#include <aiofastnet/version.h>

const char *afn_version(void)
{
    return PACKAGE_VERSION;
}

int afn_has_ktls(void)
{
#ifdef HAVE_KTLS
    return 1;
#else
    return 0;
#endif
}
