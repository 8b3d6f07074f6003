/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_PYTHON_TLS_H
#define AIOFASTNET_PYTHON_TLS_H

#include "transport.h"

#include <openssl/types.h>

struct python_engine;

/* The TLS of a transport.  The session is the SSLObject's: here is what asyncio adds. */
struct transport_tls {
    PyObject *context;  /* ssl.SSLContext */
    PyObject *object;   /* ssl.SSLObject, valid also after the end */
    PyObject *peercert; /* these three as of the end of the handshake */
    PyObject *cipher;
    PyObject *compression;
    PyObject *ktls_send, *ktls_receive; /* bools */
    PyObject *exception;         /* what CPython's ssl module made of the failure, or NULL */
    PyObject *handshake_timeout; /* in seconds, as the user gave it */
    uint64_t handshake_limit;    /* in microseconds */
    uint64_t shutdown_limit;
    SSL *ssl; /* NULL: the python engine; borrowed from the object */
    struct python_engine *engine;
    bool secured; /* the handshake is complete */
};

/* What the user asked for; every member is borrowed, and None when it was not given. */
struct tls_request {
    PyObject *context;
    PyObject *hostname;
    PyObject *session;
    PyObject *handshake_timeout;
    PyObject *shutdown_timeout;
    bool server_side;
};

/* Checks the request and makes the SSLObject; sends nothing.  0, or -1 with an exception. */
int tls_prepare(TransportObject *transport, const struct tls_request *request);

/*
 * Puts the prepared TLS on a stream, which is not yet the transport's in start_tls().
 *
 * Returns: 0, or -1 with an exception; the stream is then as it was.
 */
int tls_start(TransportObject *transport, struct afn_stream *stream, const void *received,
              size_t length);

bool tls_is_secured(const TransportObject *transport);

/* Does the kernel encrypt? */
bool tls_is_sending_raw(const TransportObject *transport);

/* The handshake is complete: connection_made(), then the waiter. */
void tls_secured(TransportObject *transport);

/* It never will be: tells the loop, and forgets what the handshake needed. */
void tls_handshake_failed(TransportObject *transport, PyObject *exception);

/*
 * Does TLS know why a stream was closed with this error?  *ret_reason is a new reference, or NULL
 * for None.
 */
bool tls_get_reason(TransportObject *transport, int error, PyObject **ret_reason);

/* A new reference; NULL when there is none.  *ret_known: is it a name of TLS at all? */
PyObject *tls_get_extra_info(TransportObject *transport, PyObject *name, bool *ret_known);

int tls_traverse(TransportObject *transport, visitproc visit, void *arg);
void tls_clear(TransportObject *transport);

#endif
