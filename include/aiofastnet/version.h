/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_VERSION_H
#define AIOFASTNET_VERSION_H

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define AFN_VERSION_MAJOR 0
#define AFN_VERSION_MINOR 1
#define AFN_VERSION_MICRO 0

/*
 * The version of the library in use, "MAJOR.MINOR.MICRO"; the macros above are that of the header.
 *
 * Threads: any.
 * Returns: a constant string.
 * Since: 0.1.0
 */
const char *afn_version(void);

/*
 * Says whether kernel TLS was compiled in.  Whether the running kernel has it is another question.
 *
 * Threads: any.
 * Returns: 1 or 0.
 * Since: 0.1.0
 */
int afn_has_ktls(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
