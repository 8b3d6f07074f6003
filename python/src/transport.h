/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_PYTHON_TRANSPORT_H
#define AIOFASTNET_PYTHON_TRANSPORT_H

#include "reactor.h"
#include "sockaddr.h"

#include <aiofastnet/carrier.h>
#include <aiofastnet/datagram.h>
#include <aiofastnet/stream.h>

struct compiled_protocol;
struct transport_tls;

/* What a transport is to asyncio; each has a type of its own. */
enum transport_role {
    TRANSPORT_SOCKET,
    TRANSPORT_DATAGRAM,
    TRANSPORT_READ_PIPE,
    TRANSPORT_WRITE_PIPE
};

/*
 * A transport is open while it has a stream or a datagram socket; the reactor owns a reference
 * until then, and a little longer: until connection_lost() has returned.
 */
typedef struct TransportObject {
    PyObject_HEAD
    PyObject *extra; /* the slot _extra of asyncio.BaseTransport: must be first; may be NULL */
    struct afn_stream *stream;
    struct afn_datagram *datagram; /* of a DatagramTransport, which never has a stream */
    ReactorObject *reactor;
    PyObject *context; /* contextvars: all callbacks run in it, but connection_lost() */
    PyObject *protocol;
    struct compiled_protocol *compiled; /* what the protocol has in C, or NULL */
    struct transport_tls *tls;          /* NULL without TLS */
    enum transport_role role;

    /* What other threads may ask for, and so see while it changes. */
    atomic_bool holding_back;   /* reading begins once create_connection() has returned */
    atomic_bool lost;           /* the stream is gone; connection_lost() may still be to come */
    atomic_bool finished;       /* all is over; nothing to warn about any more */
    atomic_bool closing;        /* close() or abort() was called */
    atomic_bool reading_paused; /* by the user */
    atomic_bool writing_paused; /* pause_writing() was called */

    bool buffered;        /* the protocol is an asyncio.BufferedProtocol */
    bool receives_much;   /* the last data was long: the next is received into bytes directly */
    bool starting;        /* connection_made() is waiting in the loop's queue */
    bool warned;          /* or it was warned about already */
    bool made;            /* connection_made() was called, so connection_lost() will be */
    bool aborting;        /* the reason of the end is settled */
    bool accepted;        /* by a listener: nobody waits for it */
    bool ended;           /* write_eof() was called */
    bool got_eof;         /* eof_received() was called */
    bool sending_file;    /* loop.sendfile() is at work */
    bool owns_fd;         /* fd is to be closed here: no stream has it any more */
    bool detached_server; /* or there never was one */

    struct afn_stream_stats stats; /* of the stream, once it is gone */
    struct afn_datagram_stats datagram_stats; /* of the datagram socket, likewise */
    size_t high_water, low_water;             /* of either, likewise */

    int fd;       /* -1 once closed */
    int shown_fd; /* what it was, for those who read logs */
    int family, type, proto;
    unsigned int dropped_writes;
    struct sockaddr_value peername;
    struct sockaddr_value sockname;

    PyObject *exception;       /* what ended it, for connection_lost() */
    PyObject *closing_context; /* of close() or abort(), for connection_lost(); or NULL */
    PyObject *waiter;
    PyObject *sendfile_waiter;
    uint64_t sendfile_sent;    /* bytes, once there is nobody to wait */
    PyObject *server;
    PyObject *sock;             /* socket.socket, made when it is first asked for; or the pipe */
    PyObject *transport_socket; /* asyncio's wrapper of it */
    PyObject *address;          /* the one that a datagram transport sends to, or NULL */
    Py_buffer lent;             /* the protocol's buffer, while the library has it */

    /* After start_tls() the stream is another transport's, and what was asked of this one is done
     * by that one; the lower one is kept because servers count it. */
    struct TransportObject *_Atomic successor;
    struct TransportObject *lower;

    PyObject *carrier; /* where another transport carries the bytes; see carrier.h */

    struct TransportObject *next;
    struct TransportObject **link; /* what points to this one in the reactor's list, or NULL */
    PyObject *weakrefs;
} TransportObject;

/* Programs and tests put attributes of their own on asyncio's pipe transports. */
typedef struct {
    TransportObject base;
    PyObject *dict; /* or NULL */
} PipeTransportObject;

static inline bool transport_is_pipe(const TransportObject *self)
{
    return self->role >= TRANSPORT_READ_PIPE;
}

PyTypeObject *transport_make_type(PyObject *module, struct module_state *state,
                                  enum transport_role role);

/* Is the object a transport of any of the types? */
bool transport_is_one(PyObject *object);

/* A transport without a stream, or without a datagram socket. */
TransportObject *transport_new(ReactorObject *reactor, enum transport_role role,
                               PyObject *context);

/*
 * Before the library takes the descriptor, or -1, of a transport, and after.  r is what it said.
 *
 * Returns: 0, or -1 with an exception.
 */
int transport_prepare(TransportObject *self, int fd);
int transport_begin(TransportObject *self, int r);

/*
 * Gives it a stream.  After success the descriptor belongs to the stream, unless it is a pipe's, and
 * the reactor holds a reference to the transport.
 *
 * Returns: 0, or -1 with an exception.
 */
int transport_open(TransportObject *self, int fd, unsigned int flags);

/* The same on a carrier. */
int transport_open_over(TransportObject *self, const struct afn_carrier_ops *ops, void *carrier);

/* Moves the stream of one transport to another, which takes its place in the reactor. */
int transport_take_over(TransportObject *self, TransportObject *old);

/* 0, or -1 with an exception. */
int transport_set_protocol(TransportObject *self, PyObject *protocol);
int transport_attach_server(TransportObject *self, PyObject *server);

/* The user closes it: now, and in the current context.  0, or -1 with an exception. */
int transport_note_closing(TransportObject *self);

/*
 * Ends the transport with an exception (or NULL) for connection_lost(), which comes later.  The
 * first reason counts.
 */
void transport_abort(TransportObject *self, PyObject *exception);

/* The end: connection_lost(), the socket, the server, the references. */
void transport_finish(TransportObject *self);

/*
 * The other end, without callbacks, of a transport that never came to life.  Closes the descriptor,
 * but not a pipe: that happens when the transport is freed, as with asyncio.  The caller holds a
 * reference of its own.
 */
void transport_drop(TransportObject *self);

/*
 * The same where the loop is closed or garbage, so that nothing runs any more: what a parent process
 * had before fork(2) is only forgotten.
 */
void transport_leave(TransportObject *self);

/* Closes the socket or the pipe, whoever has made an object of it. */
void transport_close_socket(TransportObject *self);

/* Drops what a transport that is over does not need: the addresses and the TLS object stay. */
void transport_clear_references(TransportObject *self);

/* Gives the protocol's buffer back to the protocol. */
void transport_release_lent(TransportObject *self);

/* Raises the OSError of a negative errno. */
void transport_raise_errno(int error);

/* The one that now does what is asked of this one. */
static inline TransportObject *transport_resolve(TransportObject *self)
{
    while (self->successor != NULL)
        self = self->successor;
    return self;
}

/* May bytes be written?  0, or -1 with an exception. */
int transport_check_writable(TransportObject *self, const char *after_eof);

/* transport-methods.c, write.c, sendfile.c, extra-info.c, make.c: what the types are made of. */
extern PyMethodDef transport_methods[];
extern PyMethodDef transport_read_pipe_methods[];
extern PyMethodDef transport_write_pipe_methods[];
extern PyMethodDef transport_datagram_methods[];
extern PyGetSetDef transport_getset[];
extern PyGetSetDef transport_pipe_getset[];

PyObject *transport_repr(TransportObject *self);
PyObject *transport_write(TransportObject *self, PyObject *const *args, Py_ssize_t count,
                          PyObject *keywords);
PyObject *transport_writelines(TransportObject *self, PyObject *const *args, Py_ssize_t count,
                               PyObject *keywords);
PyObject *transport_get_write_buffer_size(TransportObject *self, PyObject *unused);
PyObject *transport_begin_sendfile(TransportObject *self, PyObject *args);
PyObject *transport_end_sendfile(TransportObject *self, PyObject *unused);
PyObject *transport_get_sendfile_mode(TransportObject *self, void *closure);

/* Refuses what is not bytes-like; 0, or -1 with TypeError. */
int transport_check_data(TransportObject *self, PyObject *data);

/*
 * Before a call of afn_stream_write() or its like, outside of write(), and after it.  begin returns
 * 1, 0 when there is nothing to write, or nobody to write to, or -1 with an exception; end takes
 * the result of the call, and returns 0, or -1 with an exception.
 */
int transport_begin_write(TransportObject *self, size_t length);
int transport_end_write(TransportObject *self, int result);

/* The result of a write that came too late. */
PyObject *transport_drop_write(TransportObject *self);
PyObject *transport_get_extra_info(TransportObject *self, PyObject *const *args, Py_ssize_t count,
                                   PyObject *keywords);
PyObject *transport_get_extra(TransportObject *self, void *closure);
PyObject *transport_get_sock(TransportObject *self, void *closure);

PyObject *reactor_make_datagram_transport(ReactorObject *self, PyObject *args, PyObject *keywords);
PyObject *reactor_make_socket_transport(ReactorObject *self, PyObject *args, PyObject *keywords);
PyObject *reactor_make_ssl_transport(ReactorObject *self, PyObject *args, PyObject *keywords);
PyObject *reactor_start_tls(ReactorObject *self, PyObject *args, PyObject *keywords);
PyObject *reactor_make_read_pipe_transport(ReactorObject *self, PyObject *args,
                                           PyObject *keywords);
PyObject *reactor_make_write_pipe_transport(ReactorObject *self, PyObject *args,
                                            PyObject *keywords);

#endif
