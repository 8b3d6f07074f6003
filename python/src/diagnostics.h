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

/*
 * Changes of state, each told when it happens.  What they cost without a reader is one question to
 * the logger, in a dispatch the first time only: so a level that is set while the program runs has
 * its effect.  A handler of the logger is user code, like a callback.
 */
void diagnostics_made(TransportObject *transport);
void diagnostics_secured(TransportObject *transport);
void diagnostics_upgraded(TransportObject *transport, PyObject *lower);
void diagnostics_ended(TransportObject *transport);   /* by the peer */
void diagnostics_closing(TransportObject *transport); /* by the program */

/* exception may be NULL. */
void diagnostics_lost(TransportObject *transport, PyObject *exception);

#endif
