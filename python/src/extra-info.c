/* SPDX-License-Identifier: MIT */
#include "arguments.h"
#include "carrier.h"
#include "diagnostics.h"
#include "tls.h"
#include "transport.h"

/*
 * Extra information is worked out when it is asked for.  What asyncio's transports compute for
 * every connection, few programs look at.
 */

static PyObject *make_socket(TransportObject *self, int fd)
{
    PyObject *sock = PyObject_CallFunction(self->reactor->state->imports.socket, "iiii",
                                           self->family, self->type, self->proto, fd);
    PyObject *result;

    if (sock == NULL)
        return NULL;
    /* The descriptor is non-blocking; the object does not know it yet. */
    result = PyObject_CallMethod(sock, "setblocking", "O", Py_False);
    Py_XDECREF(result);
    if (result == NULL)
        PyErr_Clear();
    return sock;
}

/* What another thread was faster with: the descriptor is not this object's to close. */
static void discard_socket(PyObject *sock)
{
    PyObject *result = PyObject_CallMethod(sock, "detach", NULL);

    if (result == NULL)
        PyErr_WriteUnraisable(sock);
    Py_XDECREF(result);
    Py_DECREF(sock);
}

/*
 * The socket.socket, which from now on closes the descriptor: a new reference; NULL, without an
 * error, if closed.  While it is made another thread may make one, or close the transport.
 */
static PyObject *get_socket(TransportObject *self)
{
    PyObject *sock, *made;
    int fd;

    Py_BEGIN_CRITICAL_SECTION(self);
    sock = Py_XNewRef(self->sock);
    fd = self->fd;
    Py_END_CRITICAL_SECTION();
    if (sock != NULL || fd < 0)
        return sock;
    made = make_socket(self, fd);
    if (made == NULL)
        return NULL;
    Py_BEGIN_CRITICAL_SECTION(self);
    if (self->sock == NULL && self->fd == fd)
        self->sock = Py_NewRef(made);
    sock = Py_XNewRef(self->sock);
    Py_END_CRITICAL_SECTION();
    if (sock == made)
        Py_DECREF(made);
    else
        discard_socket(made);
    return sock;
}

/* What a socket becomes by being closed, for those who ask only then. */
static PyObject *make_closed_socket(TransportObject *self)
{
    PyObject *sock = PyObject_CallFunction(self->reactor->state->imports.socket, "iii",
                                           self->family, self->type, self->proto);
    PyObject *result = NULL;

    if (sock != NULL)
        result = PyObject_CallMethod(sock, "close", NULL);
    if (result == NULL)
        Py_CLEAR(sock);
    Py_XDECREF(result);
    return sock;
}

static PyObject *get_transport_socket(TransportObject *self)
{
    PyObject *sock, *made, *result;

    Py_BEGIN_CRITICAL_SECTION(self);
    result = Py_XNewRef(self->transport_socket);
    Py_END_CRITICAL_SECTION();
    if (result != NULL)
        return result;
    sock = get_socket(self);
    if (sock == NULL && !PyErr_Occurred())
        sock = make_closed_socket(self);
    if (sock == NULL)
        return NULL;
    made = PyObject_CallOneArg(self->reactor->state->imports.transport_socket, sock);
    Py_DECREF(sock);
    Py_BEGIN_CRITICAL_SECTION(self);
    if (self->transport_socket == NULL)
        self->transport_socket = Py_XNewRef(made);
    result = Py_XNewRef(self->transport_socket);
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(made);
    return result;
}

static PyObject *get_address(TransportObject *self, struct sockaddr_value *value,
                             void (*fetch)(struct sockaddr_value *, int), const char *method)
{
    PyObject *sock, *address;

    Py_BEGIN_CRITICAL_SECTION(self);
    if (value->state == SOCKADDR_UNKNOWN && self->fd >= 0)
        fetch(value, self->fd);
    Py_END_CRITICAL_SECTION();
    if (value->state != SOCKADDR_FOREIGN)
        return sockaddr_to_python(value);
    sock = get_socket(self);
    if (sock == NULL)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    address = PyObject_CallMethod(sock, method, NULL);
    Py_DECREF(sock);
    if (address == NULL && PyErr_ExceptionMatches(PyExc_OSError)) {
        PyErr_Clear();
        address = Py_NewRef(Py_None);
    }
    return address;
}

static bool is_name(PyObject *name, const char *text)
{
    return PyUnicode_CompareWithASCIIString(name, text) == 0;
}

/* A new reference; NULL, perhaps without an exception, when there is no such information. */
static PyObject *compute(TransportObject *self, PyObject *name)
{
    TransportObject *active = transport_resolve(self);
    bool is_known = false;
    PyObject *value;

    if (!PyUnicode_Check(name))
        return NULL;
    value = self->tls != NULL ? tls_get_extra_info(self, name, &is_known) : NULL;
    if (is_known)
        return value;
    if (is_name(name, "aiofastnet"))
        return diagnostics_describe(active);
    if (transport_is_pipe(self))
        return NULL;
    if (active->carrier != NULL)
        return carrier_get_extra_info(active, name);
    if (is_name(name, "peername"))
        return get_address(active, &active->peername, sockaddr_fetch_peer, "getpeername");
    if (is_name(name, "sockname"))
        return get_address(active, &active->sockname, sockaddr_fetch_own, "getsockname");
    if (is_name(name, "socket"))
        return get_transport_socket(active);
    return NULL;
}

PyObject *transport_get_extra_info(TransportObject *self, PyObject *const *args, Py_ssize_t count,
                                   PyObject *keywords)
{
    static const char *const names[] = {"name", "default", NULL};
    PyObject *found[] = {NULL, Py_None}, *name, *value;

    if (arguments_parse("get_extra_info", names, args, count, keywords, found) < 0)
        return NULL;
    name = found[0];
    if (self->extra != NULL) {
        value = PyDict_GetItemWithError(self->extra, name);
        if (value != NULL || PyErr_Occurred())
            return Py_XNewRef(value);
    }
    value = compute(self, name);
    if (value == NULL && !PyErr_Occurred())
        value = Py_NewRef(found[1]);
    return value;
}

/* The dict that asyncio's transports have; complete at the moment that it is asked for. */
PyObject *transport_get_extra(TransportObject *self, void *closure)
{
    static const char *const names[] = {"socket",     "sockname", "peername", "sslcontext",
                                        "ssl_object", "peercert", "cipher",   "compression",
                                        "ktls_send_enabled", "ktls_recv_enabled"};
    PyObject *extra = self->extra;

    (void)closure;
    if (extra == NULL)
        extra = self->extra = PyDict_New();
    for (size_t i = 0; extra != NULL && i < sizeof(names) / sizeof(names[0]); i++) {
        PyObject *name, *value;

        if (PyDict_GetItemString(extra, names[i]) != NULL)
            continue;
        name = PyUnicode_FromString(names[i]);
        value = name == NULL ? NULL : compute(self, name);
        if (value != NULL)
            PyDict_SetItem(extra, name, value);
        Py_XDECREF(value);
        Py_XDECREF(name);
        if (PyErr_Occurred())
            return NULL;
    }
    return Py_XNewRef(extra);
}

PyObject *transport_get_sock(TransportObject *self, void *closure)
{
    PyObject *sock = get_socket(transport_resolve(self));

    (void)closure;
    if (sock == NULL && !PyErr_Occurred())
        sock = Py_NewRef(Py_None);
    return sock;
}
