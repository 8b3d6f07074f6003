/* SPDX-License-Identifier: MIT */
#include "stream.h"

#include <errno.h>

/* Pieces of one sendmsg(2). */
#define PARTS_PER_SEND 64

/* Application bytes that are encrypted before the next send: enough to make system calls cheap,
 * little enough to stay in the cache. */
#define ENCRYPT_SIZE ((size_t)128 * 1024)

/* ---- the wire ---- */

/*
 * The socket takes no more bytes.  What the peer sent before is still delivered, by the next run,
 * unless the program does not read then: it may be waiting for this very stream.
 */
void afn__stream_fail_writing(struct afn_stream *stream, int error)
{
    AFN__SHOW(stream->write_error, error);
    stream->is_writable = false;
    afn__stream_drop_queue(stream, error);
    afn__buffer_release(&stream->spill);
    if (stream->is_closing || stream->has_told_end) {
        afn__stream_lose(stream, error);
        return;
    }
    stream->is_readable = true;
    afn__source_schedule(&stream->source);
}

void afn__stream_watch_out(struct afn_stream *stream)
{
    int result;

    stream->is_writable = false;
    if (stream->is_watching_out || stream->carrier_ops)
        return;
    result = afn__source_watch(&stream->source, afn__stream_get_events(stream) | EPOLLOUT);
    if (result < 0)
        afn__stream_fail_writing(stream, result);
    else
        stream->is_watching_out = true;
}

/* There is something to take: a carrier that takes nothing of it has no room for now. */
static ssize_t send_carried(struct afn_stream *stream, const struct iovec *parts, size_t count)
{
    struct afn_buffer buffers[PARTS_PER_SEND];
    ssize_t sent;

    for (size_t i = 0; i < count; i++)
        buffers[i] = (struct afn_buffer){parts[i].iov_base, parts[i].iov_len};
    sent = stream->carrier_ops->send(stream->carrier, buffers, count);
    return sent ? sent : -EAGAIN;
}

/* How many bytes were taken. */
static size_t send_parts(struct afn_stream *stream, const struct iovec *parts, size_t count,
                         bool has_more)
{
    ssize_t sent;

    stream->stats.send_calls++;
    sent = stream->carrier_ops               ? send_carried(stream, parts, count)
           : afn__fd_is_socket(stream->kind) ? afn__sys_send(stream->fd, parts, count, has_more)
                                             : afn__sys_write(stream->fd, parts, count);
    if (sent >= 0) {
        stream->stats.wire_bytes_sent += (uint64_t)sent;
        return (size_t)sent;
    }
    if (sent == -EAGAIN)
        afn__stream_watch_out(stream);
    else
        afn__stream_fail_writing(stream, (int)sent);
    return 0;
}

/* Sends until all is gone or the kernel says EAGAIN, the only answer that promises an event. */
static size_t send_bytes(struct afn_stream *stream, const void *data, size_t length)
{
    size_t done = 0;

    while (done < length && stream->is_writable) {
        struct iovec part = {.iov_base = (char *)data + done, .iov_len = length - done};

        done += send_parts(stream, &part, 1, false);
    }
    return done;
}

void afn__stream_send_wire(struct afn_stream *stream, const void *data, size_t length)
{
    size_t done = stream->spill.length ? 0 : send_bytes(stream, data, length);

    if (stream->write_error || stream->is_lost)
        return;
    if (afn__buffer_append(&stream->spill, (const char *)data + done, length - done) < 0)
        afn__stream_lose(stream, -ENOMEM);
}

/* ---- flushing ---- */

static void flush_spill(struct afn_stream *stream)
{
    size_t done =
        send_bytes(stream, afn__buffer_data(&stream->spill), stream->spill.length);

    if (!stream->write_error)
        afn__buffer_consume(&stream->spill, done);
}

static void flush_clear(struct afn_stream *stream)
{
    struct iovec parts[PARTS_PER_SEND];
    size_t count = afn__queue_peek(&stream->queue, parts, PARTS_PER_SEND);
    bool has_more = count < PARTS_PER_SEND && afn__stream_has_file_bytes(stream);
    size_t done = send_parts(stream, parts, count, has_more);

    stream->stats.bytes_sent += done;
    if (!stream->write_error)
        afn__queue_consume(&stream->queue, done);
}

/* Encrypts one piece: what was encrypted, 0 when that must wait or failed. */
static size_t encrypt(struct afn_stream *stream, const void *data, size_t length)
{
    int result = stream->engine->write(stream->engine_user, data, length);

    if (result == 0) {
        stream->stats.bytes_sent += length;
        return length;
    }
    if (result != -EAGAIN)
        afn__stream_lose(stream, result);
    return 0;
}

/* The next piece of the queue as one run of bytes: small ones share a record. */
static size_t next_piece(struct afn_stream *stream, const void **ret_data)
{
    struct iovec part;

    afn__queue_peek(&stream->queue, &part, 1);
    if (part.iov_len >= AFN__RECORD_SIZE || part.iov_len == stream->queue.length ||
        stream->source.reactor->is_record_taken) {
        *ret_data = part.iov_base;
        return part.iov_len < ENCRYPT_SIZE ? part.iov_len : ENCRYPT_SIZE;
    }
    *ret_data = stream->source.reactor->record;
    return afn__queue_copy(&stream->queue, stream->source.reactor->record, AFN__RECORD_SIZE);
}

/* Is there something that may leave, whether or not the kernel takes it? */
static bool has_output(const struct afn_stream *stream)
{
    return !afn__queue_is_empty(&stream->queue) && !stream->ended;
}

/* Returns whether there is a point in going on. */
static bool flush_encrypted(struct afn_stream *stream)
{
    size_t total = 0;
    bool is_waiting = false;

    while (has_output(stream) && total < ENCRYPT_SIZE && !stream->is_lost) {
        bool is_file = afn__queue_get_range(&stream->queue);
        const void *data = stream->source.reactor->record;
        size_t length = is_file ? afn__stream_load_file(stream) : next_piece(stream, &data), done;
        bool takes_record = data == stream->source.reactor->record;

        if (!length) {
            is_waiting = true;
            break;
        }
        /* A callback out of OpenSSL may make another stream flush meanwhile. */
        stream->source.reactor->is_record_taken |= takes_record;
        done = encrypt(stream, data, length);
        if (takes_record)
            stream->source.reactor->is_record_taken = false;
        if (!done) {
            is_waiting = true;
            break;
        }
        if (stream->is_lost)
            break;
        if (is_file)
            afn__stream_advance_file(stream, done);
        else
            afn__queue_consume(&stream->queue, done);
        total += done;
    }
    afn__stream_drain_engine(stream);
    return !is_waiting;
}

static void send_eof(struct afn_stream *stream)
{
    int result;

    if (stream->engine) {
        result = stream->engine->shutdown(stream->engine_user);
        stream->has_sent_eof = result != -EBUSY;
        if (!stream->has_sent_eof && stream->sends_raw)
            afn__stream_watch_out(stream);
        afn__stream_drain_engine(stream);
        if (result < 0 && result != -EAGAIN && result != -EBUSY)
            afn__stream_lose(stream, result);
    } else if (stream->is_write_only) {
        stream->has_sent_eof = true;
        afn__stream_begin_closing(stream);
    } else {
        stream->has_sent_eof = true;
        result = stream->carrier_ops ? stream->carrier_ops->write_eof(stream->carrier)
                                     : afn__sys_shutdown_write(stream->fd);
        if (result < 0)
            afn__stream_fail_writing(stream, result);
    }
}

/* Was the write buffer above the high-water mark, and is it now low enough to be filled again? */
static bool is_low(const struct afn_stream *stream)
{
    return afn__watermarks_is_low(&stream->marks, afn_stream_get_write_buffer_size(stream));
}

void afn__stream_flush(struct afn_stream *stream)
{
    bool goes_on = true;

    if (stream->corks || stream->callbacks)
        return;
    while (goes_on && stream->is_writable && !stream->is_lost) {
        if (stream->spill.length)
            flush_spill(stream);
        else if (!has_output(stream) || !stream->is_secured || stream->wants_step)
            break;
        else if (afn__stream_encrypts(stream))
            goes_on = flush_encrypted(stream);
        else if (afn__queue_get_range(&stream->queue))
            goes_on = afn__stream_send_file(stream);
        else
            flush_clear(stream);
    }
    if (stream->wants_eof && !stream->has_sent_eof && afn__stream_is_flushed(stream) &&
        !stream->write_error && stream->is_secured && !stream->is_lost)
        send_eof(stream);
    if (!stream->is_lost && is_low(stream))
        afn__source_schedule(&stream->source);
}

void afn__stream_tell_writable(struct afn_stream *stream)
{
    if (stream->is_lost || stream->write_error || !is_low(stream))
        return;
    stream->marks.is_above = false;
    if (!stream->handler.writable)
        return;
    afn__stream_enter(stream);
    stream->handler.writable(stream, stream->user);
    afn__stream_leave(stream);
}

/* ---- writing ---- */

static int check_above(struct afn_stream *stream)
{
    return afn__watermarks_rise(&stream->marks, afn_stream_get_write_buffer_size(stream));
}

bool afn__stream_takes_writes(const struct afn_stream *stream)
{
    return !stream->is_closing && !stream->write_error && !stream->wants_eof &&
           !stream->is_read_only;
}

/* May these bytes go out now, before anything else? */
static bool can_send(const struct afn_stream *stream)
{
    return stream->is_writable && stream->is_secured && !stream->wants_step && !stream->corks &&
           !stream->has_written && afn__stream_is_flushed(stream);
}

/* Sends what can be sent at once; returns how much of it needs no queue. */
static size_t send_first(struct afn_stream *stream, const void *data, size_t length)
{
    size_t done = 0;

    if (!can_send(stream))
        return 0;
    stream->has_written = stream->callbacks > 0;
    if (!afn__stream_encrypts(stream)) {
        done = send_bytes(stream, data, length);
        stream->stats.bytes_sent += done;
        return done;
    }
    while (done < length && stream->is_writable && !stream->spill.length && !stream->is_lost) {
        size_t piece = length - done < ENCRYPT_SIZE ? length - done : ENCRYPT_SIZE;
        size_t encrypted = encrypt(stream, (const char *)data + done, piece);

        afn__stream_drain_engine(stream);
        if (!encrypted)
            break;
        done += encrypted;
    }
    return done;
}

/* There is no memory for what is left of a write: the stream cannot go on once part of it left. */
static int lack_memory(struct afn_stream *stream, size_t done)
{
    if (done)
        afn__stream_lose(stream, -ENOMEM);
    return -ENOMEM;
}

int afn_stream_write(struct afn_stream *stream, const void *data, size_t length)
{
    size_t done;

    if (!afn__stream_takes_writes(stream))
        return -EPIPE;
    if (!length)
        return stream->marks.is_above;
    done = send_first(stream, data, length);
    if (done == length)
        return check_above(stream);
    if (stream->is_lost || stream->write_error)
        return 0;
    if (afn__queue_append_copy(&stream->queue, (const char *)data + done, length - done) < 0)
        return lack_memory(stream, done);
    return check_above(stream);
}

int afn_stream_write_ref(struct afn_stream *stream, const void *data, size_t length,
                         void (*release)(void *user), void *user)
{
    size_t done = 0;
    int result = 0;

    if (!afn__stream_takes_writes(stream)) {
        result = -EPIPE;
        goto released;
    }
    if (length)
        done = send_first(stream, data, length);
    if (stream->is_lost || stream->write_error)
        goto released;
    if (done == length) {
        result = check_above(stream);
        goto released;
    }
    if (afn__queue_append_reference(&stream->queue, (const char *)data + done, length - done,
                                    release, user) < 0) {
        result = lack_memory(stream, done);
        goto released;
    }
    return check_above(stream);
released:
    if (release)
        release(user);
    return result;
}

/* Sends the first pieces, if that may be now; returns how many bytes went. */
static size_t send_first_parts(struct afn_stream *stream, const struct afn_buffer *buffers,
                               size_t count)
{
    struct iovec parts[PARTS_PER_SEND];
    size_t used = 0, done;

    if (afn__stream_encrypts(stream) || !can_send(stream))
        return 0;
    for (size_t i = 0; i < count && used < PARTS_PER_SEND; i++)
        if (buffers[i].length)
            parts[used++] = (struct iovec){(void *)buffers[i].data, buffers[i].length};
    if (!used)
        return 0;
    stream->has_written = stream->callbacks > 0;
    done = send_parts(stream, parts, used, false);
    stream->stats.bytes_sent += done;
    return done;
}

int afn_stream_writev(struct afn_stream *stream, const struct afn_buffer *buffers, size_t count)
{
    size_t done, skip;

    if (!afn__stream_takes_writes(stream))
        return -EPIPE;
    if (!count)
        return stream->marks.is_above;
    done = skip = send_first_parts(stream, buffers, count);
    if (stream->is_lost || stream->write_error)
        return 0;
    for (size_t i = 0; i < count; i++) {
        size_t length = buffers[i].length;

        if (skip >= length) {
            skip -= length;
            continue;
        }
        if (afn__queue_append_copy(&stream->queue, (const char *)buffers[i].data + skip,
                                   length - skip) < 0)
            return lack_memory(stream, done);
        done += length - skip;
        skip = 0;
    }
    afn__stream_flush(stream);
    return check_above(stream);
}

void afn_stream_cork(struct afn_stream *stream)
{
    stream->corks++;
}

void afn_stream_uncork(struct afn_stream *stream)
{
    if (!stream->corks || --stream->corks || stream->is_lost)
        return;
    afn__stream_flush(stream);
    if (stream->is_closing)
        afn__source_schedule(&stream->source);
}

int afn_stream_write_eof(struct afn_stream *stream)
{
    if (stream->is_closing || stream->write_error || stream->is_read_only)
        return -EPIPE;
    if (!afn__fd_is_socket(stream->kind) && !stream->is_write_only)
        return -EOPNOTSUPP;
    stream->wants_eof = true;
    afn__stream_flush(stream);
    return 0;
}

/* ---- watermarks ---- */

int afn_stream_set_write_limits(struct afn_stream *stream, size_t high, size_t low)
{
    int result = afn__watermarks_set(&stream->marks, high, low);

    if (result < 0)
        return result;
    check_above(stream);
    if (is_low(stream))
        afn__source_schedule(&stream->source);
    return afn_stream_get_write_buffer_size(stream) > stream->marks.high;
}

void afn_stream_get_write_limits(const struct afn_stream *stream, size_t *ret_high, size_t *ret_low)
{
    *ret_high = AFN__GLANCE(stream->marks.high);
    *ret_low = AFN__GLANCE(stream->marks.low);
}

size_t afn_stream_get_write_buffer_size(const struct afn_stream *stream)
{
    return AFN__GLANCE(stream->is_lost)
               ? 0
               : AFN__GLANCE(stream->queue.length) + AFN__GLANCE(stream->spill.length);
}
