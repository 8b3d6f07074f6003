/* SPDX-License-Identifier: MIT */
#include "datagram.h"

#include "arguments.h"
#include "callbacks.h"
#include "endpoint.h"

#include <aiofastnet/error.h>
#include <errno.h>

/* ---- what the library tells ---- */

static void on_received(struct afn_datagram *datagram, void *user, const void *data, size_t length,
                        const struct sockaddr *address, socklen_t address_length)
{
    TransportObject *self = user;

    (void)datagram;
    Py_INCREF(self);
    callbacks_datagram_received(
        self, PyBytes_FromStringAndSize(data, (Py_ssize_t)length),
        sockaddr_cache_convert(self->reactor->senders, address, address_length));
    Py_DECREF(self);
}

static PyObject *make_error(int error)
{
    errno = -error;
    PyErr_SetFromErrno(PyExc_OSError);
    return compat_take_exception();
}

static void on_failed(struct afn_datagram *datagram, void *user, int error)
{
    TransportObject *self = user;

    (void)datagram;
    Py_INCREF(self);
    callbacks_error_received(self, make_error(error));
    Py_DECREF(self);
}

static void on_writable(struct afn_datagram *datagram, void *user)
{
    TransportObject *self = user;

    (void)datagram;
    if (!self->writing_paused)
        return;
    Py_INCREF(self);
    callbacks_resume_writing(self);
    Py_DECREF(self);
}

static void on_closed(struct afn_datagram *datagram, void *user, int error)
{
    TransportObject *self = user;

    Py_INCREF(self);
    if (self->exception == NULL && error != 0 && error != AFN_ERR_ABORTED) {
        self->exception = make_error(error);
        callbacks_tell_fatal(self, self->exception, "Fatal error on transport");
    }
    self->owns_fd = afn_datagram_take_fd(datagram) >= 0;
    endpoint_unref(self);
    self->lost = true;
    if (!self->starting)
        transport_finish(self);
    Py_DECREF(self);
}

static const struct afn_datagram_handler handler = {
    .size = sizeof(handler),
    .received = on_received,
    .failed = on_failed,
    .writable = on_writable,
    .closed = on_closed,
};

static int make_cache(ReactorObject *reactor)
{
    if (reactor->senders == NULL)
        reactor->senders = PyMem_Calloc(1, sizeof(*reactor->senders));
    if (reactor->senders != NULL)
        return 0;
    PyErr_NoMemory();
    return -1;
}

int datagram_open(TransportObject *self, PyObject *sock, PyObject *address)
{
    struct afn_datagram *datagram = NULL;
    int fd = PyObject_AsFileDescriptor(sock);
    int has_address = PyObject_IsTrue(address), r;

    if (fd < 0 || has_address < 0 || make_cache(self->reactor) < 0 ||
        transport_prepare(self, fd) < 0)
        return -1;
    r = afn_datagram_new(self->reactor->reactor, fd, &handler, self, AFN_DATAGRAM_PAUSED,
                         &datagram);
    self->datagram = datagram;
    if (transport_begin(self, r) < 0)
        return -1;
    afn_datagram_set_header_size(datagram, COMPAT_DATAGRAM_HEADER_SIZE);
    self->sock = Py_NewRef(sock);
    if (has_address)
        self->address = Py_NewRef(address);
    sockaddr_fetch_own(&self->sockname, fd);
    sockaddr_fetch_peer(&self->peername, fd);
    return 0;
}

/* ---- sendto() ---- */

/* At once and in the caller's context, as asyncio does.  Takes the reference. */
static PyObject *tell_error(TransportObject *self, PyObject *exception)
{
    PyObject *protocol = Py_NewRef(self->protocol), *result;

    result = PyObject_CallMethodOneArg(protocol, self->reactor->state->names.error_received,
                                       exception);
    Py_DECREF(protocol);
    Py_DECREF(exception);
    if (result == NULL)
        return NULL;
    Py_DECREF(result);
    Py_RETURN_NONE;
}

/* What was raised while a datagram was to be sent. */
static PyObject *fail(TransportObject *self)
{
    if (PyErr_ExceptionMatches(PyExc_SystemExit) || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return NULL;
    if (PyErr_ExceptionMatches(PyExc_OSError))
        return tell_error(self, compat_take_exception());
    callbacks_fatal(self, "Fatal write error on datagram transport");
    if (reactor_raise_interrupt(self->reactor) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *end_send(TransportObject *self, int result)
{
    if (result > 0 && !self->writing_paused && callbacks_pause_writing(self) < 0)
        return NULL;
    if (result == -ENOMEM)
        return PyErr_NoMemory();
    if (result < 0)
        return tell_error(self, make_error(result));
    Py_RETURN_NONE;
}

/* address may be NULL. */
static PyObject *send_to(TransportObject *self, PyObject *data, const struct sockaddr *address,
                         socklen_t length)
{
    Py_buffer view;
    int r;

    if (PyBytes_CheckExact(data))
        return end_send(self, afn_datagram_send(self->datagram, PyBytes_AS_STRING(data),
                                                (size_t)PyBytes_GET_SIZE(data), address, length));
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return fail(self);
    /* An exporter is free to run code, which may have ended this transport. */
    r = self->datagram == NULL
            ? 0
            : afn_datagram_send(self->datagram, view.buf, (size_t)view.len, address, length);
    PyBuffer_Release(&view);
    return end_send(self, r);
}

/* Those hosts that sendto() knows and getaddrinfo() does not. */
static PyObject *translate_host(PyObject *host, int family)
{
    if (PyUnicode_Check(host) && PyUnicode_GET_LENGTH(host) == 0)
        return PyUnicode_FromString(family == AF_INET6 ? "::" : "0.0.0.0");
    if (PyUnicode_Check(host) && PyUnicode_CompareWithASCIIString(host, "<broadcast>") == 0)
        return PyUnicode_FromString("255.255.255.255");
    return Py_NewRef(host);
}

/* The address of a host name, by the module socket: -1 with an exception. */
static int resolve(TransportObject *self, PyObject *tuple, struct sockaddr_value *ret_value)
{
    int family = self->sockname.address.any.sa_family;
    PyObject *module = PyImport_ImportModule("socket"), *host, *found = NULL, *first = NULL;
    PyObject *address = NULL;
    int r = -1;

    host = translate_host(PyTuple_GET_ITEM(tuple, 0), family);
    if (module != NULL && host != NULL)
        found = PyObject_CallMethod(module, "getaddrinfo", "OOii", host, PyTuple_GET_ITEM(tuple, 1),
                                    family, SOCK_DGRAM);
    Py_XDECREF(module);
    Py_XDECREF(host);
    if (found != NULL)
        first = PySequence_GetItem(found, 0);
    if (first != NULL)
        address = PySequence_GetItem(first, 4);
    if (address != NULL && sockaddr_from_python(ret_value, family, address))
        r = 0;
    else if (!PyErr_Occurred())
        PyErr_SetString(PyExc_OSError, "the address cannot be used");
    Py_XDECREF(found);
    Py_XDECREF(first);
    Py_XDECREF(address);
    return r;
}

/*
 * To an address that is a name, or an error.  The socket knows best, and as in asyncio it may block
 * while it looks a name up; the library needs the address only when the datagram has to wait.
 */
static PyObject *send_slowly(TransportObject *self, PyObject *data, PyObject *address)
{
    bool is_host = PyTuple_Check(address) && PyTuple_GET_SIZE(address) >= 2 &&
                   self->sockname.address.any.sa_family != AF_UNIX;
    struct sockaddr_value value;

    if (!is_host || afn_datagram_get_write_buffer_size(self->datagram) == 0) {
        PyObject *sock = Py_NewRef(self->sock);
        PyObject *result = PyObject_CallMethod(sock, "sendto", "OO", data, address);

        Py_DECREF(sock);
        Py_XDECREF(result);
        if (result != NULL)
            Py_RETURN_NONE;
        if (!is_host || !PyErr_ExceptionMatches(PyExc_BlockingIOError))
            return fail(self);
        PyErr_Clear();
    }
    if (resolve(self, address, &value) < 0)
        return fail(self);
    if (self->datagram == NULL)
        Py_RETURN_NONE;
    return send_to(self, data, &value.address.any, value.length);
}

/* The address to send to, borrowed: what was asked for, or the one that is settled. */
static PyObject *choose_address(TransportObject *self, PyObject *address)
{
    int is_same;

    if (self->address == NULL || address == Py_None)
        return self->address != NULL ? self->address : address;
    is_same = PyObject_RichCompareBool(address, self->address, Py_EQ);
    if (is_same == 0)
        PyErr_Format(PyExc_ValueError, "Invalid address: must be None or %S", self->address);
    return is_same > 0 ? self->address : NULL;
}

PyObject *datagram_sendto(TransportObject *self, PyObject *const *args, Py_ssize_t count,
                          PyObject *keywords)
{
    static const char *const names[] = {"data", "addr", NULL};
    int family = self->sockname.address.any.sa_family;
    const struct sockaddr_entry *sender;
    struct sockaddr_value value;
    PyObject *found[] = {NULL, Py_None}, *data, *address;

    if (arguments_parse("sendto", names, args, count, keywords, found) < 0)
        return NULL;
    data = found[0];
    if (transport_check_data(self, data) < 0 || reactor_check_thread(self->reactor) < 0)
        return NULL;
    if (!COMPAT_SENDS_EMPTY_DATAGRAMS && PyObject_Size(data) == 0)
        Py_RETURN_NONE;
    address = choose_address(self, found[1]);
    if (address == NULL)
        return NULL;
    /* Or an error has ended it, and connection_lost() is still to come. */
    if (self->closing || self->datagram == NULL || endpoint_is_closing(self))
        return transport_drop_write(self);
    if (self->peername.state != SOCKADDR_ABSENT)
        return send_to(self, data, NULL, 0);
    sender = sockaddr_cache_find(self->reactor->senders, family, address);
    if (sender != NULL)
        return send_to(self, data, &sender->address.any, sender->length);
    if (sockaddr_from_python(&value, family, address))
        return send_to(self, data, &value.address.any, value.length);
    return send_slowly(self, data, address);
}
