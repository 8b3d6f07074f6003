/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_PYTHON_ARGUMENTS_H
#define AIOFASTNET_PYTHON_ARGUMENTS_H

#include "compat.h"

/*
 * The arguments of a method of METH_FASTCALL | METH_KEYWORDS, each by its place or its name.
 * names ends with NULL; the first one is needed, and found keeps what it has of the others that
 * are not given.  All references are borrowed.
 *
 * Returns: 0, or -1 with TypeError.
 */
int arguments_parse(const char *method, const char *const *names, PyObject *const *args,
                    Py_ssize_t count, PyObject *keywords, PyObject **found);

/* The same for a method of one argument: that, or NULL. */
static inline PyObject *arguments_get_one(const char *method, const char *name,
                                          PyObject *const *args, Py_ssize_t count,
                                          PyObject *keywords)
{
    const char *const names[] = {name, NULL};
    PyObject *found = NULL;

    if (count == 1 && keywords == NULL)
        return args[0];
    return arguments_parse(method, names, args, count, keywords, &found) < 0 ? NULL : found;
}

#endif
