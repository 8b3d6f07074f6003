/* SPDX-License-Identifier: MIT */
#include "stream.h"

#include <aiofastnet/error.h>

#include <errno.h>

/* Bytes of the wire that one stream may take in one run while others wait. */
#define READ_BUDGET ((size_t)1024 * 1024)

/* Once it is closing, an engine goes on reading until the peer has said goodbye. */
static bool is_discarding(const struct afn_stream *stream)
{
    return stream->is_closing && stream->engine;
}

static bool wants_input(const struct afn_stream *stream)
{
    if (stream->is_lost || stream->has_end)
        return false;
    return stream->is_closing ? stream->engine != NULL : stream->is_reading;
}

/* ---- the kernel ---- */

/*
 * Receives: the number of bytes, 0 when there is nothing to go on with.  The end and errors are
 * noted, and told once everything before them is delivered.
 */
static size_t receive(struct afn_stream *stream, void *buffer, size_t length, int *ret_error)
{
    bool is_drained;
    ssize_t count;

    stream->stats.receive_calls++;
    count = afn__sys_recv(stream->fd, stream->kind, buffer, length, &is_drained);
    if (count == -EAGAIN) {
        stream->is_readable = false;
        stream->has_hint = false;
        return 0;
    }
    if (count <= 0) {
        stream->is_readable = false;
        *ret_error = count == 0 ? AFN_ERR_TRUNCATED : (int)count;
        return 0;
    }
    if (is_drained && !stream->has_hint)
        stream->is_readable = false;
    return (size_t)count;
}

/* ---- the end ---- */

static void tell_end(struct afn_stream *stream)
{
    bool keeps_open = false;

    if (stream->has_told_end || stream->is_closing)
        return;
    stream->has_told_end = true;
    if (stream->handler.eof) {
        afn__stream_enter(stream);
        keeps_open = stream->handler.eof(stream, stream->user);
        afn__stream_leave(stream);
    }
    if (!keeps_open)
        afn_stream_close(stream);
}

/* The socket is at its end or broken. */
static void end_wire(struct afn_stream *stream, int error)
{
    stream->has_end = true;
    if (stream->has_write_error || error != AFN_ERR_TRUNCATED) {
        /* A peer that is gone before it answered the goodbye is no news. */
        afn__stream_lose(stream, is_discarding(stream) && !stream->queue.length ? 0 : error);
        return;
    }
    if (!stream->engine) {
        tell_end(stream);
        return;
    }
    if (!stream->is_secured) {
        afn__stream_lose(stream, AFN_ERR_TRUNCATED);
        return;
    }
    if (!stream->is_closing && !stream->has_told_end)
        stream->error = AFN_ERR_TRUNCATED;
    tell_end(stream);
    /* A truncated connection is not kept open, whatever eof said: TLS has no half-close of it. */
    if (!stream->is_closing)
        afn_stream_close(stream);
}

/* ---- delivering ---- */

static void deliver(struct afn_stream *stream, const void *data, size_t length)
{
    if (!length || stream->is_closing)
        return;
    stream->stats.bytes_received += length;
    afn__stream_enter(stream);
    stream->handler.data(stream, stream->user, data, length);
    afn__stream_leave(stream);
}

/* The program's own buffer, or NULL: then the stream is lost. */
static void *ask_buffer(struct afn_stream *stream, size_t *ret_length)
{
    void *buffer = NULL;

    *ret_length = 0;
    afn__stream_enter(stream);
    stream->handler.get_buffer(stream, stream->user, &buffer, ret_length);
    afn__stream_leave(stream);
    if (stream->is_lost)
        return NULL;
    if (!buffer || !*ret_length) {
        afn__stream_lose(stream, -ENOBUFS);
        return NULL;
    }
    return buffer;
}

static void tell_updated(struct afn_stream *stream, size_t length)
{
    stream->stats.bytes_received += length;
    afn__stream_enter(stream);
    stream->handler.buffer_updated(stream, stream->user, length);
    afn__stream_leave(stream);
}

/* ---- in the clear ---- */

static size_t read_clear(struct afn_stream *stream)
{
    int error = 0;
    size_t count;

    if (stream->handler.data) {
        count = receive(stream, stream->source.reactor->wire, AFN__WIRE_SIZE, &error);
        deliver(stream, stream->source.reactor->wire, count);
    } else {
        size_t length;
        void *buffer = ask_buffer(stream, &length);

        /* The program may have changed its mind, or the handler, when it was asked. */
        if (!buffer || !wants_input(stream) || stream->engine || stream->handler.data)
            return 0;
        count = receive(stream, buffer, length, &error);
        if (count)
            tell_updated(stream, count);
    }
    if (error && !stream->is_lost)
        end_wire(stream, error);
    return count;
}

/* ---- through an engine ---- */

/* What the engine said instead of giving bytes. */
static void end_input(struct afn_stream *stream, ssize_t result)
{
    if (result == -EAGAIN)
        return;
    if (result == 0) {
        stream->has_end = true;
        tell_end(stream);
    } else {
        afn__stream_lose(stream, is_discarding(stream) && !stream->queue.length ? 0 : (int)result);
    }
}

/* Decrypts as much as fits; *ret_result is what the engine said last. */
static size_t decrypt(struct afn_stream *stream, void *buffer, size_t length, ssize_t *ret_result)
{
    size_t done = 0;

    *ret_result = -EAGAIN;
    while (done < length && !stream->is_lost && stream->engine->has_input(stream->engine_user)) {
        *ret_result =
            stream->engine->read(stream->engine_user, (char *)buffer + done, length - done);
        if (*ret_result <= 0)
            break;
        done += (size_t)*ret_result;
    }
    if (*ret_result > 0)
        *ret_result = -EAGAIN;
    afn__stream_drain_engine(stream);
    return done;
}

/* Delivers what the engine holds; returns whether it may have more. */
static bool read_engine(struct afn_stream *stream)
{
    struct afn_reactor *reactor = stream->source.reactor;
    bool was_discarding = is_discarding(stream);
    ssize_t result;
    size_t count;

    if (stream->handler.data || was_discarding) {
        count = decrypt(stream, reactor->plain, AFN__PLAIN_SIZE, &result);
        if (!was_discarding && !stream->is_lost)
            deliver(stream, reactor->plain, count);
    } else {
        size_t length;
        void *buffer = ask_buffer(stream, &length);

        if (!buffer || !wants_input(stream) || stream->handler.data || is_discarding(stream))
            return buffer != NULL;
        count = decrypt(stream, buffer, length, &result);
        if (count && !stream->is_lost)
            tell_updated(stream, count);
    }
    if (!stream->is_lost && result != -EAGAIN)
        end_input(stream, result);
    return count > 0;
}

static void settle(struct afn_stream *stream)
{
    if (stream->engine && stream->engine->settle(stream->engine_user) < 0)
        afn__stream_lose(stream, -ENOMEM);
}

/* Feeds what came to the engine, and lets the handshake or the program have it. */
static size_t read_wire(struct afn_stream *stream)
{
    struct afn_reactor *reactor = stream->source.reactor;
    const struct afn_engine_ops *engine = stream->engine;
    int error = 0;
    size_t count = 0;

    if (!engine->has_input(stream->engine_user)) {
        count = receive(stream, reactor->wire, AFN__WIRE_SIZE, &error);
        if (count && engine->feed(stream->engine_user, reactor->wire, count) < 0)
            afn__stream_lose(stream, -ENOMEM);
    }
    if (!stream->is_lost && !stream->is_secured && engine->has_input(stream->engine_user))
        afn__stream_handshake(stream);
    while (stream->is_secured && wants_input(stream) &&
           engine->has_input(stream->engine_user) && read_engine(stream))
        continue;
    settle(stream);
    if (error && !stream->is_lost)
        end_wire(stream, error);
    return count;
}

/* ---- the loop ---- */

static bool has_input(const struct afn_stream *stream)
{
    if (!stream->is_secured)
        return stream->is_readable && !stream->is_lost;
    if (!wants_input(stream))
        return false;
    return stream->is_readable ||
           (stream->engine && stream->engine->has_input(stream->engine_user));
}

void afn__stream_read(struct afn_stream *stream)
{
    size_t total = 0;

    while (has_input(stream)) {
        if (total >= READ_BUDGET) {
            afn__source_schedule(&stream->source);
            return;
        }
        total += stream->engine ? read_wire(stream) : read_clear(stream);
    }
    /* Everything that came before a failed write was delivered. */
    if (stream->has_write_error && !stream->is_lost)
        afn__stream_lose(stream, stream->error);
}
