/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_PYTHON_INFO_H
#define AIOFASTNET_PYTHON_INFO_H

#include "module.h"

extern const char info_version[];

/* The functions info() and find_libssl() of the module. */
PyObject *info_collect(PyObject *module, PyObject *unused);
PyObject *info_find_libssl(PyObject *module, PyObject *path);

#endif
