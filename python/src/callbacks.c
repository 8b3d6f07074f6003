/* SPDX-License-Identifier: MIT */
#include "callbacks.h"

#include "compiled.h"
#include "diagnostics.h"

static PyObject *run_in(PyObject *context, TransportObject *transport, PyObject *callable,
                        PyObject *argument)
{
    PyObject *result;

    if (transport->reactor->lent != NULL)
        transport_release_lent(transport->reactor->lent);
    if (PyContext_Enter(context) < 0)
        return NULL;
    result =
        argument == NULL ? PyObject_CallNoArgs(callable) : PyObject_CallOneArg(callable, argument);
    if (PyContext_Exit(context) < 0)
        Py_CLEAR(result);
    return result;
}

PyObject *callbacks_run(TransportObject *transport, PyObject *callable, PyObject *argument)
{
    return run_in(transport->context, transport, callable, argument);
}

/*
 * Calls a method of the protocol, which is looked up each time: programs do change them.  This is
 * the way of every request, so no bound method is made.
 */
static PyObject *run_method(TransportObject *transport, PyObject *name, PyObject *first,
                            PyObject *second)
{
    PyObject *protocol = Py_NewRef(transport->protocol); /* set_protocol() may drop it */
    PyObject *arguments[] = {protocol, first, second};
    size_t count = first == NULL ? 1 : second == NULL ? 2 : 3;
    PyObject *result = NULL;

    if (transport->reactor->lent != NULL)
        transport_release_lent(transport->reactor->lent);
    if (PyContext_Enter(transport->context) == 0) {
        result = PyObject_VectorcallMethod(name, arguments, count, NULL);
        if (PyContext_Exit(transport->context) < 0)
            Py_CLEAR(result);
    }
    Py_DECREF(protocol);
    return result;
}

static PyObject *run_protocol(TransportObject *transport, PyObject *name, PyObject *argument)
{
    return run_method(transport, name, argument, NULL);
}

PyObject *callbacks_catch(ReactorObject *reactor)
{
    PyObject *exception = compat_take_exception();

    if (!PyErr_GivenExceptionMatches(exception, PyExc_SystemExit) &&
        !PyErr_GivenExceptionMatches(exception, PyExc_KeyboardInterrupt))
        return exception;
    if (reactor->interrupt == NULL)
        reactor->interrupt = exception;
    else
        Py_DECREF(exception);
    if (reactor->dispatching && reactor->reactor != NULL)
        afn_reactor_stop(reactor->reactor);
    return NULL;
}

void callbacks_give_up(ReactorObject *reactor)
{
    PyObject *exception = callbacks_catch(reactor);

    if (exception != NULL) {
        compat_raise_exception(exception);
        PyErr_WriteUnraisable(reactor->loop);
    }
}

/* Not when a method of the transport reports: its caller's context is the right one. */
static bool enter(ReactorObject *reactor, PyObject *where)
{
    if (where == NULL || !reactor->dispatching)
        return false;
    if (PyContext_Enter(where) == 0)
        return true;
    PyErr_Clear(); /* a callback is running, in this context */
    return false;
}

void callbacks_report(ReactorObject *reactor, PyObject *where, PyObject *context)
{
    PyObject *result = NULL;

    if (context != NULL) {
        bool entered = enter(reactor, where);

        result = PyObject_CallMethodOneArg(reactor->loop,
                                           reactor->state->names.call_exception_handler, context);
        if (entered && PyContext_Exit(where) < 0)
            Py_CLEAR(result);
    }
    Py_XDECREF(context);
    if (result == NULL)
        callbacks_give_up(reactor);
    Py_XDECREF(result);
}

static PyObject *get_protocol(TransportObject *transport)
{
    return transport->protocol != NULL ? transport->protocol : Py_None;
}

static void report(TransportObject *transport, PyObject *where, PyObject *exception,
                   const char *message)
{
    callbacks_report(transport->reactor, where,
                     Py_BuildValue("{s:s,s:O,s:O,s:O}", "message", message, "exception", exception,
                                   "transport", transport, "protocol", get_protocol(transport)));
}

void callbacks_warn(ReactorObject *reactor, const char *message)
{
    PyObject *result = PyObject_CallMethod(reactor->state->imports.logger, "warning", "s", message);

    if (result == NULL)
        callbacks_give_up(reactor);
    Py_XDECREF(result);
}

void callbacks_debug(TransportObject *transport, const char *format)
{
    ReactorObject *reactor = transport->reactor;
    PyObject *result;

    if (!reactor_is_debug(reactor))
        return;
    result = PyObject_CallMethod(reactor->state->imports.logger, "debug", "sO", format, transport);
    if (result == NULL)
        callbacks_give_up(reactor);
    Py_XDECREF(result);
}

/* logger.debug("%r: %s", transport, message, exc_info=exception) */
static void debug_exception(TransportObject *transport, PyObject *exception, const char *message)
{
    ReactorObject *reactor = transport->reactor;
    PyObject *method = PyObject_GetAttrString(reactor->state->imports.logger, "debug");
    PyObject *arguments = Py_BuildValue("(sOs)", "%r: %s", transport, message);
    PyObject *keywords = Py_BuildValue("{s:O}", "exc_info", exception);
    PyObject *result = NULL;

    if (method != NULL && arguments != NULL && keywords != NULL)
        result = PyObject_Call(method, arguments, keywords);
    Py_XDECREF(method);
    Py_XDECREF(arguments);
    Py_XDECREF(keywords);
    if (result == NULL)
        callbacks_give_up(reactor);
    Py_XDECREF(result);
}

void callbacks_tell_fatal(TransportObject *transport, PyObject *exception, const char *message)
{
    if (!PyErr_GivenExceptionMatches(exception, PyExc_OSError))
        report(transport, transport->context, exception, message);
    else if (reactor_is_debug(transport->reactor))
        debug_exception(transport, exception, message);
}

void callbacks_fatal(TransportObject *transport, const char *message)
{
    PyObject *exception = callbacks_catch(transport->reactor);

    if (exception == NULL)
        return;
    callbacks_tell_fatal(transport, exception, message);
    transport_abort(transport, exception);
    Py_DECREF(exception);
}

/* Reading failed; asyncio's TLS has one message for all of it. */
static void fail(TransportObject *transport, const char *message)
{
    callbacks_fatal(transport, transport->tls != NULL ? "Fatal error on SSL protocol" : message);
}

#define FATAL "Fatal error: "

/* An exception of a protocol: asyncio's pipe transports outlive it, and its other ones do not. */
static void fail_or_go_on(TransportObject *transport, const char *message)
{
    PyObject *exception;

    if (!transport_is_pipe(transport)) {
        fail(transport, message);
        return;
    }
    exception = callbacks_catch(transport->reactor);
    if (exception != NULL)
        report(transport, transport->context, exception, message + sizeof(FATAL) - 1);
    Py_XDECREF(exception);
}

void callbacks_data_received(TransportObject *transport, PyObject *bytes)
{
    struct module_names *names = &transport->reactor->state->names;
    PyObject *result = NULL;

    if (bytes != NULL) {
        result = run_protocol(transport, names->data_received, bytes);
        Py_DECREF(bytes);
    }
    if (result == NULL)
        fail_or_go_on(transport, FATAL "protocol.data_received() call failed.");
    Py_XDECREF(result);
}

/* A class or an object may get another data_received() at any time.  -1 with an exception. */
static int has_method(TransportObject *transport, PyObject *protocol, PyObject *method)
{
    PyObject *found = PyObject_GetAttr(protocol, transport->reactor->state->names.data_received);
    int result;

    if (found == NULL)
        return -1;
    result = Py_TYPE(found) == Py_TYPE(method) ? PyObject_RichCompareBool(found, method, Py_EQ) : 0;
    Py_DECREF(found);
    return result;
}

/* 1, or -1 with an exception. */
static int call_compiled(int (*function)(PyObject *, const void *, size_t), PyObject *protocol,
                         const void *data, size_t length)
{
    int r = function(protocol, data, length);

    if (r < 0 && !PyErr_Occurred())
        PyErr_Format(PyExc_SystemError, "%.200s: data_received failed without an exception",
                     Py_TYPE(protocol)->tp_name);
    return PyErr_Occurred() ? -1 : 1;
}

/* 1; 0 when the method is to be called instead; or -1 with an exception. */
static int run_compiled(TransportObject *transport, const void *data, size_t length)
{
    struct compiled_protocol *compiled = transport->compiled;
    int (*function)(PyObject *, const void *, size_t) = compiled->data_received;
    /* set_protocol() may drop them. */
    PyObject *protocol = Py_NewRef(transport->protocol);
    PyObject *capsule = Py_NewRef(compiled->capsule);
    PyObject *method = Py_XNewRef(compiled->method);
    int r = -1;

    if (transport->reactor->lent != NULL)
        transport_release_lent(transport->reactor->lent);
    if (PyContext_Enter(transport->context) == 0) {
        r = method == NULL ? 1 : has_method(transport, protocol, method);
        if (r > 0)
            r = call_compiled(function, protocol, data, length);
        if (PyContext_Exit(transport->context) < 0)
            r = -1;
    }
    Py_XDECREF(method);
    Py_DECREF(capsule);
    Py_DECREF(protocol);
    return r;
}

void callbacks_compiled_data_received(TransportObject *transport, const void *data, size_t length)
{
    int r = run_compiled(transport, data, length);

    if (r < 0)
        fail_or_go_on(transport, FATAL "protocol.data_received() call failed.");
    else if (r == 0)
        callbacks_data_received(transport, PyBytes_FromStringAndSize(data, (Py_ssize_t)length));
}

/* asyncio calls these from the loop, which reports an exception and goes on. */
static void finish_event(TransportObject *transport, PyObject *result, const char *message)
{
    PyObject *exception;

    if (result != NULL) {
        Py_DECREF(result);
        return;
    }
    exception = callbacks_catch(transport->reactor);
    if (exception != NULL)
        report(transport, transport->context, exception, message);
    Py_XDECREF(exception);
}

void callbacks_datagram_received(TransportObject *transport, PyObject *bytes, PyObject *address)
{
    struct module_names *names = &transport->reactor->state->names;
    PyObject *result = NULL;

    if (bytes != NULL && address != NULL)
        result = run_method(transport, names->datagram_received, bytes, address);
    Py_XDECREF(bytes);
    Py_XDECREF(address);
    finish_event(transport, result, "Exception in callback protocol.datagram_received()");
}

void callbacks_error_received(TransportObject *transport, PyObject *exception)
{
    struct module_names *names = &transport->reactor->state->names;
    PyObject *result = run_protocol(transport, names->error_received, exception);

    Py_DECREF(exception);
    finish_event(transport, result, "Exception in callback protocol.error_received()");
}

int callbacks_get_buffer(TransportObject *transport)
{
    struct module_names *names = &transport->reactor->state->names;
    const char *message = "Fatal error: protocol.get_buffer() call failed.";
    PyObject *hint = PyLong_FromLong(-1), *buffer = NULL;
    int r = -1;

    if (hint != NULL)
        buffer = run_protocol(transport, names->get_buffer, hint);
    Py_XDECREF(hint);
    if (buffer != NULL) {
        r = PyObject_GetBuffer(buffer, &transport->lent, PyBUF_WRITABLE);
        if (r < 0 && !PyErr_ExceptionMatches(PyExc_MemoryError)) {
            PyErr_Format(PyExc_TypeError,
                         "get_buffer() must return a read-write bytes-like object, not %.200s",
                         Py_TYPE(buffer)->tp_name);
            message = "Fatal read error on socket transport";
        } else if (r == 0 && transport->lent.len == 0) {
            PyBuffer_Release(&transport->lent);
            PyErr_SetString(PyExc_RuntimeError, "get_buffer() returned an empty buffer");
            r = -1;
        }
        Py_DECREF(buffer);
    }
    if (r < 0)
        fail(transport, message);
    else
        transport->reactor->lent = transport;
    return r;
}

void callbacks_buffer_updated(TransportObject *transport, size_t length)
{
    struct module_names *names = &transport->reactor->state->names;
    PyObject *count = PyLong_FromSize_t(length), *result = NULL;

    if (count != NULL) {
        result = run_protocol(transport, names->buffer_updated, count);
        Py_DECREF(count);
    }
    if (result == NULL)
        fail_or_go_on(transport, FATAL "protocol.buffer_updated() call failed.");
    Py_XDECREF(result);
}

bool callbacks_eof_received(TransportObject *transport)
{
    PyObject *result;
    int keep_open = -1;

    callbacks_debug(transport, "%r received EOF");
    diagnostics_ended(transport);
    transport->got_eof = true;
    result = run_protocol(transport, transport->reactor->state->names.eof_received, NULL);
    if (result != NULL)
        keep_open = PyObject_IsTrue(result);
    Py_XDECREF(result);
    if (keep_open < 0 && transport->tls != NULL)
        callbacks_fatal(transport, "Error calling eof_received()");
    else if (keep_open < 0)
        fail_or_go_on(transport, FATAL "protocol.eof_received() call failed.");
    return keep_open > 0;
}

int callbacks_connection_made(TransportObject *transport)
{
    PyObject *result = run_protocol(transport, transport->reactor->state->names.connection_made,
                                    (PyObject *)transport);

    if (result == NULL)
        return -1;
    Py_DECREF(result);
    return 0;
}

/* In the context of whoever closed, where asyncio calls it from the loop's queue without another. */
void callbacks_connection_lost(TransportObject *transport, PyObject *exception)
{
    PyObject *protocol = Py_NewRef(transport->protocol); /* set_protocol() may drop it */
    PyObject *method = PyObject_GetAttr(protocol, transport->reactor->state->names.connection_lost);
    PyObject *context = transport->closing_context, *result = NULL;

    if (context == NULL)
        context = transport->context;
    if (method != NULL)
        result = run_in(context, transport, method, exception != NULL ? exception : Py_None);
    Py_XDECREF(method);
    Py_DECREF(protocol);
    if (result == NULL) {
        PyObject *failure = callbacks_catch(transport->reactor);

        if (failure != NULL)
            report(transport, context, failure,
                   "Fatal error: protocol.connection_lost() call failed.");
        Py_XDECREF(failure);
    }
    Py_XDECREF(result);
}

int callbacks_pause_writing(TransportObject *transport)
{
    PyObject *protocol = Py_NewRef(transport->protocol); /* set_protocol() may drop it */
    PyObject *result, *exception;

    transport->writing_paused = true;
    result = PyObject_CallMethodNoArgs(protocol, transport->reactor->state->names.pause_writing);
    Py_DECREF(protocol);
    if (result != NULL) {
        Py_DECREF(result);
        return 0;
    }
    if (PyErr_ExceptionMatches(PyExc_SystemExit) || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return -1;
    exception = compat_take_exception();
    report(transport, NULL, exception, "protocol.pause_writing() failed");
    Py_DECREF(exception);
    return 0;
}

void callbacks_resume_writing(TransportObject *transport)
{
    PyObject *result;

    transport->writing_paused = false;
    result = run_protocol(transport, transport->reactor->state->names.resume_writing, NULL);
    if (result == NULL) {
        PyObject *exception = callbacks_catch(transport->reactor);

        if (exception != NULL)
            report(transport, transport->context, exception, "protocol.resume_writing() failed");
        Py_XDECREF(exception);
    }
    Py_XDECREF(result);
}

void callbacks_settle(ReactorObject *reactor, PyObject *waiter, PyObject *exception)
{
    struct module_names *names = &reactor->state->names;
    PyObject *done, *result = NULL;
    int is_done = -1;

    done = PyObject_CallMethodNoArgs(waiter, names->done);
    if (done != NULL) {
        is_done = PyObject_IsTrue(done);
        Py_DECREF(done);
    }
    if (is_done == 0 && exception != NULL)
        result = PyObject_CallMethodOneArg(waiter, names->set_exception, exception);
    else if (is_done == 0)
        result = PyObject_CallMethodOneArg(waiter, names->set_result, Py_None);
    if (is_done != 1 && result == NULL)
        callbacks_give_up(reactor);
    Py_XDECREF(result);
    Py_DECREF(waiter);
}

void callbacks_wake(TransportObject *transport, PyObject *exception)
{
    PyObject *waiter = transport->waiter;

    if (waiter == NULL)
        return;
    transport->waiter = NULL;
    callbacks_settle(transport->reactor, waiter, exception);
}

int callbacks_call_soon(ReactorObject *reactor, PyObject *callable, PyObject *argument,
                        PyObject *context)
{
    PyObject *arguments[4] = {reactor->loop, callable}, *keywords = NULL, *result;
    size_t count = 2;

    if (argument != NULL)
        arguments[count++] = argument;
    if (context != NULL) {
        arguments[count] = context;
        keywords = PyTuple_Pack(1, reactor->state->names.context);
        if (keywords == NULL)
            return -1;
    }
    result = PyObject_VectorcallMethod(reactor->state->names.call_soon, arguments, count, keywords);
    Py_XDECREF(keywords);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}
