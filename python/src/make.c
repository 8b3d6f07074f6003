/* SPDX-License-Identifier: MIT */
#include "callbacks.h"
#include "carrier.h"
#include "datagram.h"
#include "diagnostics.h"
#include "tls.h"
#include "transport.h"

#include <netinet/tcp.h>
#include <sys/stat.h>

/*
 * Transports of sockets that are connected already, and of pipes: what the loop's private methods
 * make.
 */

/* As asyncio does; a Unix socket refuses, which is no matter. */
static void set_nodelay(int fd)
{
    int yes = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

static int set_extra(TransportObject *transport, PyObject *extra)
{
    if (extra == Py_None)
        return 0;
    transport->extra = PyDict_New();
    if (transport->extra == NULL)
        return -1;
    return PyDict_Update(transport->extra, extra);
}

/* In the context that its callbacks are to run in: a copy of the current one. */
static TransportObject *new_transport(ReactorObject *reactor, enum transport_role role,
                                      PyObject *protocol)
{
    PyObject *context = PyContext_CopyCurrent();
    TransportObject *transport;

    if (context == NULL)
        return NULL;
    transport = transport_new(reactor, role, context);
    Py_DECREF(context);
    if (transport != NULL && transport_set_protocol(transport, protocol) < 0)
        Py_CLEAR(transport);
    return transport;
}

static int open_socket(TransportObject *transport, PyObject *sock, PyObject *server,
                       unsigned int flags)
{
    int fd = PyObject_AsFileDescriptor(sock);

    if (fd < 0 || transport_open(transport, fd, flags) < 0)
        return -1;
    transport->sock = Py_NewRef(sock);
    set_nodelay(fd);
    sockaddr_fetch_own(&transport->sockname, fd);
    sockaddr_fetch_peer(&transport->peername, fd);
    return transport_attach_server(transport, server);
}

/* Nobody has seen it, so nobody is to be warned about it.  Takes NULL, too. */
static PyObject *discard(TransportObject *transport)
{
    PyObject *exception = compat_take_exception();

    if (transport != NULL) {
        transport->finished = true;
        transport_drop(transport);
        Py_DECREF(transport);
    }
    compat_raise_exception(exception);
    return NULL;
}

/* The same, and the socket is closed, however far it came: nobody else would. */
static PyObject *discard_with_socket(TransportObject *transport, PyObject *sock)
{
    PyObject *exception, *result;

    discard(transport);
    exception = compat_take_exception();
    result = PyObject_CallMethod(sock, "close", NULL);
    if (result == NULL)
        PyErr_Clear();
    Py_XDECREF(result);
    compat_raise_exception(exception);
    return NULL;
}

/* Both wait in the loop's queue: connection_made(), then reading and the waiter. */
static int schedule_start(TransportObject *transport, PyObject *waiter)
{
    struct module_names *names = &transport->reactor->state->names;
    PyObject *method;
    int r = -1;

    transport->starting = true;
    diagnostics_made(transport);
    method = PyObject_GetAttr(transport->protocol, names->connection_made);
    if (method != NULL)
        r = callbacks_call_soon(transport->reactor, method, (PyObject *)transport,
                                transport->context);
    Py_XDECREF(method);
    if (r < 0)
        return -1;
    method = PyObject_GetAttr((PyObject *)transport, names->_start);
    r = method == NULL ? -1 : callbacks_call_soon(transport->reactor, method, waiter, NULL);
    Py_XDECREF(method);
    return r;
}

PyObject *reactor_make_socket_transport(ReactorObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"sock", "protocol", "waiter", "extra", "server", NULL};
    PyObject *sock, *protocol, *waiter = Py_None, *extra = Py_None, *server = Py_None;
    TransportObject *transport;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO|OOO:make_socket_transport", names, &sock,
                                     &protocol, &waiter, &extra, &server) ||
        reactor_check_thread(self) < 0)
        return NULL;
    transport = new_transport(self, TRANSPORT_SOCKET, protocol);
    if (transport == NULL || set_extra(transport, extra) < 0 ||
        open_socket(transport, sock, server, AFN_STREAM_PAUSED) < 0 ||
        schedule_start(transport, waiter) < 0)
        return discard_with_socket(transport, sock);
    return (PyObject *)transport;
}

PyObject *reactor_make_datagram_transport(ReactorObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"sock", "protocol", "address", "waiter", "extra", NULL};
    PyObject *sock, *protocol, *address = Py_None, *waiter = Py_None, *extra = Py_None;
    TransportObject *transport;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO|OOO:make_datagram_transport", names, &sock,
                                     &protocol, &address, &waiter, &extra) ||
        reactor_check_thread(self) < 0)
        return NULL;
    transport = new_transport(self, TRANSPORT_DATAGRAM, protocol);
    if (transport == NULL || set_extra(transport, extra) < 0 ||
        datagram_open(transport, sock, address) < 0 || schedule_start(transport, waiter) < 0)
        return discard_with_socket(transport, sock);
    return (PyObject *)transport;
}

PyObject *reactor_make_ssl_transport(ReactorObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"sock",
                            "protocol",
                            "sslcontext",
                            "waiter",
                            "server_side",
                            "server_hostname",
                            "extra",
                            "server",
                            "ssl_handshake_timeout",
                            "ssl_shutdown_timeout",
                            "ssl_session",
                            NULL};
    PyObject *sock, *protocol, *waiter = Py_None, *extra = Py_None, *server = Py_None;
    struct tls_request request = {.hostname = Py_None,
                                  .session = Py_None,
                                  .handshake_timeout = Py_None,
                                  .shutdown_timeout = Py_None};
    TransportObject *transport;
    int server_side = 0;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOO|O$pOOOOOO:make_ssl_transport", names,
                                     &sock, &protocol, &request.context, &waiter, &server_side,
                                     &request.hostname, &extra, &server, &request.handshake_timeout,
                                     &request.shutdown_timeout, &request.session) ||
        reactor_check_thread(self) < 0)
        return NULL;
    request.server_side = server_side;
    transport = new_transport(self, TRANSPORT_SOCKET, protocol);
    if (transport == NULL || set_extra(transport, extra) < 0 ||
        tls_prepare(transport, &request) < 0 || open_socket(transport, sock, server, 0) < 0 ||
        tls_start(transport, transport->stream, NULL, 0) < 0)
        return discard_with_socket(transport, sock);
    if (waiter != Py_None)
        transport->waiter = Py_NewRef(waiter);
    return (PyObject *)transport;
}

/*
 * The transport whose stream can be upgraded in place.  NULL when there is none, without an
 * exception if the new transport can go over the given one.
 */
static TransportObject *check_upgrade(ReactorObject *self, PyObject *transport)
{
    TransportObject *old = (TransportObject *)transport;

    if (!PyObject_TypeCheck(transport, self->state->transport_types[TRANSPORT_SOCKET]))
        return NULL;
    if (old->reactor != self) {
        PyErr_SetString(PyExc_RuntimeError, "the transport belongs to another event loop");
        return NULL;
    }
    if (old->tls == NULL && transport_resolve(old)->tls != NULL) {
        PyErr_Format(PyExc_TypeError,
                     "transport %R is not supported by start_tls(): it was upgraded before",
                     transport);
        return NULL;
    }
    if (old->tls != NULL)
        return NULL;
    old = transport_resolve(old);
    if (old->stream == NULL || old->closing) {
        PyErr_Format(PyExc_ConnectionResetError, "cannot start TLS: %R is closed", transport);
        return NULL;
    }
    if (old->sending_file) {
        PyErr_SetString(PyExc_RuntimeError, "unable to start TLS; sendfile is in progress");
        return NULL;
    }
    return old;
}

static int upgrade(TransportObject *transport, TransportObject *old, const Py_buffer *received)
{
    if (old->extra != NULL) {
        transport->extra = PyDict_Copy(old->extra);
        if (transport->extra == NULL)
            return -1;
    }
    if (tls_start(transport, old->stream, received->buf, (size_t)received->len) < 0)
        return -1;
    if (transport_take_over(transport, old) < 0) {
        transport_abort(old, NULL);
        return -1;
    }
    /* Whatever was asked of the old one, the new one reads, as asyncio's does. */
    afn_stream_resume_reading(transport->stream);
    return 0;
}

/* TLS on a transport that is somebody else's, or has TLS already. */
static int stack(TransportObject *transport, PyObject *lower, const Py_buffer *received)
{
    PyObject *result = PyObject_CallMethod(lower, "is_closing", NULL);
    int is_closing = result == NULL ? -1 : PyObject_IsTrue(result);

    Py_XDECREF(result);
    if (is_closing > 0)
        PyErr_Format(PyExc_ConnectionResetError, "cannot start TLS: %R is closed", lower);
    if (is_closing != 0 || carrier_open(transport, lower) < 0)
        return -1;
    transport->made = true;
    if (tls_start(transport, transport->stream, received->buf, (size_t)received->len) < 0)
        return -1;
    return carrier_attach(transport);
}

PyObject *reactor_start_tls(ReactorObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"transport",
                            "protocol",
                            "sslcontext",
                            "waiter",
                            "server_side",
                            "server_hostname",
                            "ssl_handshake_timeout",
                            "ssl_shutdown_timeout",
                            "ssl_session",
                            "received",
                            NULL};
    PyObject *transport, *protocol, *waiter;
    struct tls_request request = {.hostname = Py_None,
                                  .session = Py_None,
                                  .handshake_timeout = Py_None,
                                  .shutdown_timeout = Py_None};
    TransportObject *old, *upgraded = NULL;
    Py_buffer received = {.buf = NULL, .len = 0, .obj = NULL};
    int server_side = 0;
    bool succeeded = false;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOOO|$pOOOOy*:start_tls", names, &transport,
                                     &protocol, &request.context, &waiter, &server_side,
                                     &request.hostname, &request.handshake_timeout,
                                     &request.shutdown_timeout, &request.session, &received))
        return NULL;
    request.server_side = server_side;
    old = reactor_check_thread(self) < 0 ? NULL : check_upgrade(self, transport);
    if (!PyErr_Occurred())
        upgraded = new_transport(self, TRANSPORT_SOCKET, protocol);
    if (upgraded != NULL)
        succeeded = tls_prepare(upgraded, &request) == 0 &&
                    (old != NULL ? upgrade(upgraded, old, &received)
                                 : stack(upgraded, transport, &received)) == 0;
    PyBuffer_Release(&received);
    if (upgraded == NULL)
        return NULL;
    if (!succeeded)
        return discard(upgraded);
    if (waiter != Py_None)
        upgraded->waiter = Py_NewRef(waiter);
    diagnostics_upgraded(upgraded, transport);
    return (PyObject *)upgraded;
}

/* The descriptor of a file object, for that is what will be closed: a mere number is none. */
static int get_pipe_fd(PyObject *pipe)
{
    PyObject *number = PyObject_CallMethod(pipe, "fileno", NULL);
    int fd = number == NULL ? -1 : PyObject_AsFileDescriptor(number);

    Py_XDECREF(number);
    return fd;
}

static int check_pipe(int fd, const char *complaint)
{
    struct stat status;

    if (fstat(fd, &status) < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    if (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode) || S_ISCHR(status.st_mode))
        return 0;
    PyErr_SetString(PyExc_ValueError, complaint);
    return -1;
}

/* extra, and the pipe in it. */
static int set_pipe_extra(TransportObject *transport, PyObject *extra, PyObject *pipe)
{
    if (set_extra(transport, extra) < 0)
        return -1;
    if (transport->extra == NULL)
        transport->extra = PyDict_New();
    return transport->extra == NULL ? -1 : PyDict_SetItemString(transport->extra, "pipe", pipe);
}

static PyObject *make_pipe_transport(ReactorObject *self, PyObject *args, PyObject *keywords,
                                     enum transport_role role, unsigned int flags,
                                     const char *complaint)
{
    static char *names[] = {"pipe", "protocol", "waiter", "extra", NULL};
    PyObject *pipe, *protocol, *waiter = Py_None, *extra = Py_None;
    TransportObject *transport;
    int fd;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO|OO", names, &pipe, &protocol, &waiter,
                                     &extra) ||
        reactor_check_thread(self) < 0)
        return NULL;
    fd = get_pipe_fd(pipe);
    if (fd < 0 || check_pipe(fd, complaint) < 0)
        return NULL;
    transport = new_transport(self, role, protocol);
    if (transport == NULL)
        return NULL;
    flags |= AFN_STREAM_PAUSED | AFN_STREAM_BORROWED;
    if (set_pipe_extra(transport, extra, pipe) < 0 || transport_open(transport, fd, flags) < 0)
        return discard(transport);
    if (schedule_start(transport, waiter) < 0)
        return discard(transport);
    /* From here on the transport closes the pipe. */
    transport->sock = Py_NewRef(pipe);
    return (PyObject *)transport;
}

PyObject *reactor_make_read_pipe_transport(ReactorObject *self, PyObject *args, PyObject *keywords)
{
    return make_pipe_transport(self, args, keywords, TRANSPORT_READ_PIPE, AFN_STREAM_READ_ONLY,
                               "Pipe transport is for pipes/sockets only.");
}

PyObject *reactor_make_write_pipe_transport(ReactorObject *self, PyObject *args,
                                            PyObject *keywords)
{
    return make_pipe_transport(self, args, keywords, TRANSPORT_WRITE_PIPE, AFN_STREAM_WRITE_ONLY,
                               "Pipe transport is only for pipes, sockets and character devices");
}
