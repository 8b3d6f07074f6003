/* SPDX-License-Identifier: MIT */
#include "stream.h"

#include <aiofastnet/error.h>

#include <errno.h>

/* Bytes of the wire that one stream may take in one run while others wait. */
#define READ_BUDGET AFN__WIRE_SIZE

/* Is there anybody who takes what comes, or the end?  Once the stream is closing, an engine goes on
 * reading until the peer has said goodbye. */
static bool wants_input(const struct afn_stream *stream)
{
    if (stream->is_lost || stream->has_told_end || stream->is_write_only)
        return false;
    return stream->is_closing ? stream->engine != NULL : stream->is_reading;
}

/* ---- the wire ---- */

static bool has_engine_input(const struct afn_stream *stream)
{
    return stream->engine && !stream->end && !(stream->is_secured && stream->wants_step) &&
           stream->engine->has_input(stream->engine_user);
}

/* Where the kernel decrypts, it says EIO when the next record is none of the application: that one
 * is for the engine, which may go on to one that is, and keep a part of it.  So is a bad one. */
static ssize_t receive_raw(struct afn_stream *stream, void *buffer, size_t length,
                           bool *ret_drained)
{
    ssize_t count;

    do {
        if (!has_engine_input(stream)) {
            count = afn__sys_recv(stream->fd, stream->kind, buffer, length, ret_drained);
            if (count != -EIO && !afn__stream_note_bad_record(stream, count))
                return count;
            /* The engine has to end its answer before it can take another record. */
            if (stream->wants_step)
                return -EAGAIN;
        }
        *ret_drained = false;
        count = stream->engine->read(stream->engine_user, buffer, length);
        if (count == -EAGAIN)
            afn__stream_wait_for_kernel(stream);
    } while (count == -EAGAIN && !stream->is_lost);
    if (count == 0)
        AFN__SHOW(stream->end, AFN__END_PROPER);
    return count;
}

static ssize_t receive_some(struct afn_stream *stream, void *buffer, size_t length,
                            bool *ret_drained)
{
    if (stream->receives_raw)
        return receive_raw(stream, buffer, length, ret_drained);
    if (!stream->carrier_ops)
        return afn__sys_recv(stream->fd, stream->kind, buffer, length, ret_drained);
    *ret_drained = false;
    return stream->carrier_ops->receive(stream->carrier, buffer, length);
}

/* Receives: the number of bytes, or 0 when there are none for now or for ever. */
static size_t receive(struct afn_stream *stream, void *buffer, size_t length)
{
    bool is_drained;
    ssize_t count;

    stream->stats.receive_calls++;
    count = receive_some(stream, buffer, length, &is_drained);
    if (count > 0) {
        if (is_drained && !stream->has_hint)
            stream->is_readable = false;
        stream->stats.wire_bytes_received += (uint64_t)count;
        return (size_t)count;
    }
    stream->is_readable = false;
    if (count == -EAGAIN)
        stream->has_hint = false;
    else if (count < 0)
        AFN__SHOW(stream->end, (int)count);
    else if (!stream->end)
        AFN__SHOW(stream->end, stream->engine ? AFN_ERR_TRUNCATED : AFN__END_PROPER);
    if (stream->end && stream->write_error)
        AFN__SHOW(stream->end, stream->write_error);
    return 0;
}

/* ---- the end ---- */

static bool ask_keeps_open(struct afn_stream *stream)
{
    bool keeps_open = false;

    if (stream->handler.eof) {
        afn__stream_enter(stream);
        keeps_open = stream->handler.eof(stream, stream->user);
        afn__stream_leave(stream);
    }
    return keeps_open;
}

/* Acts on the end of what the peer sends, everything before it being delivered. */
static void take_end(struct afn_stream *stream)
{
    int end = stream->end;

    stream->has_told_end = true;
    if (end != AFN__END_PROPER && (end != AFN_ERR_TRUNCATED || !stream->is_secured)) {
        afn__stream_lose(stream, end);
        return;
    }
    if (stream->is_closing)
        return;
    if (end == AFN_ERR_TRUNCATED)
        afn__stream_note_error(stream, end);
    /* A truncated connection is not kept open, whatever eof says: TLS has no half-close of it.  Nor
     * is what has no other direction. */
    if ((!ask_keeps_open(stream) || end == AFN_ERR_TRUNCATED || stream->is_read_only) &&
        !stream->is_lost)
        afn__stream_begin_closing(stream);
}

/* ---- delivering ---- */

static void note_received(struct afn_stream *stream, size_t length)
{
    stream->stats.bytes_received += length;
    stream->last_delivery = stream->source.reactor->dispatches;
}

static void deliver(struct afn_stream *stream, const void *data, size_t length)
{
    if (!length || stream->is_closing)
        return;
    note_received(stream, length);
    afn__stream_enter(stream);
    stream->handler.data(stream, stream->user, data, length);
    afn__stream_leave(stream);
}

/* The program's own buffer; NULL when it has none, or changed its mind when it was asked. */
static void *ask_buffer(struct afn_stream *stream, size_t *ret_length)
{
    const struct afn_engine_ops *engine = stream->engine;
    const void *user = stream->user;
    void *buffer = NULL;

    *ret_length = 0;
    afn__stream_enter(stream);
    stream->handler.get_buffer(stream, stream->user, &buffer, ret_length);
    afn__stream_leave(stream);
    if (!wants_input(stream) || stream->is_closing || stream->handler.data ||
        stream->engine != engine || stream->user != user)
        return NULL;
    if (buffer && *ret_length)
        return buffer;
    afn__stream_lose(stream, -ENOBUFS);
    return NULL;
}

static void tell_updated(struct afn_stream *stream, size_t length)
{
    note_received(stream, length);
    afn__stream_enter(stream);
    stream->handler.buffer_updated(stream, stream->user, length);
    afn__stream_leave(stream);
}

/* ---- in the clear, or decrypted by the kernel ---- */

static size_t read_clear(struct afn_stream *stream)
{
    unsigned char *scratch = stream->source.reactor->wire;
    size_t count, length;
    void *buffer;

    if (stream->handler.data || stream->is_closing) {
        count = receive(stream, scratch, AFN__WIRE_SIZE);
        deliver(stream, scratch, count);
        return count;
    }
    buffer = ask_buffer(stream, &length);
    if (!buffer)
        return 0;
    count = receive(stream, buffer, length);
    if (count)
        tell_updated(stream, count);
    return count;
}

/* ---- through an engine ---- */

/* Decrypts as much as fits; an end is noted.  What the engine answers is sent after the bytes are
 * delivered: a peer that is gone by then cannot keep them from the program. */
static size_t decrypt(struct afn_stream *stream, void *buffer, size_t length)
{
    size_t done = 0;

    while (done < length && has_engine_input(stream)) {
        ssize_t result =
            stream->engine->read(stream->engine_user, (char *)buffer + done, length - done);

        if (result > 0) {
            done += (size_t)result;
        } else if (result != -EAGAIN) {
            AFN__SHOW(stream->end, result == 0 ? AFN__END_PROPER : (int)result);
        } else {
            afn__stream_wait_for_kernel(stream);
            break;
        }
    }
    return done;
}

/* Delivers what the engine holds, or discards it. */
static void read_engine(struct afn_stream *stream)
{
    unsigned char *scratch = stream->source.reactor->plain;
    size_t count, length;
    void *buffer;

    if (stream->is_closing || stream->handler.data) {
        count = decrypt(stream, scratch, AFN__PLAIN_SIZE);
        if (!stream->is_lost)
            deliver(stream, scratch, count);
    } else {
        buffer = ask_buffer(stream, &length);
        if (!buffer)
            return;
        count = decrypt(stream, buffer, length);
        if (count && !stream->is_lost)
            tell_updated(stream, count);
    }
    if (!stream->is_lost)
        afn__stream_drain_engine(stream);
}

static void settle(struct afn_stream *stream)
{
    int result = stream->engine->settle(stream->engine_user);

    if (result < 0)
        afn__stream_lose(stream, result);
}

/* Feeds what came to the engine, and lets the handshake or the program have it. */
static size_t read_wire(struct afn_stream *stream)
{
    unsigned char *scratch = stream->source.reactor->wire;
    size_t count = 0;
    int result;

    if (!stream->is_secured && stream->receives_raw) {
        afn__stream_handshake(stream);
        stream->is_readable = stream->is_secured;
        return 0;
    }
    /* A handshake that does not take what it was fed must not keep the rest from coming. */
    if (!stream->is_secured || !has_engine_input(stream)) {
        count = receive(stream, scratch, afn__stream_limit_receive(stream, AFN__WIRE_SIZE));
        result = count ? stream->engine->feed(stream->engine_user, scratch, count) : 0;
        if (result < 0)
            afn__stream_lose(stream, result);
    }
    if (!stream->is_lost && !stream->is_secured && has_engine_input(stream))
        afn__stream_handshake(stream);
    while (stream->is_secured && wants_input(stream) && has_engine_input(stream) &&
           afn__stream_goes_on(stream))
        read_engine(stream);
    settle(stream);
    return count;
}

/* ---- the loop ---- */

/* What the last data made the host do comes before the end: who was woken by an answer still finds
 * the connection that it came on. */
static bool waits_for_host(const struct afn_stream *stream)
{
    return afn__reactor_is_unsettled(stream->source.reactor, stream->last_delivery);
}

void afn__stream_read(struct afn_stream *stream)
{
    size_t total = 0;

    while (wants_input(stream) || (!stream->is_secured && !stream->is_lost)) {
        if (total >= READ_BUDGET || !afn__stream_goes_on(stream)) {
            afn__source_schedule(&stream->source);
            return;
        }
        if (stream->end && waits_for_host(stream)) {
            afn__source_postpone(&stream->source);
            return;
        }
        if (stream->end) {
            take_end(stream);
            break;
        }
        if (!stream->is_readable && !(stream->is_secured && has_engine_input(stream)))
            break;
        /* What an engine does not take would pile up in it. */
        if (stream->is_secured && stream->wants_step && afn__stream_decrypts(stream))
            break;
        total += !stream->is_secured || afn__stream_decrypts(stream) ? read_wire(stream)
                                                                     : read_clear(stream);
    }
    /* Everything that came before a failed write was delivered. */
    if (stream->write_error && !stream->is_lost)
        afn__stream_lose(stream, stream->write_error);
}
