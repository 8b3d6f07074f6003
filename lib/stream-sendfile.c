/* SPDX-License-Identifier: MIT */
#include "stream.h"

#include <errno.h>
#include <stdlib.h>

/* Bytes of files that one stream may send in one run while others wait: either took a quarter of a
 * millisecond. */
#define RAW_BUDGET ((size_t)512 * 1024)
#define COPY_BUDGET ((size_t)256 * 1024)

/* A piece of a file that waits, or is being sent, or has ended. */
struct afn__file_range {
    struct afn__file_range *next; /* that has ended */
    int file;
    uint64_t offset; /* of what is left */
    uint64_t left;
    uint64_t sent;
    int error;
    bool wants_kernel; /* or nothing */
    bool is_copied;    /* sendfile(2) does not do it */
    afn_sendfile_done *done;
    void *user;
};

/* May bytes of a file go straight from one descriptor to the other? */
static bool sends_raw(const struct afn_stream *stream)
{
    return !afn__stream_encrypts(stream) && stream->fd >= 0;
}

/* ---- the end of a range ---- */

/* What was written behind it waits until done has returned, which may want to abort instead. */
static void end_range(struct afn_stream *stream, struct afn__file_range *range, int error)
{
    struct afn__file_range **place = &stream->ended;

    afn__queue_remove_range(&stream->queue, range);
    range->error = error;
    while (*place)
        place = &(*place)->next;
    *place = range;
    afn__source_schedule(&stream->source);
}

static struct afn__file_range *take_ended(struct afn_stream *stream)
{
    struct afn__file_range *range = stream->ended;

    stream->ended = range->next;
    return range;
}

void afn__stream_tell_sent(struct afn_stream *stream)
{
    size_t count = 0;

    /* Those that end meanwhile have their turn later, or done could keep this going for ever; and
     * done may cancel others that have ended. */
    for (const struct afn__file_range *range = stream->ended; range; range = range->next)
        count++;
    while (count-- && stream->ended && !stream->has_told_closed &&
           !stream->source.reactor->is_stopped) {
        struct afn__file_range *range = take_ended(stream);
        struct afn__file_range copy = *range;

        free(range);
        afn__stream_enter(stream);
        copy.done(stream, copy.user, copy.sent, copy.error);
        afn__stream_leave(stream);
    }
    if (stream->ended && !stream->has_told_closed)
        afn__source_schedule(&stream->source);
}

static bool is_any(const struct afn__file_range *range, const void *key)
{
    (void)range;
    (void)key;
    return true;
}

void afn__stream_drop_queue(struct afn_stream *stream, int error)
{
    struct afn__file_range *range;

    while ((range = afn__queue_find_range(&stream->queue, is_any, NULL)))
        end_range(stream, range, error ? error : -ECANCELED);
    afn__queue_clear(&stream->queue);
}

void afn__stream_forget_files(struct afn_stream *stream)
{
    afn__stream_drop_queue(stream, 0);
    while (stream->ended)
        free(take_ended(stream));
}

/* ---- sending ---- */

void afn__stream_allow_files(struct afn_stream *stream)
{
    stream->file_budget = sends_raw(stream) ? RAW_BUDGET : COPY_BUDGET;
}

void afn__stream_advance_file(struct afn_stream *stream, size_t length)
{
    struct afn__file_range *range = afn__queue_get_range(&stream->queue);

    range->offset += length;
    range->left -= length;
    range->sent += length;
    stream->file_budget -= length;
    if (!range->left)
        end_range(stream, range, 0);
}

static size_t limit_piece(const struct afn_stream *stream, const struct afn__file_range *range,
                          size_t limit)
{
    if (limit > stream->file_budget)
        limit = stream->file_budget;
    return range->left < limit ? (size_t)range->left : limit;
}

size_t afn__stream_load_file(struct afn_stream *stream)
{
    struct afn__file_range *range = afn__queue_get_range(&stream->queue);
    struct afn_reactor *reactor = stream->source.reactor;
    size_t length = limit_piece(stream, range, AFN__RECORD_SIZE);
    ssize_t count;

    if (range->left && (!length || reactor->is_record_taken)) {
        afn__source_schedule(&stream->source);
        return 0;
    }
    count = length ? afn__sys_pread(range->file, reactor->record, length, range->offset) : 0;
    if (count > 0)
        return (size_t)count;
    end_range(stream, range, (int)count);
    return 0;
}

static bool copy_piece(struct afn_stream *stream)
{
    struct afn_reactor *reactor = stream->source.reactor;
    size_t length = afn__stream_load_file(stream);

    if (!length)
        return false;
    stream->stats.bytes_sent += length;
    /* A carrier may make another stream encrypt. */
    reactor->is_record_taken = true;
    afn__stream_send_wire(stream, reactor->record, length);
    reactor->is_record_taken = false;
    if (stream->write_error || stream->is_lost)
        return false;
    afn__stream_advance_file(stream, length);
    return true;
}

/*
 * How much to ask for.  Of more than the file has, some kernels take the last bytes for the
 * beginning of more, and hold them back as with MSG_MORE.
 */
static size_t choose_length(const struct afn_stream *stream, const struct afn__file_range *range)
{
    size_t length = limit_piece(stream, range, RAW_BUDGET);
    uint64_t size = afn__sys_get_size(range->file);

    if (size > range->offset && size - range->offset < length)
        length = (size_t)(size - range->offset);
    return length;
}

/* sendfile(2) failed: because of the file, of the socket, or because it cannot do this at all. */
static bool take_failure(struct afn_stream *stream, struct afn__file_range *range, int error)
{
    ssize_t probe;
    char byte;

    switch (error) {
    case -EAGAIN:
        afn__stream_watch_out(stream);
        return false;
    case -EINVAL:
    case -ENOSYS:
    case -EOPNOTSUPP:
        if (range->wants_kernel && !range->sent)
            end_range(stream, range, -EOPNOTSUPP);
        else
            range->is_copied = true;
        return true;
    default:
        probe = afn__sys_pread(range->file, &byte, 1, range->offset);
        /* Behind the end: a place that no file of its file system can have is -EOVERFLOW. */
        if (probe <= 0)
            end_range(stream, range, (int)probe);
        else
            afn__stream_fail_writing(stream, error);
        return false;
    }
}

bool afn__stream_send_file(struct afn_stream *stream)
{
    struct afn__file_range *range = afn__queue_get_range(&stream->queue);
    size_t length;
    ssize_t count;

    if (range->is_copied || !sends_raw(stream))
        return copy_piece(stream);
    length = choose_length(stream, range);
    if (range->left && !length) {
        afn__source_schedule(&stream->source);
        return false;
    }
    stream->stats.send_calls += length > 0;
    count = length ? afn__sys_sendfile(stream->fd, range->file, range->offset, length) : 0;
    if (count < 0)
        return take_failure(stream, range, (int)count);
    if (count == 0) {
        end_range(stream, range, 0);
        return false;
    }
    stream->stats.bytes_sent += (size_t)count;
    stream->stats.wire_bytes_sent += (size_t)count;
    afn__stream_advance_file(stream, (size_t)count);
    return true;
}

bool afn__stream_has_file_bytes(const struct afn_stream *stream)
{
    const struct afn__file_range *range = afn__queue_find_range(&stream->queue, is_any, NULL);

    return range && range->left && sends_raw(stream) &&
           afn__sys_get_size(range->file) > range->offset;
}

/* ---- what the program calls ---- */

int afn_stream_sendfile(struct afn_stream *stream, int file, uint64_t offset, uint64_t count,
                        unsigned int flags, afn_sendfile_done *done, void *user)
{
    struct afn__file_range *range;
    uint64_t longest = offset <= INT64_MAX ? INT64_MAX - offset : 0;

    if (file < 0 || offset > INT64_MAX || !done || (flags & ~AFN_SENDFILE_BY_KERNEL))
        return -EINVAL;
    if (!afn__stream_takes_writes(stream))
        return -EPIPE;
    if ((flags & AFN_SENDFILE_BY_KERNEL) && !sends_raw(stream))
        return -EOPNOTSUPP;
    range = malloc(sizeof(*range));
    if (!range)
        return -ENOMEM;
    *range = (struct afn__file_range){
        .file = file,
        .offset = offset,
        .left = count < longest ? count : longest,
        .wants_kernel = flags & AFN_SENDFILE_BY_KERNEL,
        .done = done,
        .user = user,
    };
    if (afn__queue_append_range(&stream->queue, range) < 0) {
        free(range);
        return -ENOMEM;
    }
    afn__stream_allow_files(stream);
    afn__stream_flush(stream);
    return 0;
}

static bool is_of(const struct afn__file_range *range, const void *user)
{
    return range->user == user;
}

/* Takes a range of this user out of those that ended. */
static struct afn__file_range *find_ended(struct afn_stream *stream, const void *user)
{
    struct afn__file_range **place = &stream->ended, *range;

    while (*place && !is_of(*place, user))
        place = &(*place)->next;
    range = *place;
    if (range)
        *place = range->next;
    return range;
}

int64_t afn_stream_cancel_sendfile(struct afn_stream *stream, const void *user)
{
    struct afn__file_range *range = find_ended(stream, user);
    int64_t sent;

    if (!range) {
        range = afn__queue_find_range(&stream->queue, is_of, user);
        if (!range)
            return -ENOENT;
        afn__queue_remove_range(&stream->queue, range);
    }
    sent = (int64_t)range->sent;
    free(range);
    /* What was behind it leaves, and a close goes on. */
    if (!stream->has_told_closed)
        afn__source_schedule(&stream->source);
    return sent;
}
