/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_PYTHON_ENDPOINT_H
#define AIOFASTNET_PYTHON_ENDPOINT_H

#include "transport.h"

/*
 * What a transport asks of the library whether it has a stream or a datagram socket.  Save for
 * endpoint_is_open(), it has one of the two.
 */

static inline bool endpoint_is_open(const TransportObject *self)
{
    return self->stream != NULL || self->datagram != NULL;
}

static inline bool endpoint_is_closing(const TransportObject *self)
{
    return self->datagram != NULL ? afn_datagram_is_closing(self->datagram)
                                  : afn_stream_is_closing(self->stream);
}

static inline void endpoint_close(TransportObject *self)
{
    if (self->datagram != NULL)
        afn_datagram_close(self->datagram);
    else
        afn_stream_close(self->stream);
}

static inline void endpoint_abort(TransportObject *self, int error)
{
    if (self->datagram != NULL)
        afn_datagram_abort(self->datagram, error);
    else
        afn_stream_abort(self->stream, error);
}

static inline void endpoint_pause_reading(TransportObject *self)
{
    if (self->datagram != NULL)
        afn_datagram_pause_reading(self->datagram);
    else
        afn_stream_pause_reading(self->stream);
}

static inline void endpoint_resume_reading(TransportObject *self)
{
    if (self->datagram != NULL)
        afn_datagram_resume_reading(self->datagram);
    else
        afn_stream_resume_reading(self->stream);
}

static inline bool endpoint_is_reading(const TransportObject *self)
{
    return self->datagram != NULL ? afn_datagram_is_reading(self->datagram)
                                  : afn_stream_is_reading(self->stream);
}

static inline size_t endpoint_get_write_buffer_size(const TransportObject *self)
{
    return self->datagram != NULL ? afn_datagram_get_write_buffer_size(self->datagram)
                                  : afn_stream_get_write_buffer_size(self->stream);
}

static inline int endpoint_set_write_limits(TransportObject *self, size_t high, size_t low)
{
    return self->datagram != NULL ? afn_datagram_set_write_limits(self->datagram, high, low)
                                  : afn_stream_set_write_limits(self->stream, high, low);
}

static inline void endpoint_get_write_limits(const TransportObject *self, size_t *ret_high,
                                             size_t *ret_low)
{
    if (self->datagram != NULL)
        afn_datagram_get_write_limits(self->datagram, ret_high, ret_low);
    else
        afn_stream_get_write_limits(self->stream, ret_high, ret_low);
}

/* Drops the reference, and keeps counters and limits; from here on no other thread looks at it. */
static inline void endpoint_unref(TransportObject *self)
{
    struct afn_datagram *datagram;
    struct afn_stream *stream;

    Py_BEGIN_CRITICAL_SECTION(self);
    stream = self->stream;
    datagram = self->datagram;
    if (endpoint_is_open(self))
        endpoint_get_write_limits(self, &self->high_water, &self->low_water);
    if (stream != NULL)
        afn_stream_get_stats(stream, &self->stats, sizeof(self->stats));
    if (datagram != NULL)
        afn_datagram_get_stats(datagram, &self->datagram_stats, sizeof(self->datagram_stats));
    self->stream = NULL;
    self->datagram = NULL;
    Py_END_CRITICAL_SECTION();
    afn_stream_unref(stream);
    afn_datagram_unref(datagram);
}

/* The same without freeing anything: in a child process it is the parent's. */
static inline void endpoint_forget(TransportObject *self)
{
    Py_BEGIN_CRITICAL_SECTION(self);
    self->stream = NULL;
    self->datagram = NULL;
    Py_END_CRITICAL_SECTION();
}

#endif
