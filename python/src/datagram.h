/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_PYTHON_DATAGRAM_H
#define AIOFASTNET_PYTHON_DATAGRAM_H

#include "transport.h"

/*
 * Gives a new transport of the datagram type its socket, which then belongs to the transport.
 * Reading is paused.  address is what the transport sends to, or None.
 *
 * Returns: 0, or -1 with an exception.
 */
int datagram_open(TransportObject *self, PyObject *sock, PyObject *address);

PyObject *datagram_sendto(TransportObject *self, PyObject *const *args, Py_ssize_t count,
                          PyObject *keywords);

static inline bool datagram_is_one(const TransportObject *self)
{
    return self->role == TRANSPORT_DATAGRAM;
}

#endif
