/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_PYTHON_DIAGNOSTICS_H
#define AIOFASTNET_PYTHON_DIAGNOSTICS_H

#include "transport.h"

/*
 * What transports tell about themselves to those who look for a fault: counters, and changes of
 * their state, at level DEBUG of the logger "aiofastnet".  Reads and writes are not logged, so that
 * a program pays for the counting only.
 */

/* get_extra_info("aiofastnet"): a new dict, or NULL with an exception.  Any thread may ask. */
PyObject *diagnostics_describe(TransportObject *transport);

#endif
