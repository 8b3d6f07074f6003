/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_PYTHON_ENGINE_H
#define AIOFASTNET_PYTHON_ENGINE_H

#include "transport.h"

#include <aiofastnet/tls.h>

/*
 * TLS by ssl.MemoryBIO and ssl.SSLObject, for a Python whose OpenSSL is not ours.  Slower; in all
 * else the same.
 */
struct python_engine;

/* NULL with an exception.  The transport is borrowed; tls->exception of it tells of failures. */
struct python_engine *python_engine_new(TransportObject *transport, PyObject *object,
                                        PyObject *incoming, PyObject *outgoing);

/* afn_stream_start_engine() */
int python_engine_start(struct python_engine *engine, struct afn_stream *stream,
                        const struct afn_tls_options *options);

int python_engine_traverse(struct python_engine *engine, visitproc visit, void *arg);

/* The transport goes away; the engine too, unless a stream still has it. */
void python_engine_abandon(struct python_engine *engine);

#endif
