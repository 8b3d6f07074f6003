/* SPDX-License-Identifier: MIT */
#include "diagnostics.h"

#include "tls.h"

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

PyObject *diagnostics_describe(TransportObject *transport)
{
    struct afn_stream_stats stats;

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
