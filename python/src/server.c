/* SPDX-License-Identifier: MIT */
#include "server.h"

#include "callbacks.h"
#include "diagnostics.h"
#include "tls.h"
#include "transport.h"

#include <aiofastnet/listener.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

struct server_listener {
    struct server_listener *next;
    ReactorObject *reactor; /* borrowed: it owns this */
    struct afn_listener *listener;
    unsigned int references; /* a callback may stop serving */
    PyObject *sock, *factory, *context;
    PyObject *sslcontext, *server;                  /* or None */
    PyObject *handshake_timeout, *shutdown_timeout; /* or None */
    int family, type, proto;
};

static void unref(struct server_listener *self)
{
    if (--self->references > 0)
        return;
    Py_XDECREF(self->sock);
    Py_XDECREF(self->factory);
    Py_XDECREF(self->context);
    Py_XDECREF(self->sslcontext);
    Py_XDECREF(self->server);
    Py_XDECREF(self->handshake_timeout);
    Py_XDECREF(self->shutdown_timeout);
    PyMem_Free(self);
}

/* Takes the reactor's reference away. */
static void drop(struct server_listener *self)
{
    struct server_listener **link = &self->reactor->listeners;

    while (*link != self)
        link = &(*link)->next;
    *link = self->next;
    unref(self);
}

static void stop(struct server_listener *self)
{
    if (self->listener != NULL)
        afn_listener_close(self->listener);
    self->listener = afn_listener_unref(self->listener);
    drop(self);
}

void server_close_all(ReactorObject *reactor)
{
    bool is_inherited = reactor_is_inherited(reactor);

    while (reactor->listeners != NULL) {
        if (is_inherited)
            drop(reactor->listeners);
        else
            stop(reactor->listeners);
    }
}

int server_traverse(ReactorObject *reactor, visitproc visit, void *arg)
{
    for (struct server_listener *self = reactor->listeners; self != NULL; self = self->next) {
        Py_VISIT(self->sock);
        Py_VISIT(self->factory);
        Py_VISIT(self->context);
        Py_VISIT(self->sslcontext);
        Py_VISIT(self->server);
        Py_VISIT(self->handshake_timeout);
        Py_VISIT(self->shutdown_timeout);
    }
    return 0;
}

/*
 * A connection that did not come to life.  asyncio says so in debug mode only; but it refuses no
 * protocol, so nobody would expect that.
 */
static void report_failure(const struct server_listener *self, PyObject *protocol,
                           TransportObject *transport)
{
    ReactorObject *reactor = self->reactor;
    PyObject *exception = callbacks_catch(reactor), *context;
    bool is_refused = protocol != NULL && transport->protocol == NULL;

    if (exception != NULL && (is_refused || reactor_is_debug(reactor))) {
        context = Py_BuildValue("{s:s,s:O}", "message",
                                "Error on transport creation for incoming connection", "exception",
                                exception);
        if (context != NULL &&
            ((protocol != NULL && PyDict_SetItemString(context, "protocol", protocol) < 0) ||
             (protocol != NULL && transport != NULL &&
              PyDict_SetItemString(context, "transport", (PyObject *)transport) < 0)))
            Py_CLEAR(context);
        callbacks_report(reactor, transport != NULL ? transport->context : self->context, context);
    }
    Py_XDECREF(exception);
}

/* asyncio calls connection_made() from the loop, which reports an exception and goes on. */
static void begin_clear(TransportObject *transport)
{
    PyObject *exception;

    transport->made = true;
    diagnostics_made(transport);
    if (callbacks_connection_made(transport) == 0)
        return;
    exception = callbacks_catch(transport->reactor);
    if (exception != NULL)
        callbacks_report(transport->reactor, transport->context,
                         Py_BuildValue("{s:s,s:N,s:O,s:O}", "message",
                                       "Exception in callback protocol.connection_made()",
                                       "exception", exception, "transport", transport, "protocol",
                                       transport->protocol));
}

/* -1 with an exception, and the descriptor is still the caller's unless the transport has it. */
static int begin(struct server_listener *self, TransportObject *transport, int fd)
{
    struct tls_request request = {.context = self->sslcontext,
                                  .hostname = Py_None,
                                  .session = Py_None,
                                  .handshake_timeout = self->handshake_timeout,
                                  .shutdown_timeout = self->shutdown_timeout,
                                  .server_side = true};
    bool is_tls = self->sslcontext != Py_None;

    transport->accepted = true;
    transport->family = self->family;
    transport->type = self->type;
    transport->proto = self->proto;
    if ((is_tls && tls_prepare(transport, &request) < 0) || transport_open(transport, fd, 0) < 0 ||
        transport_attach_server(transport, self->server) < 0)
        return -1;
    if (is_tls)
        return tls_start(transport, transport->stream, NULL, 0);
    begin_clear(transport);
    return 0;
}

static void accept_connection(struct server_listener *self, int fd, const struct sockaddr *address,
                              socklen_t length)
{
    ReactorObject *reactor = self->reactor;
    PyObject *context = PyContext_Copy(self->context), *protocol = NULL;
    TransportObject *transport = NULL;
    int r = -1;

    if (context != NULL)
        transport = transport_new(reactor, TRANSPORT_SOCKET, context);
    Py_XDECREF(context);
    if (transport != NULL)
        protocol = callbacks_run(transport, self->factory, NULL);
    if (protocol != NULL && transport_set_protocol(transport, protocol) == 0) {
        sockaddr_set(&transport->peername, address, length);
        r = begin(self, transport, fd);
    }
    if (r < 0) {
        report_failure(self, protocol, transport);
        if (transport == NULL || transport->stream == NULL) {
            close(fd);
        } else {
            transport->finished = true;
            transport_drop(transport);
        }
    }
    Py_XDECREF(protocol);
    Py_XDECREF(transport);
}

static void on_accepted(struct afn_listener *listener, void *user, int fd,
                        const struct sockaddr *address, socklen_t length)
{
    struct server_listener *self = user;

    (void)listener;
    self->references++;
    if (reactor_is_debug(self->reactor)) {
        PyObject *result = PyObject_CallMethod(self->reactor->state->imports.logger, "debug", "sOi",
                                               "%r got a new connection: fd %d", self->server, fd);

        if (result == NULL)
            callbacks_give_up(self->reactor);
        Py_XDECREF(result);
    }
    accept_connection(self, fd, address, length);
    unref(self);
}

static void on_failed(struct afn_listener *listener, void *user, int error)
{
    struct server_listener *self = user;
    ReactorObject *reactor = self->reactor;
    bool is_shortage =
        error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM;
    PyObject *exception, *sock;

    (void)listener;
    self->references++;
    errno = -error;
    PyErr_SetFromErrno(PyExc_OSError);
    exception = compat_take_exception();
    sock = PyObject_CallOneArg(reactor->state->imports.transport_socket, self->sock);
    callbacks_report(reactor, self->context,
                     sock == NULL
                         ? NULL
                         : Py_BuildValue("{s:s,s:O,s:O}", "message",
                                         is_shortage ? "socket.accept() out of system resource"
                                                     : "Fatal error: accepting failed",
                                         "exception", exception, "socket", sock));
    Py_XDECREF(sock);
    Py_DECREF(exception);
    unref(self);
}

static const struct afn_listener_handler listener_handler = {
    .size = sizeof(listener_handler),
    .accepted = on_accepted,
    .failed = on_failed,
};

static int get_number(PyObject *sock, const char *name, int *ret_number)
{
    PyObject *number = PyObject_GetAttrString(sock, name);
    long value = number == NULL ? -1 : PyLong_AsLong(number);

    Py_XDECREF(number);
    *ret_number = (int)value;
    return PyErr_Occurred() ? -1 : 0;
}

/* Every accepted socket inherits it: one system call instead of one for each. */
static void set_nodelay(const struct server_listener *self, int fd)
{
    int yes = 1;

    if (self->family == AF_INET || self->family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

static int start(struct server_listener *self, unsigned int backlog)
{
    ReactorObject *reactor = self->reactor;
    int fd = PyObject_AsFileDescriptor(self->sock), r;

    if (fd < 0 || get_number(self->sock, "family", &self->family) < 0 ||
        get_number(self->sock, "type", &self->type) < 0 ||
        get_number(self->sock, "proto", &self->proto) < 0)
        return -1;
    self->context = PyContext_CopyCurrent();
    if (self->context == NULL)
        return -1;
    set_nodelay(self, fd);
    r = afn_listener_new(reactor->reactor, fd, &listener_handler, self, backlog, &self->listener);
    if (r < 0) {
        transport_raise_errno(r);
        return -1;
    }
    return 0;
}

PyObject *reactor_start_serving(ReactorObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"sock",    "protocol_factory",      "sslcontext",           "server",
                            "backlog", "ssl_handshake_timeout", "ssl_shutdown_timeout", NULL};
    PyObject *sock, *factory, *sslcontext = Py_None, *server = Py_None;
    PyObject *handshake_timeout = Py_None, *shutdown_timeout = Py_None;
    struct server_listener *listener;
    int backlog = 100;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO|OOiOO:start_serving", names, &sock,
                                     &factory, &sslcontext, &server, &backlog, &handshake_timeout,
                                     &shutdown_timeout) ||
        reactor_check_thread(self) < 0)
        return NULL;
    if (self->reactor == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
        return NULL;
    }
    listener = PyMem_Calloc(1, sizeof(*listener));
    if (listener == NULL)
        return PyErr_NoMemory();
    listener->reactor = self;
    listener->references = 1;
    listener->sock = Py_NewRef(sock);
    listener->factory = Py_NewRef(factory);
    listener->sslcontext = Py_NewRef(sslcontext);
    listener->server = Py_NewRef(server);
    listener->handshake_timeout = Py_NewRef(handshake_timeout);
    listener->shutdown_timeout = Py_NewRef(shutdown_timeout);
    if (start(listener, backlog > 0 ? (unsigned int)backlog : 0) < 0) {
        unref(listener);
        return NULL;
    }
    listener->next = self->listeners;
    self->listeners = listener;
    Py_RETURN_NONE;
}

PyObject *reactor_stop_serving(ReactorObject *self, PyObject *sock)
{
    struct server_listener *listener = self->listeners;
    PyObject *result;

    if (reactor_check_thread(self) < 0)
        return NULL;
    while (listener != NULL && listener->sock != sock)
        listener = listener->next;
    if (listener != NULL)
        stop(listener);
    result = PyObject_CallMethod(sock, "close", NULL);
    Py_XDECREF(result);
    return result == NULL ? NULL : Py_NewRef(Py_None);
}
