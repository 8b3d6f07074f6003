/* SPDX-License-Identifier: MIT */
#include "transport.h"

#include "arguments.h"
#include "callbacks.h"

#include <errno.h>

/* From this size on a bytes object is kept rather than copied when the kernel is busy. */
#define KEEP_SIZE ((size_t)16 * 1024)

/* Writes to a lost transport that are forgiven silently, as asyncio does; on TLS one more. */
#define SILENT_DROPS 4u

PyObject *transport_drop_write(TransportObject *self)
{
    bool is_tls = self->tls != NULL;

    if (self->ended) {
        PyErr_SetString(PyExc_RuntimeError, "Cannot call write() after write_eof()");
        return NULL;
    }
    if (self->dropped_writes >= SILENT_DROPS + (is_tls ? 1u : 0u))
        callbacks_warn(self->reactor,
                       is_tls ? "SSL connection is closed"
                       : self->role == TRANSPORT_WRITE_PIPE
                           ? "pipe closed by peer or os.write(pipe, data) raised exception."
                           : "socket.send() raised exception.");
    self->dropped_writes++;
    if (reactor_raise_interrupt(self->reactor) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* Turns the result of a write into that of the method. */
static PyObject *end_write(TransportObject *self, int result)
{
    if (result == 0)
        Py_RETURN_NONE;
    if (result > 0) {
        if (!self->writing_paused && callbacks_pause_writing(self) < 0)
            return NULL;
        Py_RETURN_NONE;
    }
    if (result == -EPIPE)
        return transport_drop_write(self);
    transport_raise_errno(result);
    return NULL;
}

static void release_object(void *user)
{
    Py_DECREF((PyObject *)user);
}

static int write_kept(TransportObject *self, const void *data, size_t length, PyObject *owner)
{
    return afn_stream_write_ref(self->stream, data, length, release_object, Py_NewRef(owner));
}

static int write_bytes(TransportObject *self, PyObject *bytes)
{
    size_t length = (size_t)PyBytes_GET_SIZE(bytes);

    if (length < KEEP_SIZE)
        return afn_stream_write(self->stream, PyBytes_AS_STRING(bytes), length);
    return write_kept(self, PyBytes_AS_STRING(bytes), length, bytes);
}

/* Only the memory of exact bytes never changes; of everything else the library takes a copy. */
static int write_view(TransportObject *self, Py_buffer *view, PyObject *exporter)
{
    size_t length = (size_t)view->len;
    PyObject *owner = view->obj;
    char *copy;
    int r;

    if (!PyBuffer_IsContiguous(view, 'C')) {
        copy = PyMem_Malloc(length);
        if (copy == NULL)
            return -ENOMEM;
        r = PyBuffer_ToContiguous(copy, view, view->len, 'C') < 0
                ? -ENOMEM
                : afn_stream_write(self->stream, copy, length);
        PyMem_Free(copy);
        return r;
    }
    if (PyMemoryView_Check(exporter))
        owner = PyMemoryView_GET_BUFFER(exporter)->obj;
    if (length >= KEEP_SIZE && view->readonly && owner != NULL && PyBytes_CheckExact(owner))
        return write_kept(self, view->buf, length, owner);
    return afn_stream_write(self->stream, view->buf, length);
}

/* Any object with a buffer that has something in it; -1 with an exception is *ret_failed. */
static int write_object(TransportObject *self, PyObject *data, bool *ret_failed)
{
    Py_buffer view;
    int r;

    *ret_failed = false;
    if (PyBytes_CheckExact(data))
        return PyBytes_GET_SIZE(data) > 0 ? write_bytes(self, data) : 0;
    if (PyObject_GetBuffer(data, &view, PyBUF_FULL_RO) < 0) {
        *ret_failed = true;
        return 0;
    }
    /* An exporter is free to run code, which may have ended this transport. */
    if (self->stream == NULL)
        r = -EPIPE;
    else
        r = view.len > 0 ? write_view(self, &view, data) : 0;
    PyBuffer_Release(&view);
    if (PyErr_Occurred())
        *ret_failed = true;
    return r;
}

int transport_check_writable(TransportObject *self, const char *after_eof)
{
    if (reactor_check_thread(self->reactor) < 0)
        return -1;
    if (self->successor != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "unable to write; start_tls() made another transport "
                                            "of this one");
        return -1;
    }
    if (self->ended) {
        PyErr_SetString(PyExc_RuntimeError, after_eof);
        return -1;
    }
    return 0;
}

/* As asyncio's: its TLS transport takes writes while a file is sent, and so does ours. */
static int check_no_file(TransportObject *self, const char *method)
{
    if (!self->sending_file || self->tls != NULL)
        return 0;
    PyErr_Format(PyExc_RuntimeError, "unable to %s; sendfile is in progress", method);
    return -1;
}

int transport_check_data(TransportObject *self, PyObject *data)
{
    PyObject *name;

    if (PyBytes_Check(data) || PyByteArray_Check(data) || PyMemoryView_Check(data))
        return 0;
    name = PyObject_GetAttrString((PyObject *)Py_TYPE(data), "__name__");
    if (name == NULL)
        return -1;
    if (self->tls != NULL)
        PyErr_Format(PyExc_TypeError, "data: expecting a bytes-like instance, got %U", name);
    else
        PyErr_Format(PyExc_TypeError, "data argument must be a bytes-like object, not %R", name);
    Py_DECREF(name);
    return -1;
}

static int check_write(TransportObject *self)
{
    if (transport_check_writable(self, "Cannot call write() after write_eof()") < 0)
        return -1;
    return check_no_file(self, "write");
}

static PyObject *write_slowly(TransportObject *self, PyObject *data)
{
    bool failed;
    int r;

    if (transport_check_data(self, data) < 0 || check_write(self) < 0)
        return NULL;
    if (self->stream == NULL) {
        /* Nothing is not dropped. */
        r = PyObject_IsTrue(data);
        if (r <= 0)
            return r < 0 ? NULL : Py_NewRef(Py_None);
        return transport_drop_write(self);
    }
    r = write_object(self, data, &failed);
    return failed ? NULL : end_write(self, r);
}

/* Is there nothing to be checked? */
static bool is_ready(TransportObject *self)
{
    return reactor_is_mine(self->reactor) && self->stream != NULL && !self->sending_file;
}

PyObject *transport_write(TransportObject *self, PyObject *const *args, Py_ssize_t count,
                          PyObject *keywords)
{
    PyObject *data = arguments_get_one("write", "data", args, count, keywords);

    if (data == NULL)
        return NULL;
    if (PyBytes_CheckExact(data) && is_ready(self)) {
        size_t length = (size_t)PyBytes_GET_SIZE(data);

        if (length > 0 && length < KEEP_SIZE)
            return end_write(self, afn_stream_write(self->stream, PyBytes_AS_STRING(data), length));
    }
    return write_slowly(self, data);
}

static int to_status(PyObject *result)
{
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int transport_begin_write(TransportObject *self, size_t length)
{
    if (length > 0 && is_ready(self))
        return 1;
    if (check_write(self) < 0)
        return -1;
    if (length == 0)
        return 0;
    return self->stream != NULL ? 1 : to_status(transport_drop_write(self));
}

int transport_end_write(TransportObject *self, int result)
{
    return to_status(end_write(self, result));
}

/* Either every part is written or none: find out first whether they can be. */
static int check_parts(PyObject *parts, bool *ret_empty)
{
    *ret_empty = true;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(parts); i++) {
        PyObject *part = PySequence_Fast_GET_ITEM(parts, i);
        Py_buffer view;

        if (PyBytes_CheckExact(part)) {
            *ret_empty = *ret_empty && PyBytes_GET_SIZE(part) == 0;
            continue;
        }
        if (!PyObject_CheckBuffer(part)) {
            PyErr_Format(PyExc_TypeError,
                         "sequence item %zd: expected a bytes-like object, %.80s found", i,
                         Py_TYPE(part)->tp_name);
            return -1;
        }
        if (PyObject_GetBuffer(part, &view, PyBUF_FULL_RO) < 0)
            return -1;
        *ret_empty = *ret_empty && view.len == 0;
        PyBuffer_Release(&view);
    }
    return 0;
}

static int write_parts(TransportObject *self, PyObject *parts, bool *ret_failed)
{
    struct afn_stream *stream = afn_stream_ref(self->stream);
    int r = 0;

    *ret_failed = false;
    afn_stream_cork(stream);
    for (Py_ssize_t i = 0; r >= 0 && !*ret_failed && i < PySequence_Fast_GET_SIZE(parts); i++)
        r = write_object(self, PySequence_Fast_GET_ITEM(parts, i), ret_failed);
    afn_stream_uncork(stream);
    if (r >= 0) {
        size_t high, low;

        /* What the kernel took when the cork came out need not pause anybody. */
        afn_stream_get_write_limits(stream, &high, &low);
        r = afn_stream_get_write_buffer_size(stream) > high;
    }
    afn_stream_unref(stream);
    return r;
}

PyObject *transport_writelines(TransportObject *self, PyObject *const *args, Py_ssize_t count,
                               PyObject *keywords)
{
    PyObject *list = arguments_get_one("writelines", "list_of_data", args, count, keywords), *parts;
    bool failed = false, empty;
    int r = 0;

    if (list == NULL ||
        transport_check_writable(self, "Cannot call writelines() after write_eof()") < 0 ||
        check_no_file(self, "writelines") < 0)
        return NULL;
    /* A list may change while an exporter runs code, or in another thread. */
    parts = PyList_CheckExact(list)
                ? PyList_AsTuple(list)
                : PySequence_Fast(list, "writelines() argument must be an iterable of bytes-like "
                                        "objects");
    if (parts == NULL)
        return NULL;
    if (check_parts(parts, &empty) < 0)
        failed = true;
    else if (!empty)
        r = self->stream != NULL ? write_parts(self, parts, &failed) : -EPIPE;
    Py_DECREF(parts);
    return failed ? NULL : end_write(self, r);
}
