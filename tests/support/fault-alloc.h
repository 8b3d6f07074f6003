/* SPDX-License-Identifier: MIT */
#ifndef FAULT_ALLOC_H
#define FAULT_ALLOC_H

#include <stdbool.h>

/*
 * Allocations of the library that fail on request.  The program is linked with
 * -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free,--wrap=BIO_new,--wrap=BIO_meth_new,
 * which works beside sanitizers and valgrind, because the real functions stay theirs.
 */

/* From now on the k-th allocation fails, counted from 1; with persistent, also all that follow. */
void fault_alloc_arm(unsigned int k, bool persistent);

/* No allocation fails any more.  Returns whether one did. */
bool fault_alloc_disarm(void);

/* Between these, which nest, allocations are those of the test, and do not fail. */
void fault_alloc_suspend(void);
void fault_alloc_resume(void);

/*
 * Allocations that were made since the start and not freed yet.  Those that libcheck, which may be
 * linked statically, made before and frees later do not count.
 */
void fault_alloc_start_count(void);
long fault_alloc_get_live(void);

#endif
