/* SPDX-License-Identifier: MIT */
#include "stream.h"

#include "tls.h"

#include <aiofastnet/error.h>
#include <aiofastnet/version.h>

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Both engine families report the end of their time through the one timer of the stream. */
static struct afn_stream *stream_of(struct afn__timer *timer)
{
    return (struct afn_stream *)((char *)timer - offsetof(struct afn_stream, timer));
}

static void fail_handshake(struct afn__timer *timer)
{
    afn__stream_lose(stream_of(timer), AFN_ERR_HANDSHAKE_TIMEOUT);
}

static void end_shutdown(struct afn__timer *timer)
{
    afn__stream_lose(stream_of(timer), AFN_ERR_SHUTDOWN_TIMEOUT);
}

static int limit(struct afn_stream *stream, uint64_t timeout,
                 void (*fire)(struct afn__timer *timer))
{
    afn__reactor_stop_timer(stream->source.reactor, &stream->timer);
    if (!timeout)
        return 0;
    stream->timer.fire = fire;
    return afn__reactor_start_timer(stream->source.reactor, &stream->timer, timeout);
}

void afn__stream_limit_shutdown(struct afn_stream *stream)
{
    if (stream->engine && limit(stream, stream->shutdown_timeout, end_shutdown) < 0)
        afn__stream_lose(stream, -ENOMEM);
}

void afn__stream_drain_engine(struct afn_stream *stream)
{
    struct afn__shared_window *window = &stream->source.reactor->window;
    const void *data;
    size_t length;
    bool is_ours;

    stream->engine->drain(stream->engine_user, &data, &length);
    if (!length || stream->is_lost || stream->write_error)
        return;
    /* A carrier may make another stream encrypt, which must not be to where these bytes are. */
    is_ours = !window->owner;
    if (is_ours)
        window->owner = stream;
    afn__stream_send_wire(stream, data, length);
    if (is_ours)
        window->owner = NULL;
}

static struct afn_tls *get_tls(const struct afn_stream *stream)
{
    return stream->engine == &afn__tls_engine ? stream->engine_user : NULL;
}

/* Which directions has the kernel taken over?  The program's bytes only when all is settled. */
static void note_kernel(struct afn_stream *stream)
{
    const struct afn_tls *tls = get_tls(stream);

    if (!tls || !tls->ktls)
        return;
    stream->sends_raw = stream->is_secured && afn__tls_is_sending_raw(tls);
    stream->receives_raw = afn__tls_is_receiving_raw(tls);
    /* There is no way back from the kernel, and OpenSSL notices that too late. */
    if (stream->sends_raw || stream->receives_raw)
        SSL_set_options(tls->ssl, SSL_OP_NO_RENEGOTIATION);
}

bool afn__stream_note_bad_record(const struct afn_stream *stream, ssize_t result)
{
    return result < 0 && afn__ktls_note_bad_record(get_tls(stream)->ktls, (int)-result);
}

size_t afn__stream_limit_receive(const struct afn_stream *stream, size_t length)
{
    const struct afn_tls *tls = get_tls(stream);

    return tls ? afn__tls_limit_receive(tls, length) : length;
}

void afn__stream_wait_for_kernel(struct afn_stream *stream)
{
    const struct afn_tls *tls = get_tls(stream);

    stream->wants_step = tls && tls->ktls && SSL_want_write(tls->ssl);
    if (stream->wants_step)
        afn__stream_watch_out(stream);
}

void afn__stream_handshake(struct afn_stream *stream)
{
    int result = stream->engine->handshake(stream->engine_user);

    stream->has_begun = true;
    stream->wants_step = false;
    afn__stream_drain_engine(stream);
    stream->is_secured = result == 0;
    note_kernel(stream);
    if (!stream->is_lost && result == -EAGAIN)
        afn__stream_wait_for_kernel(stream);
    if (stream->is_lost || result == -EAGAIN)
        return;
    if (result < 0) {
        afn__stream_lose(stream, result);
        return;
    }
    afn__reactor_stop_timer(stream->source.reactor, &stream->timer);
    afn__stream_enter(stream);
    if (stream->handler.secured)
        stream->handler.secured(stream, stream->user);
    afn__stream_leave(stream);
}

void afn__stream_step(struct afn_stream *stream)
{
    int result = stream->engine->handshake(stream->engine_user);

    stream->wants_step = false;
    afn__stream_drain_engine(stream);
    if (result == -EAGAIN)
        afn__stream_wait_for_kernel(stream);
    else if (result < 0)
        afn__stream_lose(stream, result);
    /* The kernel does not tell again of what was left there meanwhile. */
    stream->is_readable = true;
}

void afn__stream_shutdown_engine(struct afn_stream *stream)
{
    int result = 0;

    stream->has_said_goodbye = true;
    /* A peer that left TLS without a word may take for clear text what still comes. */
    if (stream->end != AFN_ERR_TRUNCATED)
        result = stream->engine->shutdown(stream->engine_user);
    afn__stream_drain_engine(stream);
    if (stream->is_lost)
        return;
    if (result == -EBUSY && !stream->end && !stream->write_error) {
        stream->has_said_goodbye = false;
        if (stream->sends_raw)
            afn__stream_watch_out(stream);
        return;
    }
    /* Nobody answers any more, or has already. */
    if (result != -EAGAIN || stream->end || stream->write_error) {
        if (!stream->spill.length)
            afn__stream_lose(stream, 0);
    }
}

/* Where the kernel has the keys, it sends what is left of its records now, and raises SIGPIPE when
 * the peer is gone. */
void afn__stream_close_fd(struct afn_stream *stream)
{
    const struct afn_tls *tls = get_tls(stream);
    struct afn__sigpipe_hold hold;

    if (!tls || !tls->ktls) {
        afn__sys_close(stream->fd);
        return;
    }
    afn__sys_hold_sigpipe(&hold);
    afn__sys_close(stream->fd);
    afn__sys_release_sigpipe(&hold, true);
}

/* ---- putting an engine on a stream ---- */

static bool are_complete(const struct afn_engine_ops *ops)
{
    return ops && ops->size >= AFN__SIZE_WITH(struct afn_engine_ops, destroy) && ops->handshake &&
           ops->read && ops->write && ops->shutdown && ops->feed && ops->settle &&
           ops->has_input && ops->drain && ops->destroy;
}

static int read_options(const struct afn_tls_options *options, struct afn_tls_options *ret_options)
{
    size_t size = options ? options->size : 0;

    memset(ret_options, 0, sizeof(*ret_options));
    if (options && size < sizeof(size))
        return -EINVAL;
    if (size > sizeof(*ret_options))
        size = sizeof(*ret_options);
    if (options)
        memcpy(ret_options, options, size);
    if (ret_options->flags & ~AFN_TLS_KTLS_RX)
        return -EINVAL;
    return ret_options->received_length && !ret_options->received ? -EINVAL : 0;
}

static int check_state(const struct afn_stream *stream)
{
    if (stream->engine || stream->queue.ranges || stream->ended)
        return -EBUSY;
    if (stream->is_read_only || stream->is_write_only)
        return -EINVAL;
    if (stream->is_closing || stream->write_error || stream->wants_eof || stream->end)
        return -EPIPE;
    return 0;
}

/* Clear bytes that still wait go to the wire as they are, before anything of the engine's.  There
 * is room for them. */
static void spill_queue(struct afn_stream *stream)
{
    size_t length = stream->queue.length;

    if (!length)
        return;
    afn__queue_copy(&stream->queue, afn__buffer_data(&stream->spill) + stream->spill.length,
                    length);
    AFN__SHOW(stream->spill.length, stream->spill.length + length);
    afn__queue_clear(&stream->queue);
}

static int start(struct afn_stream *stream, const struct afn_engine_ops *ops, void *user,
                 const struct afn_tls_options *options)
{
    int result = limit(stream, options->handshake_timeout, fail_handshake);

    if (result >= 0)
        result = afn__buffer_reserve(&stream->spill, stream->queue.length);
    /* Last, since nobody can take it back from an engine that is not the stream's after all. */
    if (result >= 0 && options->received_length)
        result = ops->feed(user, options->received, options->received_length);
    if (result >= 0 && options->received_length)
        result = ops->settle(user);
    if (result < 0) {
        afn__reactor_stop_timer(stream->source.reactor, &stream->timer);
        return result;
    }
    spill_queue(stream);
    stream->engine = ops;
    stream->engine_user = user;
    stream->shutdown_timeout = options->shutdown_timeout;
    stream->is_secured = false;
    afn__source_schedule(&stream->source);
    return 0;
}

int afn_stream_start_engine(struct afn_stream *stream, const struct afn_engine_ops *ops, void *user,
                            const struct afn_tls_options *options)
{
    struct afn_tls_options copy;
    int result = read_options(options, &copy);

    if (result == 0 && !are_complete(ops))
        result = -EINVAL;
    if (result == 0)
        result = check_state(stream);
    return result < 0 ? result : start(stream, ops, user, &copy);
}

/* For kernel TLS: the flight that OpenSSL has made, before it changes the keys. */
static void flush_flight(void *user)
{
    struct afn_stream *stream = user;

    afn__stream_drain_engine(stream);
}

static bool has_unsent(void *user)
{
    const struct afn_stream *stream = user;

    return stream->spill.length || stream->write_error || stream->is_lost ||
           afn__tls_has_output(stream->engine_user);
}

static int offer_ktls(struct afn_stream *stream, struct afn_tls *tls, unsigned int flags)
{
    if (stream->carrier_ops || stream->kind != AFN__FD_TCP)
        return 0;
    return afn__tls_offer_ktls(tls, stream->fd, flags & AFN_TLS_KTLS_RX, flush_flight, has_unsent,
                               stream);
}

int afn_stream_start_tls(struct afn_stream *stream, SSL *ssl, const struct afn_tls_options *options)
{
    struct afn_tls_options copy;
    struct afn_tls *tls;
    int result = read_options(options, &copy);

    if (result == 0)
        result = check_state(stream);
    if (result == 0)
        result = afn__tls_new(ssl, &stream->source.reactor->window, &tls);
    if (result < 0)
        return result;
    tls->do_handshake = copy.do_handshake;
    tls->failed = copy.failed;
    tls->user = copy.user;
    result = offer_ktls(stream, tls, copy.flags);
    if (result == 0)
        result = start(stream, &afn__tls_engine, tls, &copy);
    if (result < 0)
        afn__tls_engine.destroy(tls);
    else
        afn__tls_attach(tls);
    return result;
}

void afn__stream_count_records(const struct afn_stream *stream, struct afn_stream_stats *stats)
{
    const struct afn_tls *tls = get_tls(stream);

    if (!tls)
        return;
    stats->records_received = tls->received.count;
    stats->records_sent = tls->sent.count;
}

unsigned int afn_stream_get_ktls(const struct afn_stream *stream)
{
    return (stream->sends_raw ? AFN_KTLS_SEND : 0) | (stream->receives_raw ? AFN_KTLS_RECEIVE : 0);
}

const char *afn_stream_get_ktls_reason(const struct afn_stream *stream)
{
    const struct afn_tls *tls = get_tls(stream);

    if (!tls || !stream->is_secured || !afn__ktls_is_asked_for(tls->ssl))
        return NULL;
    if (!afn_has_ktls())
        return "the library was built without it";
    return tls->ktls ? afn__ktls_get_reason(tls->ktls) : "only TCP sockets have it";
}

SSL *afn_stream_get_ssl(const struct afn_stream *stream)
{
    const struct afn_tls *tls = get_tls(stream);

    return tls ? tls->ssl : NULL;
}

unsigned long afn_stream_get_tls_error(const struct afn_stream *stream)
{
    const struct afn_tls *tls = get_tls(stream);

    return tls ? tls->error : 0;
}
