/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_PYTHON_COMPILED_H
#define AIOFASTNET_PYTHON_COMPILED_H

#include "module.h"

/*
 * What a protocol has in C, by <aiofastnet/python.h>.
 */
struct compiled_protocol {
    int (*data_received)(PyObject *protocol, const void *data, size_t length);
    PyObject *capsule; /* which keeps the function */
    PyObject *method;  /* the function stands for this one; NULL if the protocol cannot change it */
};

/*
 * Looks for it.
 *
 * Returns: 0, and *ret_compiled is NULL if the protocol is an ordinary one; or -1 with an
 * exception.
 */
int compiled_find(struct module_state *state, PyObject *protocol,
                  struct compiled_protocol **ret_compiled);

/* Takes NULL. */
void compiled_free(struct compiled_protocol *compiled);
int compiled_traverse(struct compiled_protocol *compiled, visitproc visit, void *arg);

#endif
