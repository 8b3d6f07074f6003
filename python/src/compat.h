/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_COMPAT_H
#define AIOFASTNET_COMPAT_H

/*
 * Everything that depends on the version of Python, so that no other file does.  The oldest is 3.9.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <structmember.h>

#if PY_VERSION_HEX < 0x03090000
#error "Python 3.9 or newer is needed"
#endif

#if PY_VERSION_HEX < 0x030A0000
#define COMPAT_TPFLAGS_IMMUTABLE 0UL

static inline PyObject *Py_NewRef(PyObject *object)
{
    Py_INCREF(object);
    return object;
}

static inline PyObject *Py_XNewRef(PyObject *object)
{
    Py_XINCREF(object);
    return object;
}
#else
#define COMPAT_TPFLAGS_IMMUTABLE Py_TPFLAGS_IMMUTABLETYPE
#endif

/* Can nobody give the class another method? */
static inline bool compat_is_immutable(PyTypeObject *type)
{
    return !(type->tp_flags & Py_TPFLAGS_HEAPTYPE) || (type->tp_flags & COMPAT_TPFLAGS_IMMUTABLE);
}

/* Takes the raised exception out of the thread: one object, with its traceback. */
static inline PyObject *compat_take_exception(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *traceback;

    PyErr_Fetch(&type, &value, &traceback);
    if (type == NULL)
        return NULL;
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(value, traceback);
    Py_XDECREF(traceback);
    Py_DECREF(type);
    return value;
#endif
}

/* Raises it again, and takes the reference; NULL clears. */
static inline void compat_raise_exception(PyObject *exception)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(exception);
#else
    if (exception == NULL) {
        PyErr_Clear();
        return;
    }
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exception)), exception,
                  PyException_GetTraceback(exception));
#endif
}

/* Does the class or a base define the name?  1, 0, or -1 with an exception. */
static inline int compat_has_class_attribute(PyTypeObject *type, PyObject *name)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyObject_HasAttrWithError((PyObject *)type, name);
#else
    /* Private, but in all of these; the public ones make an exception each time there is none. */
    return _PyType_Lookup(type, name) != NULL;
#endif
}

/* Where connection_lost() of a socket's stream runs: in the context of whoever closed, or in that of
 * the connection.  Of everything else it is the former. */
#define COMPAT_STREAM_LOST_WHERE_CLOSED (PY_VERSION_HEX < 0x030F0000)

/* From 3.13 on asyncio sends empty datagrams, and counts a header for each that is queued. */
#define COMPAT_SENDS_EMPTY_DATAGRAMS (PY_VERSION_HEX >= 0x030D0000)
#define COMPAT_DATAGRAM_HEADER_SIZE (COMPAT_SENDS_EMPTY_DATAGRAMS ? 8u : 0u)

/*
 * Without the GIL a lock of the object keeps other threads out, in sections that call no Python.
 */
#ifndef Py_BEGIN_CRITICAL_SECTION
#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif

/*
 * What is here belongs to the thread that runs the loop.  The others may look at a transport: for
 * their sake its owner takes away what they might be looking at in a critical section.
 */
#ifdef Py_mod_gil
#define COMPAT_GIL_SLOT {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#else
#define COMPAT_GIL_SLOT
#endif

/* Not refused for a reason, but nobody has tried it. */
#ifdef Py_mod_multiple_interpreters
#define COMPAT_INTERPRETERS_SLOT                                                                   \
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#else
#define COMPAT_INTERPRETERS_SLOT
#endif

#endif
