/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_PYTHON_CAPSULE_H
#define AIOFASTNET_PYTHON_CAPSULE_H

#include "module.h"

/* Gives the module the functions of <aiofastnet/python.h>: 0, or -1 with an exception. */
int capsule_add(PyObject *module);

#endif
