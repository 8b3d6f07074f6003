/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_PYTHON_CARRIER_H
#define AIOFASTNET_PYTHON_CARRIER_H

#include "transport.h"

/*
 * What stands between a transport and another one that carries its bytes: to the lower one, whoever
 * made it, it is the protocol; to the stream of the upper one it is the socket.
 */
PyTypeObject *carrier_make_type(PyObject *module);

/*
 * Gives a transport a stream on another transport, whose protocol this becomes with
 * carrier_attach().
 *
 * Returns: 0, or -1 with an exception.
 */
int carrier_open(TransportObject *upper, PyObject *lower);
int carrier_attach(TransportObject *upper);

/* May connection_lost() be called, as far as the lower transport is concerned? */
bool carrier_is_lost(const TransportObject *upper);

/* The upper transport is over, or was dropped: what comes from below is ignored. */
void carrier_detach(TransportObject *upper);

/* What the lower transport has queued, in bytes; -1 with an exception. */
Py_ssize_t carrier_get_write_buffer_size(TransportObject *upper);

/* For repr(): the state of the upper one, the bytes it has queued, and the lower one. */
PyObject *carrier_repr(TransportObject *upper, const char *state, size_t queued);

/* As of the lower transport: a new reference; NULL, perhaps without an exception, for None. */
PyObject *carrier_get_extra_info(TransportObject *upper, PyObject *name);

#endif
