/* SPDX-License-Identifier: MIT */
#include "transport.h"

#include "callbacks.h"
#include "compiled.h"
#include "endpoint.h"
#include "carrier.h"
#include "diagnostics.h"
#include "tls.h"

#include <aiofastnet/error.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void transport_raise_errno(int error)
{
    if (error == -ENOMEM) {
        PyErr_NoMemory();
    } else if (error > AFN_ERR_TLS) {
        errno = -error;
        PyErr_SetFromErrno(PyExc_OSError);
    } else {
        PyErr_SetString(PyExc_RuntimeError, afn_strerror(error));
    }
}

/*
 * A connection that receives little at a time gets copies out of the library's buffer.  From
 * LONG_DATA on the copy was measured to cost 5 % of an echo, so the next data is received, or
 * decrypted, into a bytes object that is shortened afterwards.  RECEIVE_SIZE stays below the size
 * from which malloc() maps memory anew each time.
 */
#define LONG_DATA ((size_t)16 * 1024)
#define RECEIVE_SIZE ((size_t)112 * 1024)

static const struct afn_stream_handler *get_handler(const TransportObject *self);

static void choose_handler(TransportObject *self, size_t length)
{
    bool much = length >= LONG_DATA;

    if (much == self->receives_much)
        return;
    self->receives_much = much;
    afn_stream_set_handler(self->stream, get_handler(self), self);
}

static void on_data(struct afn_stream *stream, void *user, const void *data, size_t length)
{
    TransportObject *self = user;

    (void)stream;
    Py_INCREF(self);
    choose_handler(self, length);
    callbacks_data_received(self, PyBytes_FromStringAndSize(data, (Py_ssize_t)length));
    Py_DECREF(self);
}

static void on_get_bytes(struct afn_stream *stream, void *user, void **ret_buffer,
                         size_t *ret_length)
{
    TransportObject *self = user;
    ReactorObject *reactor = self->reactor;

    (void)stream;
    if (reactor->incoming == NULL)
        reactor->incoming = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)RECEIVE_SIZE);
    if (reactor->incoming == NULL) {
        *ret_buffer = NULL;
        *ret_length = 0;
        callbacks_data_received(self, NULL);
    } else {
        *ret_buffer = PyBytes_AS_STRING(reactor->incoming);
        *ret_length = RECEIVE_SIZE;
    }
}

static void on_bytes_filled(struct afn_stream *stream, void *user, size_t length)
{
    TransportObject *self = user;
    PyObject *bytes = self->reactor->incoming;

    (void)stream;
    Py_INCREF(self);
    choose_handler(self, length);
    if (self->receives_much) {
        self->reactor->incoming = NULL;
        (void)_PyBytes_Resize(&bytes, (Py_ssize_t)length);
    } else {
        bytes = PyBytes_FromStringAndSize(PyBytes_AS_STRING(bytes), (Py_ssize_t)length);
    }
    callbacks_data_received(self, bytes);
    Py_DECREF(self);
}

static void on_compiled_data(struct afn_stream *stream, void *user, const void *data, size_t length)
{
    TransportObject *self = user;

    (void)stream;
    Py_INCREF(self);
    callbacks_compiled_data_received(self, data, length);
    Py_DECREF(self);
}

static void on_get_buffer(struct afn_stream *stream, void *user, void **ret_buffer,
                          size_t *ret_length)
{
    TransportObject *self = user;

    (void)stream;
    Py_INCREF(self);
    if (callbacks_get_buffer(self) == 0) {
        *ret_buffer = self->lent.buf;
        *ret_length = (size_t)self->lent.len;
    } else {
        *ret_buffer = NULL;
        *ret_length = 0;
    }
    Py_DECREF(self);
}

static void on_buffer_updated(struct afn_stream *stream, void *user, size_t length)
{
    TransportObject *self = user;

    (void)stream;
    Py_INCREF(self);
    /* First, for the protocol may want to resize it. */
    transport_release_lent(self);
    callbacks_buffer_updated(self, length);
    Py_DECREF(self);
}

static bool on_eof(struct afn_stream *stream, void *user)
{
    TransportObject *self = user;
    bool keep_open;

    (void)stream;
    Py_INCREF(self);
    keep_open = callbacks_eof_received(self);
    if (keep_open && self->tls != NULL) {
        callbacks_warn(self->reactor,
                       "returning true from eof_received() has no effect when using ssl");
        keep_open = false;
    }
    Py_DECREF(self);
    return keep_open;
}

static void on_secured(struct afn_stream *stream, void *user)
{
    TransportObject *self = user;

    (void)stream;
    Py_INCREF(self);
    tls_secured(self);
    Py_DECREF(self);
}

static void on_writable(struct afn_stream *stream, void *user)
{
    TransportObject *self = user;

    (void)stream;
    if (!self->writing_paused)
        return;
    Py_INCREF(self);
    callbacks_resume_writing(self);
    Py_DECREF(self);
}

/* What connection_lost() gets: a new reference, or NULL for None. */
static PyObject *get_reason(TransportObject *self, int error)
{
    PyObject *exception;

    if (self->exception != NULL)
        return Py_NewRef(self->exception);
    if (self->tls != NULL && tls_get_reason(self, error, &exception))
        return exception;
    if (error == 0 || error == AFN_ERR_ABORTED)
        return NULL;
    transport_raise_errno(error);
    exception = compat_take_exception();
    if (self->tls == NULL || tls_is_secured(self))
        callbacks_tell_fatal(self, exception, "Fatal error on transport");
    return exception;
}

/* From here on no other thread looks at the stream. */
static struct afn_stream *take_stream(TransportObject *self)
{
    struct afn_stream *stream;

    Py_BEGIN_CRITICAL_SECTION(self);
    stream = self->stream;
    self->stream = NULL;
    afn_stream_get_stats(stream, &self->stats, sizeof(self->stats));
    Py_END_CRITICAL_SECTION();
    return stream;
}

static void on_closed(struct afn_stream *stream, void *user, int error)
{
    TransportObject *self = user;

    Py_INCREF(self);
    transport_release_lent(self);
    if (error == AFN_ERR_TRUNCATED && !self->got_eof && !self->closing && self->tls != NULL &&
        tls_is_secured(self))
        on_eof(stream, self);
    Py_XSETREF(self->exception, get_reason(self, error));
    Py_BEGIN_CRITICAL_SECTION(self);
    if (!transport_is_pipe(self) && self->sockname.state == SOCKADDR_UNKNOWN &&
        self->fd >= 0)
        sockaddr_fetch_own(&self->sockname, self->fd);
    Py_END_CRITICAL_SECTION();
    if (self->role == TRANSPORT_WRITE_PIPE && !self->closing)
        callbacks_debug(self, "%r was closed by peer");
    if (self->stream == stream) {
        /* A pipe's descriptor is the pipe object's, or a duplicate of our own. */
        self->owns_fd = !transport_is_pipe(self) && afn_stream_take_fd(stream) >= 0;
        endpoint_unref(self);
        self->lost = true;
        if (!self->starting && carrier_is_lost(self))
            transport_finish(self);
    }
    Py_DECREF(self);
}

static const struct afn_stream_handler data_handler = {
    .size = sizeof(data_handler),
    .data = on_data,
    .eof = on_eof,
    .secured = on_secured,
    .writable = on_writable,
    .closed = on_closed,
};

static const struct afn_stream_handler bytes_handler = {
    .size = sizeof(bytes_handler),
    .get_buffer = on_get_bytes,
    .buffer_updated = on_bytes_filled,
    .eof = on_eof,
    .secured = on_secured,
    .writable = on_writable,
    .closed = on_closed,
};

static const struct afn_stream_handler compiled_handler = {
    .size = sizeof(compiled_handler),
    .data = on_compiled_data,
    .eof = on_eof,
    .secured = on_secured,
    .writable = on_writable,
    .closed = on_closed,
};

static const struct afn_stream_handler buffer_handler = {
    .size = sizeof(buffer_handler),
    .get_buffer = on_get_buffer,
    .buffer_updated = on_buffer_updated,
    .eof = on_eof,
    .secured = on_secured,
    .writable = on_writable,
    .closed = on_closed,
};

static const struct afn_stream_handler *get_handler(const TransportObject *self)
{
    if (self->buffered)
        return &buffer_handler;
    if (self->compiled != NULL)
        return &compiled_handler;
    return self->receives_much ? &bytes_handler : &data_handler;
}

TransportObject *transport_new(ReactorObject *reactor, enum transport_role role,
                               PyObject *context)
{
    PyTypeObject *type = reactor->state->transport_types[role];
    TransportObject *self = (TransportObject *)type->tp_alloc(type, 0);

    if (self == NULL)
        return NULL;
    self->reactor = (ReactorObject *)Py_NewRef((PyObject *)reactor);
    self->context = Py_NewRef(context);
    self->role = role;
    self->fd = self->shown_fd = -1;
    self->detached_server = true;
    self->finished = true; /* until it is opened there is nothing to warn about */
    return self;
}

/*
 * Over a duplicate of the descriptor: it is another transport's already, for the other direction.
 */
static int open_duplicate(TransportObject *self, unsigned int flags, struct afn_stream **ret_stream)
{
    int fd = fcntl(self->fd, F_DUPFD_CLOEXEC, 0), r;

    if (fd < 0)
        return -errno;
    r = afn_stream_new(self->reactor->reactor, fd, get_handler(self), self,
                       flags & ~AFN_STREAM_BORROWED, ret_stream);
    if (r < 0)
        close(fd);
    return r;
}

int transport_prepare(TransportObject *self, int fd)
{
    if (self->reactor->reactor == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
        return -1;
    }
    if (fd >= 0)
        self->fd = self->shown_fd = fd;
    return reactor_add(self->reactor, self);
}

int transport_begin(TransportObject *self, int r)
{
    if (r < 0) {
        reactor_remove(self->reactor, self);
        self->fd = -1;
        transport_raise_errno(r);
        return -1;
    }
    self->finished = false;
    return 0;
}

int transport_open(TransportObject *self, int fd, unsigned int flags)
{
    struct afn_stream *stream = NULL;
    int r;

    if (transport_prepare(self, fd) < 0)
        return -1;
    r = afn_stream_new(self->reactor->reactor, fd, get_handler(self), self, flags, &stream);
    if (r == -EEXIST && transport_is_pipe(self))
        r = open_duplicate(self, flags, &stream);
    self->stream = stream;
    return transport_begin(self, r);
}

int transport_open_over(TransportObject *self, const struct afn_carrier_ops *ops, void *carrier)
{
    struct afn_stream *stream = NULL;
    int r;

    if (transport_prepare(self, -1) < 0)
        return -1;
    r = afn_stream_new_over(self->reactor->reactor, ops, carrier, get_handler(self), self, 0,
                            &stream);
    self->stream = stream;
    return transport_begin(self, r);
}

/* The socket object or NULL; the descriptor is no longer this transport's, in any thread's eyes. */
static PyObject *take_socket(TransportObject *self)
{
    PyObject *sock;

    Py_BEGIN_CRITICAL_SECTION(self);
    sock = self->sock;
    self->sock = NULL;
    self->fd = -1;
    Py_END_CRITICAL_SECTION();
    return sock;
}

int transport_take_over(TransportObject *self, TransportObject *old)
{
    self->fd = self->shown_fd = old->fd;
    if (reactor_add(self->reactor, self) < 0)
        return -1;
    afn_stream_set_handler(old->stream, get_handler(self), self);
    self->stream = take_stream(old);
    self->finished = false;
    old->finished = true;

    self->family = old->family;
    self->type = old->type;
    self->proto = old->proto;
    self->peername = old->peername;
    self->sockname = old->sockname;
    self->made = old->made || old->starting;
    self->writing_paused = old->writing_paused;
    self->sock = take_socket(old);
    Py_BEGIN_CRITICAL_SECTION(old);
    self->transport_socket = old->transport_socket;
    old->transport_socket = NULL;
    Py_END_CRITICAL_SECTION();

    self->lower = (TransportObject *)Py_NewRef((PyObject *)old);
    old->successor = (TransportObject *)Py_NewRef((PyObject *)self);
    transport_release_lent(old);
    reactor_remove(old->reactor, old);
    return 0;
}

/* Takes compiled, and the reference to protocol; both may be NULL. */
static void replace_protocol(TransportObject *self, PyObject *protocol,
                             struct compiled_protocol *compiled)
{
    struct compiled_protocol *old_compiled = self->compiled;
    PyObject *old;

    self->compiled = compiled;
    Py_BEGIN_CRITICAL_SECTION(self);
    old = self->protocol;
    self->protocol = protocol;
    Py_END_CRITICAL_SECTION();
    compiled_free(old_compiled);
    Py_XDECREF(old);
}

static bool receives_data(const TransportObject *self)
{
    return self->role == TRANSPORT_SOCKET || self->role == TRANSPORT_READ_PIPE;
}

int transport_set_protocol(TransportObject *self, PyObject *protocol)
{
    struct module_state *state = self->reactor->state;
    struct compiled_protocol *compiled = NULL;
    int buffered = PyObject_IsInstance(protocol, state->imports.buffered_protocol);

    if (buffered < 0 ||
        (!buffered && receives_data(self) && compiled_find(state, protocol, &compiled) < 0))
        return -1;
    self->buffered = buffered;
    replace_protocol(self, Py_NewRef(protocol), compiled);
    if (self->stream != NULL)
        afn_stream_set_handler(self->stream, get_handler(self), self);
    return 0;
}

/* server._attach() or server._detach(), as the running asyncio wants it. */
static int tell_server(TransportObject *self, PyObject *name)
{
    PyObject *result;

    if (self->reactor->state->server_counts_by_object)
        result = PyObject_CallMethodOneArg(self->server, name, (PyObject *)self);
    else
        result = PyObject_CallMethodNoArgs(self->server, name);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int transport_attach_server(TransportObject *self, PyObject *server)
{
    if (server == Py_None)
        return 0;
    self->server = Py_NewRef(server);
    if (tell_server(self, self->reactor->state->names._attach) < 0)
        return -1;
    self->detached_server = false;
    return 0;
}

static void detach_server(TransportObject *self)
{
    if (self->detached_server)
        return;
    self->detached_server = true;
    if (tell_server(self, self->reactor->state->names._detach) < 0) {
        PyObject *exception = callbacks_catch(self->reactor);

        if (exception != NULL)
            callbacks_report(self->reactor, self->context,
                             Py_BuildValue("{s:s,s:N,s:O}", "message",
                                           "Fatal error: server._detach() call failed.",
                                           "exception", exception, "transport", self));
    }
    Py_CLEAR(self->server);
}

int transport_note_closing(TransportObject *self)
{
    if (self->closing)
        return 0;
    if (COMPAT_STREAM_LOST_WHERE_CLOSED || self->role != TRANSPORT_SOCKET) {
        self->closing_context = PyContext_CopyCurrent();
        if (self->closing_context == NULL)
            return -1;
    }
    self->closing = true;
    return 0;
}

void transport_abort(TransportObject *self, PyObject *exception)
{
    if (!endpoint_is_open(self) || self->aborting)
        return;
    self->aborting = true;
    if (exception != NULL && self->exception == NULL)
        self->exception = Py_NewRef(exception);
    endpoint_abort(self, AFN_ERR_ABORTED);
}

void transport_release_lent(TransportObject *self)
{
    if (self->reactor != NULL && self->reactor->lent == self)
        self->reactor->lent = NULL;
    if (self->lent.obj != NULL) {
        Py_buffer lent = self->lent;

        self->lent.obj = NULL; /* the protocol's buffer may be an object of its own making */
        PyBuffer_Release(&lent);
    }
}

void transport_close_socket(TransportObject *self)
{
    int fd = self->fd;
    PyObject *sock = take_socket(self);

    if (sock == NULL) {
        if (self->owns_fd && fd >= 0)
            close(fd);
    } else {
        PyObject *result = PyObject_CallMethod(sock, "close", NULL);

        if (result == NULL)
            PyErr_WriteUnraisable(sock);
        Py_XDECREF(result);
        Py_DECREF(sock);
    }
    self->owns_fd = false;
}

void transport_clear_references(TransportObject *self)
{
    transport_release_lent(self);
    replace_protocol(self, NULL, NULL);
    Py_CLEAR(self->exception);
    Py_CLEAR(self->closing_context);
    Py_CLEAR(self->waiter);
    Py_CLEAR(self->sendfile_waiter);
}

void transport_finish(TransportObject *self)
{
    PyObject *exception = self->exception;
    TransportObject *lower = self->lower;
    ReactorObject *reactor = self->reactor;

    Py_INCREF(self);
    self->exception = NULL;
    self->closing = true;
    diagnostics_lost(self, exception);
    if (self->made)
        callbacks_connection_lost(self, exception);
    if (self->tls != NULL && !tls_is_secured(self))
        tls_handshake_failed(self, exception);
    callbacks_wake(self, exception);
    self->finished = true;
    /* The table must not show it once the number may be somebody else's. */
    reactor_remove(reactor, self);
    carrier_detach(self);
    transport_close_socket(self);
    transport_clear_references(self);
    detach_server(self);
    self->lower = NULL;
    while (lower != NULL) {
        TransportObject *next = lower->lower;

        lower->lower = NULL;
        transport_clear_references(lower);
        detach_server(lower);
        Py_DECREF(lower);
        lower = next;
    }
    Py_XDECREF(exception);
    Py_DECREF(self);
}

void transport_drop(TransportObject *self)
{
    transport_release_lent(self);
    carrier_detach(self);
    if (endpoint_is_open(self)) {
        PyObject *sock;

        if (self->reactor != NULL)
            reactor_remove(self->reactor, self);
        /* The library closes the descriptor; the socket object must not do it again. */
        sock = transport_is_pipe(self) ? NULL : take_socket(self);
        if (sock != NULL) {
            PyObject *result = PyObject_CallMethod(sock, "detach", NULL);

            if (result == NULL)
                PyErr_WriteUnraisable(sock);
            Py_XDECREF(result);
            Py_DECREF(sock);
        }
        endpoint_unref(self);
    } else {
        if (self->reactor != NULL)
            reactor_remove(self->reactor, self);
        if (self->owns_fd || self->sock != NULL)
            transport_close_socket(self);
    }
    self->closing = true;
}

void transport_leave(TransportObject *self)
{
    if (endpoint_is_open(self) && reactor_is_inherited(self->reactor)) {
        endpoint_forget(self);
        self->owns_fd = !transport_is_pipe(self);
    }
    transport_drop(self);
}
