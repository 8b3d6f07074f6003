/* SPDX-License-Identifier: MIT */
#include "arguments.h"

/* The place of a name, or -1. */
static Py_ssize_t find(const char *const *names, PyObject *keyword)
{
    for (Py_ssize_t i = 0; names[i] != NULL; i++) {
        if (PyUnicode_CompareWithASCIIString(keyword, names[i]) == 0)
            return i;
    }
    return -1;
}

int arguments_parse(const char *method, const char *const *names, PyObject *const *args,
                    Py_ssize_t count, PyObject *keywords, PyObject **found)
{
    Py_ssize_t named = keywords != NULL ? PyTuple_GET_SIZE(keywords) : 0, place;

    for (place = 0; place < count && names[place] != NULL; place++)
        found[place] = args[place];
    if (place < count) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %zd arguments (%zd given)", method, place,
                     count + named);
        return -1;
    }
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *keyword = PyTuple_GET_ITEM(keywords, i);

        place = find(names, keyword);
        if (place < count) {
            PyErr_Format(PyExc_TypeError,
                         place < 0 ? "%s() got an unexpected keyword argument '%U'"
                                   : "%s() got multiple values for argument '%U'",
                         method, keyword);
            return -1;
        }
        found[place] = args[count + i];
    }
    if (found[0] == NULL) {
        PyErr_Format(PyExc_TypeError, "%s() missing required argument: '%s'", method, names[0]);
        return -1;
    }
    return 0;
}
