/* SPDX-License-Identifier: MIT */
#include "tls.h"

#include "callbacks.h"
#include "diagnostics.h"
#include "python-engine.h"
#include "tls-capture.h"

#include <aiofastnet/error.h>
#include <aiofastnet/tls.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#define MICROSECONDS 1e6
#define LONGEST_TIMEOUT 1e12 /* in seconds; more than any clock here can count is none at all */

bool tls_is_secured(const TransportObject *transport)
{
    return transport->tls->secured;
}

/* A time limit of the user, or asyncio's; in microseconds. */
static int convert_timeout(PyObject *timeout, const char *name, uint64_t *ret_limit)
{
    PyObject *zero = PyLong_FromLong(0);
    int too_small = zero == NULL ? -1 : PyObject_RichCompareBool(timeout, zero, Py_LE);
    double seconds;

    Py_XDECREF(zero);
    if (too_small < 0)
        return -1;
    if (too_small) {
        PyErr_Format(PyExc_ValueError, "%s should be a positive number, got %S", name, timeout);
        return -1;
    }
    seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred())
        return -1;
    *ret_limit = seconds < LONGEST_TIMEOUT ? (uint64_t)(seconds * MICROSECONDS) + 1 : 0;
    return 0;
}

static int set_timeouts(TransportObject *transport, const struct tls_request *request)
{
    struct module_imports *imports = &transport->reactor->state->imports;
    struct transport_tls *tls = transport->tls;
    PyObject *handshake = request->handshake_timeout, *shutdown = request->shutdown_timeout;

    if (handshake == Py_None)
        handshake = imports->handshake_timeout;
    if (shutdown == Py_None)
        shutdown = imports->shutdown_timeout;
    tls->handshake_timeout = Py_NewRef(handshake);
    if (convert_timeout(handshake, "ssl_handshake_timeout", &tls->handshake_limit) < 0)
        return -1;
    return convert_timeout(shutdown, "ssl_shutdown_timeout", &tls->shutdown_limit);
}

/* The context of the user, or for clients the default one. */
static PyObject *make_context(TransportObject *transport, const struct tls_request *request)
{
    int given = PyObject_IsTrue(request->context), named;
    PyObject *context;

    if (given != 0)
        return given < 0 ? NULL : Py_NewRef(request->context);
    if (request->server_side) {
        PyErr_SetString(PyExc_ValueError, "Server side SSL needs a valid SSLContext");
        return NULL;
    }
    named = PyObject_IsTrue(request->hostname);
    if (named < 0)
        return NULL;
    context = PyObject_CallNoArgs(transport->reactor->state->imports.create_default_context);
    if (context != NULL && !named &&
        PyObject_SetAttrString(context, "check_hostname", Py_False) < 0)
        Py_CLEAR(context);
    return context;
}

/* An empty name is none; on the server's side every name is. */
static int wrap(TransportObject *transport, const struct tls_request *request)
{
    struct module_state *state = transport->reactor->state;
    struct transport_tls *tls = transport->tls;
    PyObject *incoming = PyObject_CallNoArgs(state->imports.memory_bio);
    PyObject *outgoing = PyObject_CallNoArgs(state->imports.memory_bio);
    int named = PyObject_IsTrue(request->hostname);
    PyObject *hostname = named > 0 && !request->server_side ? request->hostname : Py_None;

    if (incoming != NULL && outgoing != NULL && named >= 0)
        tls->object = tls_capture_wrap(tls->context, incoming, outgoing, request->server_side,
                                       hostname, request->session, &tls->ssl);
    if (tls->object != NULL && (tls->ssl == NULL || state->force_python_engine)) {
        tls->ssl = NULL;
        tls->engine = python_engine_new(transport, tls->object, incoming, outgoing);
    }
    Py_XDECREF(incoming);
    Py_XDECREF(outgoing);
    return tls->ssl == NULL && tls->engine == NULL ? -1 : 0;
}

int tls_prepare(TransportObject *transport, const struct tls_request *request)
{
    if (transport->reactor->state->imports.memory_bio == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "stdlib ssl module not available");
        return -1;
    }
    transport->tls = PyMem_Calloc(1, sizeof(*transport->tls));
    if (transport->tls == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (set_timeouts(transport, request) < 0)
        return -1;
    transport->tls->context = make_context(transport, request);
    if (transport->tls->context == NULL)
        return -1;
    return wrap(transport, request);
}

/* True if the raised exception says that TLS waits for the peer; it is then forgotten. */
static bool is_want(struct module_imports *imports)
{
    if (!PyErr_ExceptionMatches(imports->ssl_want_read_error) &&
        !PyErr_ExceptionMatches(imports->ssl_want_write_error))
        return false;
    PyErr_Clear();
    return true;
}

/* Through the SSLObject, so that a failure is told by CPython's own exception. */
static int on_handshake(SSL *ssl, void *user)
{
    TransportObject *transport = user;
    struct module_state *state = transport->reactor->state;
    struct transport_tls *tls = transport->tls;
    PyObject *method, *result = NULL;
    int r = 1;

    (void)ssl;
    Py_INCREF(transport);
    method = PyObject_GetAttr(tls->object, state->names.do_handshake);
    if (method != NULL)
        result = callbacks_run(transport, method, NULL);
    if (result == NULL) {
        r = 0;
        if (!is_want(&state->imports)) {
            Py_XSETREF(tls->exception, callbacks_catch(transport->reactor));
            r = -1;
        }
    }
    Py_XDECREF(result);
    Py_XDECREF(method);
    Py_DECREF(transport);
    return r;
}

/* For an error that CPython's ssl module did not see. */
static PyObject *make_ssl_error(TransportObject *transport, unsigned long code)
{
    const char *reason = ERR_reason_error_string(code);
    PyObject *type = transport->reactor->state->imports.ssl_error;
    PyObject *exception = PyObject_CallFunction(type, "is", ERR_GET_REASON(code),
                                                reason != NULL ? reason : "TLS failed");

    return exception != NULL ? exception : compat_take_exception();
}

/*
 * The SSL has failed, so that whatever is asked of it fails at once and the SSLObject finds the
 * error in OpenSSL's queue: thus the exception is the one that asyncio's users know.
 */
static void on_failed(SSL *ssl, int ssl_error, void *user)
{
    TransportObject *transport = user;
    struct module_state *state = transport->reactor->state;
    struct transport_tls *tls = transport->tls;
    unsigned long code = ERR_peek_error();
    PyObject *one, *result = NULL;

    (void)ssl;
    (void)ssl_error;
    if (tls->exception != NULL || code == 0)
        return;
    one = PyLong_FromLong(1);
    if (one != NULL)
        result = PyObject_CallMethodOneArg(tls->object, state->names.read, one);
    Py_XDECREF(one);
    Py_XDECREF(result);
    if (result == NULL)
        tls->exception = compat_take_exception();
    if (tls->exception == NULL ||
        !PyErr_GivenExceptionMatches(tls->exception, state->imports.ssl_error) ||
        PyErr_GivenExceptionMatches(tls->exception, state->imports.ssl_want_read_error))
        Py_XSETREF(tls->exception, make_ssl_error(transport, code));
}

/* Is the kernel to receive, as set_ktls() has noted on the SSLContext? */
static int wants_ktls_receive(const struct transport_tls *tls)
{
    PyObject *value;
    int result;

    if (tls->ssl == NULL || !(SSL_get_options(tls->ssl) & SSL_OP_ENABLE_KTLS))
        return 0;
    value = PyObject_GetAttrString(tls->context, "_aiofastnet_ktls_receive");
    if (value == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError))
            return -1;
        PyErr_Clear();
        return 0;
    }
    result = PyObject_IsTrue(value);
    Py_DECREF(value);
    return result;
}

int tls_start(TransportObject *transport, struct afn_stream *stream, const void *received,
              size_t length)
{
    struct transport_tls *tls = transport->tls;
    struct afn_tls_options options = {
        .size = sizeof(options),
        .handshake_timeout = tls->handshake_limit,
        .shutdown_timeout = tls->shutdown_limit,
        .received = received,
        .received_length = length,
        .do_handshake = on_handshake,
        .failed = on_failed,
        .user = transport,
    };
    size_t high = transport->reactor->state->tls_high_water;
    int r = wants_ktls_receive(tls);

    if (r < 0)
        return -1;
    options.flags = r ? AFN_TLS_KTLS_RX : 0;
    if (tls->ssl != NULL)
        r = afn_stream_start_tls(stream, tls->ssl, &options);
    else
        r = python_engine_start(tls->engine, stream, &options);
    if (r < 0) {
        transport_raise_errno(r);
        return -1;
    }
    afn_stream_set_write_limits(stream, high, AFN_STREAM_DEFAULT_LIMIT);
    callbacks_debug(transport, "%r starts SSL handshake");
    return 0;
}

bool tls_is_sending_raw(const TransportObject *transport)
{
    return transport->tls->ktls_send == Py_True;
}

void tls_secured(TransportObject *transport)
{
    struct transport_tls *tls = transport->tls;
    unsigned int directions = afn_stream_get_ktls(transport->stream);

    tls->peercert = PyObject_CallMethod(tls->object, "getpeercert", NULL);
    tls->cipher = tls->peercert == NULL ? NULL : PyObject_CallMethod(tls->object, "cipher", NULL);
    tls->compression =
        tls->cipher == NULL ? NULL : PyObject_CallMethod(tls->object, "compression", NULL);
    if (tls->compression == NULL) {
        callbacks_fatal(transport, "SSL handshake failed");
        return;
    }
    tls->ktls_send = PyBool_FromLong(directions & AFN_KTLS_SEND);
    tls->ktls_receive = PyBool_FromLong(directions & AFN_KTLS_RECEIVE);
    Py_BEGIN_CRITICAL_SECTION(transport);
    tls->secured = true;
    Py_END_CRITICAL_SECTION();
    callbacks_debug(transport, "%r: SSL handshake complete");
    diagnostics_secured(transport);
    if (!transport->made) {
        transport->made = true;
        diagnostics_made(transport);
        if (callbacks_connection_made(transport) < 0) {
            callbacks_fatal(transport, "Fatal error: protocol.connection_made() call failed.");
            return;
        }
    }
    callbacks_wake(transport, NULL);
}

void tls_handshake_failed(TransportObject *transport, PyObject *exception)
{
    struct transport_tls *tls = transport->tls;
    PyObject *certificate_error = transport->reactor->state->imports.ssl_certificate_error;
    PyObject *object, *context;

    if (exception != NULL) {
        callbacks_tell_fatal(transport, exception,
                             PyErr_GivenExceptionMatches(exception, certificate_error)
                                 ? "SSL handshake failed on verifying the certificate"
                                 : "SSL handshake failed");
        if (transport->accepted && reactor_is_debug(transport->reactor))
            callbacks_report(transport->reactor, transport->context,
                             Py_BuildValue("{s:s,s:O,s:O,s:O}", "message",
                                           "Error on transport creation for incoming connection",
                                           "exception", exception, "protocol", transport->protocol,
                                           "transport", transport));
    }
    /* A failed attempt keeps nobody's SSLContext alive. */
    Py_BEGIN_CRITICAL_SECTION(transport);
    object = tls->object;
    context = tls->context;
    tls->object = tls->context = NULL;
    Py_END_CRITICAL_SECTION();
    Py_CLEAR(tls->exception);
    Py_XDECREF(object);
    Py_XDECREF(context);
}

static PyObject *make_timeout_error(TransportObject *transport, int error)
{
    if (error == AFN_ERR_SHUTDOWN_TIMEOUT)
        PyErr_SetString(PyExc_TimeoutError, "SSL shutdown timed out");
    else
        PyErr_Format(PyExc_ConnectionAbortedError,
                     "SSL handshake is taking longer than %S seconds: aborting the connection",
                     transport->tls->handshake_timeout);
    return compat_take_exception();
}

/* In the handshake the end of the connection is a reset, whatever OpenSSL calls it. */
static bool is_end(TransportObject *transport, int error)
{
    struct module_imports *imports = &transport->reactor->state->imports;
    PyObject *exception = transport->tls->exception;

    if (exception == NULL)
        return error == 0 || error == AFN_ERR_TRUNCATED;
    return PyErr_GivenExceptionMatches(exception, imports->ssl_eof_error) ||
           PyErr_GivenExceptionMatches(exception, imports->ssl_syscall_error);
}

static PyObject *get_handshake_reason(TransportObject *transport, int error)
{
    if (transport->closing || error == AFN_ERR_ABORTED)
        return NULL;
    if (is_end(transport, error))
        return PyObject_CallNoArgs(PyExc_ConnectionResetError);
    return Py_XNewRef(transport->tls->exception);
}

bool tls_get_reason(TransportObject *transport, int error, PyObject **ret_reason)
{
    struct transport_tls *tls = transport->tls;
    bool is_tls = error == AFN_ERR_TLS || error == AFN_ERR_ENGINE;

    *ret_reason = NULL;
    if (error == AFN_ERR_HANDSHAKE_TIMEOUT || error == AFN_ERR_SHUTDOWN_TIMEOUT) {
        *ret_reason = make_timeout_error(transport, error);
        return true;
    }
    if (error == AFN_ERR_ABORTED)
        return true;
    if (!is_tls && error != 0 && error != AFN_ERR_TRUNCATED)
        return false;
    if (!tls->secured)
        *ret_reason = get_handshake_reason(transport, error);
    else if (is_tls && !transport->closing)
        *ret_reason = Py_XNewRef(tls->exception);
    if (*ret_reason == NULL && is_tls && !transport->closing) {
        unsigned long code = tls->ssl == NULL ? 0 : afn_stream_get_tls_error(transport->stream);

        *ret_reason = make_ssl_error(transport, code);
    }
    if (tls->secured && *ret_reason != NULL)
        callbacks_tell_fatal(transport, *ret_reason, "Fatal error on SSL protocol");
    return true;
}

/* Not asked of the SSL, which is busy in the thread of the loop. */
PyObject *tls_get_extra_info(TransportObject *transport, PyObject *name, bool *ret_known)
{
    struct transport_tls *tls = transport->tls;
    const struct {
        const char *name;
        PyObject **place;
    } known[] = {
        {"sslcontext", &tls->context},      {"ssl_object", &tls->object},
        {"peercert", &tls->peercert},       {"cipher", &tls->cipher},
        {"compression", &tls->compression}, {"ktls_send_enabled", &tls->ktls_send},
        {"ktls_recv_enabled", &tls->ktls_receive},
    };
    PyObject *result = NULL;

    *ret_known = false;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (PyUnicode_CompareWithASCIIString(name, known[i].name) != 0)
            continue;
        *ret_known = true;
        Py_BEGIN_CRITICAL_SECTION(transport);
        if (tls->secured || known[i].place == &tls->context)
            result = Py_XNewRef(*known[i].place);
        Py_END_CRITICAL_SECTION();
        break;
    }
    return result;
}

int tls_traverse(TransportObject *transport, visitproc visit, void *arg)
{
    struct transport_tls *tls = transport->tls;

    if (tls == NULL)
        return 0;
    Py_VISIT(tls->context);
    Py_VISIT(tls->object);
    Py_VISIT(tls->peercert);
    Py_VISIT(tls->cipher);
    Py_VISIT(tls->compression);
    Py_VISIT(tls->ktls_send);
    Py_VISIT(tls->ktls_receive);
    Py_VISIT(tls->exception);
    Py_VISIT(tls->handshake_timeout);
    return tls->engine == NULL ? 0 : python_engine_traverse(tls->engine, visit, arg);
}

void tls_clear(TransportObject *transport)
{
    struct transport_tls *tls = transport->tls;

    if (tls == NULL)
        return;
    transport->tls = NULL;
    if (tls->engine != NULL)
        python_engine_abandon(tls->engine);
    Py_XDECREF(tls->context);
    Py_XDECREF(tls->object);
    Py_XDECREF(tls->peercert);
    Py_XDECREF(tls->cipher);
    Py_XDECREF(tls->compression);
    Py_XDECREF(tls->ktls_send);
    Py_XDECREF(tls->ktls_receive);
    Py_XDECREF(tls->exception);
    Py_XDECREF(tls->handshake_timeout);
    PyMem_Free(tls);
}
