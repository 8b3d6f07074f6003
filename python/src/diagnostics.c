/* SPDX-License-Identifier: MIT */
#include "diagnostics.h"

#include "callbacks.h"
#include "datagram.h"
#include "tls.h"

#include <aiofastnet/tls.h>

#define LEVEL_DEBUG 10 /* logging.DEBUG */

/* ---- counters ---- */

static const char *get_engine(const TransportObject *transport)
{
    if (transport->tls == NULL)
        return "plain";
    return transport->tls->ssl != NULL ? "openssl" : "python";
}

/* Only OpenSSL's engine counts its records. */
static PyObject *describe_records(const TransportObject *transport, uint64_t count)
{
    if (transport->tls != NULL && transport->tls->ssl == NULL)
        return Py_NewRef(Py_None);
    return PyLong_FromUnsignedLongLong(count);
}

static PyObject *describe_datagrams(TransportObject *transport)
{
    struct afn_datagram_stats stats;

    Py_BEGIN_CRITICAL_SECTION(transport);
    stats = transport->datagram_stats;
    if (transport->datagram != NULL)
        afn_datagram_get_stats(transport->datagram, &stats, sizeof(stats));
    Py_END_CRITICAL_SECTION();
    return Py_BuildValue("{s:s,s:K,s:K,s:K,s:K,s:K,s:K,s:K}", "engine", "plain",
                         "datagrams_received", stats.datagrams_received, "datagrams_sent",
                         stats.datagrams_sent, "bytes_received", stats.bytes_received, "bytes_sent",
                         stats.bytes_sent, "receive_calls", stats.receive_calls, "send_calls",
                         stats.send_calls, "high_water_hits", stats.high_water_hits);
}

PyObject *diagnostics_describe(TransportObject *transport)
{
    struct afn_stream_stats stats;

    if (datagram_is_one(transport))
        return describe_datagrams(transport);
    Py_BEGIN_CRITICAL_SECTION(transport);
    stats = transport->stats;
    if (transport->stream != NULL)
        afn_stream_get_stats(transport->stream, &stats, sizeof(stats));
    Py_END_CRITICAL_SECTION();
    return Py_BuildValue(
        "{s:s,s:K,s:K,s:K,s:K,s:K,s:K,s:N,s:N,s:K}", "engine", get_engine(transport),
        "bytes_received", stats.bytes_received, "bytes_sent", stats.bytes_sent,
        "wire_bytes_received", stats.wire_bytes_received, "wire_bytes_sent", stats.wire_bytes_sent,
        "receive_calls", stats.receive_calls, "send_calls", stats.send_calls, "records_received",
        describe_records(transport, stats.records_received), "records_sent",
        describe_records(transport, stats.records_sent), "high_water_hits", stats.high_water_hits);
}

/* ---- changes of state ---- */

static bool ask_logger(ReactorObject *reactor)
{
    struct module_state *state = reactor->state;
    PyObject *level = PyLong_FromLong(LEVEL_DEBUG), *answer = NULL;
    int result = -1;

    if (level != NULL)
        answer =
            PyObject_CallMethodOneArg(state->imports.own_logger, state->names.isEnabledFor, level);
    if (answer != NULL)
        result = PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    Py_XDECREF(level);
    if (result < 0)
        callbacks_give_up(reactor);
    return result > 0;
}

static bool is_logging(ReactorObject *reactor)
{
    if (!reactor->dispatching || !reactor->asked_logger) {
        reactor->asked_logger = true;
        reactor->logging = ask_logger(reactor);
    }
    return reactor->logging;
}

/*
 * logger.debug(format, transport, *arguments).  Takes the reference to the tuple of arguments, or
 * the exception if it is NULL.
 */
static void log_change(TransportObject *transport, const char *format, PyObject *arguments)
{
    ReactorObject *reactor = transport->reactor;
    PyObject *method = NULL, *all = NULL, *text, *result = NULL;

    text = arguments == NULL ? NULL : Py_BuildValue("(sO)", format, transport);
    if (text != NULL)
        all = PySequence_Concat(text, arguments);
    if (all != NULL)
        method = PyObject_GetAttrString(reactor->state->imports.own_logger, "debug");
    if (method != NULL)
        result = PyObject_CallObject(method, all);
    if (result == NULL)
        callbacks_give_up(reactor);
    Py_XDECREF(result);
    Py_XDECREF(method);
    Py_XDECREF(all);
    Py_XDECREF(text);
    Py_XDECREF(arguments);
}

void diagnostics_made(TransportObject *transport)
{
    if (is_logging(transport->reactor))
        log_change(transport, "%r: connection made, engine %s",
                   Py_BuildValue("(s)", get_engine(transport)));
}

void diagnostics_secured(TransportObject *transport)
{
    PyObject *object = transport->tls->object, *version = NULL, *cipher = NULL;
    const char *reason;

    if (!is_logging(transport->reactor))
        return;
    version = PyObject_CallMethod(object, "version", NULL);
    if (version != NULL)
        cipher = PySequence_GetItem(transport->tls->cipher, 0);
    log_change(transport, "%r: TLS established, %s, %s",
               cipher == NULL ? NULL : Py_BuildValue("(OO)", version, cipher));
    Py_XDECREF(cipher);
    Py_XDECREF(version);
    reason = afn_stream_get_ktls_reason(transport->stream);
    if (reason != NULL)
        log_change(transport, "%r: no kernel TLS: %s", Py_BuildValue("(s)", reason));
}

void diagnostics_upgraded(TransportObject *transport, PyObject *lower)
{
    if (is_logging(transport->reactor))
        log_change(transport, "%r: upgrade to TLS of %r, engine %s",
                   Py_BuildValue("(Os)", lower, get_engine(transport)));
}

void diagnostics_ended(TransportObject *transport)
{
    if (is_logging(transport->reactor))
        log_change(transport, "%r: the peer sends no more", PyTuple_New(0));
}

void diagnostics_closing(TransportObject *transport)
{
    if (is_logging(transport->reactor))
        log_change(transport, "%r: closing", PyTuple_New(0));
}

void diagnostics_lost(TransportObject *transport, PyObject *exception)
{
    if (is_logging(transport->reactor))
        log_change(transport, "%r: connection lost, %r, %d bytes received, %d bytes sent",
                   Py_BuildValue("(OKK)", exception == NULL ? Py_None : exception,
                                 transport->stats.bytes_received, transport->stats.bytes_sent));
}
