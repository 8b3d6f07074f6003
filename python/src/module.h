/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_MODULE_H
#define AIOFASTNET_MODULE_H

#include "compat.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Attribute names and keys that are used while a connection lives; interned once. */
#define MODULE_NAMES(X)                                                                            \
    X(__aiofastnet_protocol__)                                                                    \
    X(_attach)                                                                                     \
    X(_detach)                                                                                     \
    X(_begin_reading)                                                                              \
    X(_start)                                                                                      \
    X(buffer_updated)                                                                              \
    X(call_exception_handler)                                                                      \
    X(call_soon)                                                                                   \
    X(connection_lost)                                                                             \
    X(connection_made)                                                                             \
    X(context)                                                                                     \
    X(data_received)                                                                               \
    X(datagram_received)                                                                           \
    X(dispatch_scheduled)                                                                          \
    X(do_handshake)                                                                                \
    X(done)                                                                                        \
    X(eof_received)                                                                                \
    X(error_received)                                                                              \
    X(get_buffer)                                                                                  \
    X(get_debug)                                                                                   \
    X(isEnabledFor)                                                                                \
    X(is_running)                                                                                  \
    X(pause_writing)                                                                               \
    X(read)                                                                                        \
    X(resume_writing)                                                                              \
    X(set_exception)                                                                               \
    X(set_result)                                                                                  \
    X(unwrap)                                                                                      \
    X(write)

struct module_names {
#define MODULE_NAME_MEMBER(name) PyObject *name;
    MODULE_NAMES(MODULE_NAME_MEMBER)
#undef MODULE_NAME_MEMBER
};

/* What the module borrows from the standard library; looked up at import. */
struct module_imports {
    PyObject *buffered_protocol; /* asyncio.BufferedProtocol */
    PyObject *transport;         /* asyncio.Transport */
    PyObject *read_transport;    /* asyncio.ReadTransport */
    PyObject *datagram_transport;
    PyObject *transport_socket;  /* asyncio.trsock.TransportSocket */
    PyObject *get_running_loop;  /* asyncio._get_running_loop, which raises nothing */
    PyObject *socket;            /* socket.socket */
    PyObject *logger;            /* asyncio.log.logger */
    PyObject *own_logger;        /* logging.getLogger("aiofastnet") */
    PyObject *sendfile_native;   /* asyncio.constants._SendfileMode.TRY_NATIVE */
    PyObject *sendfile_fallback; /* and FALLBACK */
    PyObject *handshake_timeout; /* asyncio's defaults, in seconds */
    PyObject *shutdown_timeout;
    /* Of the module ssl; all NULL when Python was built without it. */
    PyObject *memory_bio;
    PyObject *ssl_context;
    PyObject *protocol_tls_client;
    PyObject *ssl_error;
    PyObject *ssl_eof_error;
    PyObject *ssl_syscall_error;
    PyObject *ssl_want_read_error;
    PyObject *ssl_want_write_error;
    PyObject *ssl_certificate_error;
    PyObject *create_default_context;
};

struct module_state {
    PyTypeObject *reactor_type;
    PyTypeObject *transport_types[4]; /* by enum transport_role */
    PyTypeObject *carrier_type;
    struct module_names names;
    struct module_imports imports;
    size_t tls_high_water;        /* asyncio's default high-water mark of a TLS transport */
    bool server_counts_by_object; /* asyncio.Server._attach() takes the transport */
    atomic_bool force_python_engine;
};

/* The tp_new of types whose objects only this module makes. */
PyObject *module_refuse_new(PyTypeObject *type, PyObject *args, PyObject *keywords);

#endif
