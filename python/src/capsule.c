/* SPDX-License-Identifier: MIT */
#include "capsule.h"

#include "transport.h"

#include <aiofastnet/python.h>

/* The object as one of our transports that can be written to, or NULL. */
static TransportObject *as_writable(PyObject *object)
{
    TransportObject *transport = (TransportObject *)object;

    if (!transport_is_one(object) ||
        (transport->role != TRANSPORT_SOCKET && transport->role != TRANSPORT_WRITE_PIPE))
        return NULL;
    return transport;
}

static int call_write(PyObject *transport, const void *data, size_t length)
{
    PyObject *bytes = PyBytes_FromStringAndSize(data, (Py_ssize_t)length);
    PyObject *result = bytes == NULL ? NULL : PyObject_CallMethod(transport, "write", "O", bytes);

    Py_XDECREF(bytes);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static int is_transport(PyObject *object)
{
    return transport_is_one(object);
}

static int write_copied(PyObject *transport, const void *data, size_t length)
{
    TransportObject *self = as_writable(transport);
    int r;

    if (self == NULL)
        return call_write(transport, data, length);
    r = transport_begin_write(self, length);
    if (r <= 0)
        return r;
    return transport_end_write(self, afn_stream_write(self->stream, data, length));
}

static int write_kept(PyObject *transport, const void *data, size_t length,
                      void (*release)(void *user), void *user)
{
    TransportObject *self = as_writable(transport);
    int r =
        self == NULL ? call_write(transport, data, length) : transport_begin_write(self, length);

    if (self != NULL && r > 0)
        return transport_end_write(self,
                                   afn_stream_write_ref(self->stream, data, length, release, user));
    if (release != NULL)
        release(user);
    return r;
}

static Py_ssize_t get_write_buffer_size(PyObject *transport)
{
    TransportObject *self = as_writable(transport);
    PyObject *result = self != NULL ? transport_get_write_buffer_size(self, NULL)
                                    : PyObject_CallMethod(transport, "get_write_buffer_size", NULL);
    Py_ssize_t size = result == NULL ? -1 : PyLong_AsSsize_t(result);

    Py_XDECREF(result);
    return size;
}

/* All interpreters have this one: it knows nothing of a module. */
static const struct afn_python_api api = {
    .size = sizeof(api),
    .is_transport = is_transport,
    .write = write_copied,
    .write_ref = write_kept,
    .get_write_buffer_size = get_write_buffer_size,
};

int capsule_add(PyObject *module)
{
    PyObject *capsule = PyCapsule_New((void *)&api, AFN_PYTHON_API, NULL);
    int r = capsule == NULL ? -1 : PyObject_SetAttrString(module, "c_api", capsule);

    Py_XDECREF(capsule);
    return r;
}
