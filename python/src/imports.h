/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_IMPORTS_H
#define AIOFASTNET_IMPORTS_H

#include "module.h"

/*
 * Looks up what the module borrows from the standard library, and checks that asyncio is as it is
 * expected to be.
 *
 * Returns: 0, or -1 with an exception.
 */
int imports_load(struct module_state *state);

#endif
