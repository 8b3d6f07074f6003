/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_PYTHON_SERVER_H
#define AIOFASTNET_PYTHON_SERVER_H

#include "reactor.h"

/* Listening sockets, which make transports of what they accept; each belongs to its reactor. */

PyObject *reactor_start_serving(ReactorObject *self, PyObject *args, PyObject *keywords);
PyObject *reactor_stop_serving(ReactorObject *self, PyObject *sock);

/* Closes every listener of a reactor; the sockets stay their owners'. */
void server_close_all(ReactorObject *reactor);

int server_traverse(ReactorObject *reactor, visitproc visit, void *arg);

#endif
