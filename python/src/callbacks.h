/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_PYTHON_CALLBACKS_H
#define AIOFASTNET_PYTHON_CALLBACKS_H

#include "transport.h"

/*
 * The calls of user code.  Exceptions do not come out of these functions, unless it is said: they
 * are reported to the loop as asyncio's own transports do, and SystemExit and KeyboardInterrupt
 * wait in the reactor until dispatch() ends.
 */

/* Calls in the transport's contextvars context; argument may be NULL.  Exceptions do come out. */
PyObject *callbacks_run(TransportObject *transport, PyObject *callable, PyObject *argument);

/* Takes the reference to bytes; NULL stands for an exception in making them. */
void callbacks_data_received(TransportObject *transport, PyObject *bytes);
/* Of a transport whose protocol is compiled. */
void callbacks_compiled_data_received(TransportObject *transport, const void *data, size_t length);
void callbacks_buffer_updated(TransportObject *transport, size_t length);

/* Takes both references; NULL stands for an exception in making them. */
void callbacks_datagram_received(TransportObject *transport, PyObject *bytes, PyObject *address);

/* An error of the network that does not end the transport; takes the reference. */
void callbacks_error_received(TransportObject *transport, PyObject *exception);

/* Fills transport->lent; -1 when the transport cannot go on, which has been reported. */
int callbacks_get_buffer(TransportObject *transport);

/* Does the protocol want to keep the transport open? */
bool callbacks_eof_received(TransportObject *transport);

/* -1 when it failed; the exception is raised still. */
int callbacks_connection_made(TransportObject *transport);

/* exception may be NULL. */
void callbacks_connection_lost(TransportObject *transport, PyObject *exception);

/* Called straight from write(): -1 when SystemExit or KeyboardInterrupt came out. */
int callbacks_pause_writing(TransportObject *transport);
void callbacks_resume_writing(TransportObject *transport);

/* Ends a future that still waits: with None, or an exception.  Takes the reference to it. */
void callbacks_settle(ReactorObject *reactor, PyObject *waiter, PyObject *exception);

/* Ends the waiter, if there is one that still waits; exception may be NULL. */
void callbacks_wake(TransportObject *transport, PyObject *exception);

/* loop.call_soon(callable, argument, context=context): 0, or -1 with an exception.  argument may be
 * NULL, and context, for what enters one of its own. */
int callbacks_call_soon(ReactorObject *reactor, PyObject *callable, PyObject *argument,
                        PyObject *context);

/*
 * Takes the raised exception; NULL when it was SystemExit or KeyboardInterrupt, which is then
 * kept in the reactor.
 */
PyObject *callbacks_catch(ReactorObject *reactor);

/* Takes the raised exception, when nobody is left to tell: sys.unraisablehook() gets it. */
void callbacks_give_up(ReactorObject *reactor);

/*
 * loop.call_exception_handler(context); takes the reference, or the exception if it is NULL.  In
 * dispatch() the handler runs where it is told to, in a contextvars context.
 */
void callbacks_report(ReactorObject *reactor, PyObject *where, PyObject *context);

/* Tells the loop why a transport ends: errors of the network in debug mode only. */
void callbacks_tell_fatal(TransportObject *transport, PyObject *exception, const char *message);

/* Takes the raised exception, tells the loop, and ends the transport with it. */
void callbacks_fatal(TransportObject *transport, const char *message);

/* logger.debug() and logger.warning(), with "%r" for the transport unless it is NULL. */
void callbacks_debug(TransportObject *transport, const char *format);
void callbacks_warn(ReactorObject *reactor, const char *message);

#endif
