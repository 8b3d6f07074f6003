/* SPDX-License-Identifier: MIT */
#include "stream.h"

#include <aiofastnet/error.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define ALL_FLAGS                                                                                  \
    (AFN_STREAM_PAUSED | AFN_STREAM_READ_ONLY | AFN_STREAM_WRITE_ONLY | AFN_STREAM_BORROWED)

/* ---- the run ---- */

static void note_events(struct afn_stream *stream, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI))
        stream->is_readable = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI))
        stream->has_hint = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        stream->is_writable = true;
}

/*
 * The reader of a write-only stream is gone, and what is queued has nowhere to go.  A device is not
 * asked: the other end of a terminal may be opened again.
 */
static void note_hangup(struct afn_stream *stream, uint32_t events)
{
    if (!stream->is_write_only || stream->kind == AFN__FD_DEVICE ||
        !(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
        return;
    if (stream->write_error)
        afn__stream_lose(stream, stream->write_error);
    else
        afn__stream_lose(stream, afn_stream_get_write_buffer_size(stream) ? -EPIPE : 0);
}

/* Ends a close whose last bytes have gone. */
static void finish_closing(struct afn_stream *stream)
{
    if (!afn__stream_is_flushed(stream))
        return;
    if (stream->engine)
        afn__stream_shutdown_engine(stream);
    else
        afn__stream_lose(stream, 0);
}

/* Gives up what carries the bytes: the descriptor, unless it was taken, or the carrier. */
static void close_wire(struct afn_stream *stream, int error)
{
    const struct afn_carrier_ops *ops = stream->carrier_ops;

    if (stream->fd >= 0 && !stream->is_fd_taken && !stream->is_fd_borrowed)
        afn__stream_close_fd(stream);
    stream->fd = -1;
    stream->carrier_ops = NULL;
    if (ops)
        ops->close(stream->carrier, error);
}

/* Outlives the references of the program until closed was told. */
static void keep(struct afn_stream *stream)
{
    if (stream->is_kept || stream->has_told_closed)
        return;
    stream->is_kept = true;
    afn_stream_ref(stream);
}

static void tell_closed(struct afn_stream *stream)
{
    afn__stream_drop_queue(stream, stream->error);
    afn__buffer_release(&stream->spill);
    afn__stream_tell_sent(stream);
    if (stream->has_told_closed || stream->ended)
        return;
    if (stream->source.reactor->is_stopped) {
        afn__source_schedule(&stream->source);
        return;
    }
    keep(stream);
    stream->has_told_closed = true;
    afn__source_remove(&stream->source);
    if (stream->handler.closed)
        stream->handler.closed(stream, stream->user, stream->error);
    close_wire(stream, stream->error);
    afn_stream_unref(stream);
}

static void run(struct afn__source *source, uint32_t events)
{
    struct afn_stream *stream = (struct afn_stream *)source;

    note_events(stream, events);
    note_hangup(stream, events);
    afn__stream_allow_files(stream);
    if (!stream->is_lost && !stream->is_secured &&
        (!stream->has_begun || stream->engine->has_input(stream->engine_user) ||
         (stream->wants_step && stream->is_writable)))
        afn__stream_handshake(stream);
    if (afn__stream_goes_on(stream) && stream->is_secured && stream->wants_step &&
        stream->is_writable)
        afn__stream_step(stream);
    if (afn__stream_goes_on(stream)) {
        afn__stream_flush(stream);
        afn__stream_tell_writable(stream);
        afn__stream_tell_sent(stream);
    }
    if (afn__stream_goes_on(stream))
        afn__stream_read(stream);
    /* An engine that had to read before it could write has read now. */
    if (afn__stream_goes_on(stream) && stream->engine)
        afn__stream_flush(stream);
    if (afn__stream_goes_on(stream) && stream->is_closing)
        finish_closing(stream);
    if (stream->source.reactor->is_stopped)
        afn__source_schedule(source);
    else if (stream->is_lost)
        tell_closed(stream);
}

static bool run_unasked(struct afn__source *source)
{
    struct afn_stream *stream = (struct afn_stream *)source;
    uint64_t before = stream->stats.wire_bytes_received;
    int end = stream->end;

    run(source, EPOLLIN);
    return stream->stats.wire_bytes_received != before || stream->end != end;
}

void afn__stream_enter(struct afn_stream *stream)
{
    stream->callbacks++;
}

void afn__stream_leave(struct afn_stream *stream)
{
    if (--stream->callbacks)
        return;
    stream->has_written = false;
    if (!stream->is_lost)
        afn__stream_flush(stream);
}

void afn__stream_note_error(struct afn_stream *stream, int error)
{
    /* After the goodbye nothing of the application can be lost any more. */
    if (!stream->error && !stream->has_said_goodbye)
        stream->error = error;
}

void afn__stream_lose(struct afn_stream *stream, int error)
{
    if (stream->is_lost)
        return;
    AFN__SHOW(stream->is_lost, true);
    AFN__SHOW(stream->is_closing, true);
    afn__stream_note_error(stream, error);
    afn__reactor_stop_timer(stream->source.reactor, &stream->timer);
    /* What is queued is dropped by the run: an engine may be reading it at this moment. */
    afn__source_schedule(&stream->source);
}

/* ---- making and freeing ---- */

static void stream_destroy(struct afn__source *source)
{
    struct afn_stream *stream = (struct afn_stream *)source;

    if (stream->engine)
        stream->engine->destroy(stream->engine_user);
    afn__stream_forget_files(stream);
    afn__buffer_release(&stream->spill);
    free(stream);
}

static bool copy_handler(struct afn_stream_handler *target,
                         const struct afn_stream_handler *handler)
{
    size_t size = handler ? handler->size : 0;

    if (size < sizeof(size))
        return false;
    if (size > sizeof(*target))
        size = sizeof(*target);
    memset(target, 0, sizeof(*target));
    memcpy(target, handler, size);
    return true;
}

static bool suits(const struct afn_stream *stream, const struct afn_stream_handler *handler)
{
    return stream->is_write_only || handler->data ||
           (handler->get_buffer && handler->buffer_updated);
}

/* What the flags say, or how a pipe or a device was opened. */
static int find_direction(struct afn_stream *stream, unsigned int flags)
{
    int access = O_RDWR;

    if (!afn__fd_is_socket(stream->kind))
        access = afn__sys_get_access(stream->fd);
    if (access < 0)
        return access;
    stream->is_read_only = (flags & AFN_STREAM_READ_ONLY) || access == O_RDONLY;
    stream->is_write_only = (flags & AFN_STREAM_WRITE_ONLY) || access == O_WRONLY;
    return stream->is_read_only && stream->is_write_only ? -EINVAL : 0;
}

/* Devices such as /dev/null are always ready, and cannot be waited for. */
static int add_source(struct afn_stream *stream, struct afn_reactor *reactor)
{
    int result = afn__source_add(&stream->source, reactor, stream->fd,
                                 afn__stream_get_events(stream));

    if (result != -EPERM || stream->kind != AFN__FD_DEVICE)
        return result;
    result = afn__source_add(&stream->source, reactor, -1, 0);
    stream->is_readable = true;
    afn__source_schedule(&stream->source);
    return result;
}

/* A stream that nothing carries yet; its last failure is left to the caller. */
static int make(struct afn_reactor *reactor, const struct afn_stream_handler *handler, void *user,
                unsigned int flags, struct afn_stream **ret_stream)
{
    struct afn_stream_handler copy;
    struct afn_stream *stream;

    if (!reactor || !ret_stream || !copy_handler(&copy, handler))
        return -EINVAL;
    stream = calloc(1, sizeof(*stream));
    if (!stream)
        return -ENOMEM;
    stream->references = 1;
    stream->fd = -1;
    stream->handler = copy;
    stream->user = user;
    stream->marks = AFN__WATERMARKS_INITIAL;
    stream->is_reading = !(flags & AFN_STREAM_PAUSED);
    stream->is_writable = true;
    stream->is_secured = true;
    stream->source.run = run;
    stream->source.run_unasked = run_unasked;
    stream->source.destroy = stream_destroy;
    *ret_stream = stream;
    return 0;
}

int afn_stream_new(struct afn_reactor *reactor, int fd, const struct afn_stream_handler *handler,
                   void *user, unsigned int flags, struct afn_stream **ret_stream)
{
    struct afn_stream *stream;
    int result = fd < 0 || (flags & ~ALL_FLAGS) ? -EINVAL
                                               : make(reactor, handler, user, flags, &stream);

    if (result < 0)
        return result;
    stream->fd = fd;
    stream->is_fd_borrowed = flags & AFN_STREAM_BORROWED;
    result = afn__sys_get_kind(fd, &stream->kind);
    if (result == -ENOTSOCK)
        result = afn__sys_get_file_kind(fd, &stream->kind);
    if (result == 0)
        result = find_direction(stream, flags);
    if (result == 0 && !suits(stream, &stream->handler))
        result = -EINVAL;
    if (result == 0)
        result = afn__sys_set_nonblocking(fd);
    if (result == 0)
        result = add_source(stream, reactor);
    if (result < 0) {
        free(stream);
        return result;
    }
    *ret_stream = stream;
    return 0;
}

static bool is_carrier(const struct afn_carrier_ops *ops)
{
    return ops && ops->size >= AFN__SIZE_WITH(struct afn_carrier_ops, close) && ops->receive &&
           ops->send && ops->write_eof && ops->close;
}

int afn_stream_new_over(struct afn_reactor *reactor, const struct afn_carrier_ops *ops,
                        void *carrier, const struct afn_stream_handler *handler, void *user,
                        unsigned int flags, struct afn_stream **ret_stream)
{
    struct afn_stream *stream;
    int result = !is_carrier(ops) || (flags & ~AFN_STREAM_PAUSED)
                     ? -EINVAL
                     : make(reactor, handler, user, flags, &stream);

    if (result < 0)
        return result;
    if (!suits(stream, &stream->handler)) {
        free(stream);
        return -EINVAL;
    }
    afn__source_add(&stream->source, reactor, -1, 0);
    stream->carrier_ops = ops;
    stream->carrier = carrier;
    afn_stream_notify(stream, AFN_STREAM_READABLE);
    *ret_stream = stream;
    return 0;
}

void afn_stream_notify(struct afn_stream *stream, unsigned int events)
{
    if (stream->is_lost)
        return;
    stream->is_readable |= (events & AFN_STREAM_READABLE) != 0;
    stream->is_writable |= (events & AFN_STREAM_WRITABLE) != 0 && !stream->write_error;
    afn__source_schedule(&stream->source);
}

struct afn_stream *afn_stream_ref(struct afn_stream *stream)
{
    stream->references++;
    return stream;
}

struct afn_stream *afn_stream_unref(struct afn_stream *stream)
{
    if (!stream || --stream->references)
        return NULL;
    /* One of its callbacks may be running: what follows it finds a stream that is lost and has told
     * so, and the memory stays until the end of the dispatch. */
    stream->is_lost = stream->is_closing = stream->has_told_closed = true;
    afn__source_remove(&stream->source);
    afn__reactor_stop_timer(stream->source.reactor, &stream->timer);
    close_wire(stream, AFN_ERR_ABORTED);
    afn__source_bury(&stream->source);
    return NULL;
}

int afn_stream_set_handler(struct afn_stream *stream, const struct afn_stream_handler *handler,
                           void *user)
{
    struct afn_stream_handler copy;

    if (!copy_handler(&copy, handler) || !suits(stream, &copy))
        return -EINVAL;
    stream->handler = copy;
    stream->user = user;
    return 0;
}

/* ---- reading, as far as the program steers it ---- */

void afn_stream_pause_reading(struct afn_stream *stream)
{
    AFN__SHOW(stream->is_reading, false);
}

void afn_stream_resume_reading(struct afn_stream *stream)
{
    if (stream->is_reading)
        return;
    AFN__SHOW(stream->is_reading, true);
    if (!stream->is_lost)
        afn__source_schedule(&stream->source);
}

bool afn_stream_is_reading(const struct afn_stream *stream)
{
    return AFN__GLANCE(stream->is_reading) && !AFN__GLANCE(stream->is_closing) &&
           !AFN__GLANCE(stream->end) && !stream->is_write_only;
}

/* ---- closing ---- */

void afn__stream_begin_closing(struct afn_stream *stream)
{
    if (stream->is_closing)
        return;
    AFN__SHOW(stream->is_closing, true);
    if (!stream->is_secured || stream->write_error) {
        afn__stream_lose(stream, stream->write_error);
        return;
    }
    afn__stream_limit_shutdown(stream);
    afn__source_schedule(&stream->source);
}

void afn_stream_close(struct afn_stream *stream)
{
    keep(stream);
    afn__stream_begin_closing(stream);
}

void afn_stream_abort(struct afn_stream *stream, int error)
{
    keep(stream);
    if (!stream->is_lost && !stream->error)
        stream->error = error > 0 ? -error : error;
    afn__stream_lose(stream, 0);
}

bool afn_stream_is_closing(const struct afn_stream *stream)
{
    return AFN__GLANCE(stream->is_closing) || AFN__GLANCE(stream->write_error);
}

int afn_stream_get_fd(const struct afn_stream *stream)
{
    return stream->is_fd_taken ? -1 : stream->fd;
}

int afn_stream_take_fd(struct afn_stream *stream)
{
    if (!stream->has_told_closed)
        return -EBUSY;
    if (stream->is_fd_taken || stream->is_fd_borrowed || stream->fd < 0)
        return -EBADF;
    stream->is_fd_taken = true;
    return stream->fd;
}

int afn_stream_get_stats(const struct afn_stream *stream, struct afn_stream_stats *ret_stats,
                         size_t size)
{
    struct afn_stream_stats stats = stream->stats;

    if (!ret_stats || !size)
        return -EINVAL;
    stats.high_water_hits = stream->marks.hits;
    afn__stream_count_records(stream, &stats);
    memset(ret_stats, 0, size);
    memcpy(ret_stats, &stats, size < sizeof(stats) ? size : sizeof(stats));
    return 0;
}
