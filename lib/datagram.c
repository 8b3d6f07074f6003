/* SPDX-License-Identifier: MIT */
#include "datagram.h"

#include "glance.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What a queued datagram counts besides its bytes. */
#define HEADER_SIZE 8

void afn__datagram_lose(struct afn_datagram *datagram, int error)
{
    if (datagram->is_lost)
        return;
    datagram->is_lost = true;
    AFN__SHOW(datagram->is_closing, true);
    datagram->error = error;
    afn__reactor_stop_timer(datagram->source.reactor, &datagram->retry);
    afn__packets_clear(&datagram->outbox);
    afn__packets_clear(&datagram->inbox);
    afn__source_schedule(&datagram->source);
}

/* ---- callbacks ---- */

void afn__datagram_enter(struct afn_datagram *datagram)
{
    datagram->callbacks++;
}

void afn__datagram_leave(struct afn_datagram *datagram)
{
    if (--datagram->callbacks)
        return;
    datagram->has_sent = false;
    if (!datagram->is_lost && datagram->outbox.count)
        afn__datagram_flush(datagram);
}

void afn__datagram_tell_failed(struct afn_datagram *datagram, int error)
{
    if (!datagram->handler.failed)
        return;
    afn__datagram_enter(datagram);
    datagram->handler.failed(datagram, datagram->user, error);
    afn__datagram_leave(datagram);
}

/* ---- the run ---- */

static void close_fd(struct afn_datagram *datagram)
{
    if (datagram->fd >= 0 && !datagram->is_fd_taken)
        afn__sys_close(datagram->fd);
    datagram->fd = -1;
}

static void tell_closed(struct afn_datagram *datagram)
{
    if (datagram->has_told_closed)
        return;
    datagram->has_told_closed = true;
    afn__source_remove(&datagram->source);
    if (datagram->handler.closed)
        datagram->handler.closed(datagram, datagram->user, datagram->error);
    close_fd(datagram);
    if (datagram->is_kept)
        afn_datagram_unref(datagram);
}

static void note_events(struct afn_datagram *datagram, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        datagram->is_readable = true;
    if (events & (EPOLLHUP | EPOLLERR))
        datagram->has_hint = true;
    if (events & EPOLLOUT)
        datagram->is_writable = true;
}

static void run(struct afn__source *source, uint32_t events)
{
    struct afn_datagram *datagram = (struct afn_datagram *)source;

    note_events(datagram, events);
    if (afn__datagram_goes_on(datagram))
        afn__datagram_tell_send_error(datagram);
    if (afn__datagram_goes_on(datagram) && datagram->outbox.count)
        afn__datagram_flush(datagram);
    if (afn__datagram_goes_on(datagram))
        afn__datagram_tell_writable(datagram);
    if (afn__datagram_goes_on(datagram))
        afn__datagram_read(datagram);
    if (afn__datagram_goes_on(datagram) && datagram->is_closing && !datagram->outbox.count &&
        !datagram->send_error)
        afn__datagram_lose(datagram, 0);
    if (source->reactor->is_stopped)
        afn__source_schedule(source);
    else if (datagram->is_lost)
        tell_closed(datagram);
}

/* ---- making and freeing ---- */

static void destroy(struct afn__source *source)
{
    struct afn_datagram *datagram = (struct afn_datagram *)source;

    afn__packets_clear(&datagram->outbox);
    afn__packets_clear(&datagram->inbox);
    free(datagram);
}

int afn_datagram_new(struct afn_reactor *reactor, int fd,
                     const struct afn_datagram_handler *handler, void *user, unsigned int flags,
                     struct afn_datagram **ret_datagram)
{
    struct afn_datagram *datagram;
    size_t size = handler ? handler->size : 0;
    int result;

    if (!reactor || fd < 0 || !ret_datagram || (flags & ~AFN_DATAGRAM_PAUSED) ||
        size < sizeof(size))
        return -EINVAL;
    datagram = calloc(1, sizeof(*datagram));
    if (!datagram)
        return -ENOMEM;
    memcpy(&datagram->handler, handler,
           size < sizeof(datagram->handler) ? size : sizeof(datagram->handler));
    datagram->references = 1;
    datagram->fd = fd;
    datagram->user = user;
    datagram->marks = AFN__WATERMARKS_INITIAL;
    datagram->header_size = HEADER_SIZE;
    datagram->retry.fire = afn__datagram_end_retry;
    datagram->is_reading = !(flags & AFN_DATAGRAM_PAUSED);
    datagram->is_writable = true;
    datagram->source.run = run;
    datagram->source.destroy = destroy;
    result = datagram->handler.received ? afn__datagram_prepare_reactor(reactor) : -EINVAL;
    if (result == 0)
        result = afn__sys_get_kind(fd, &datagram->kind);
    if (result == 0)
        result = afn__sys_set_nonblocking(fd);
    if (result == 0)
        result = afn__source_add(&datagram->source, reactor, fd, EPOLLIN);
    if (result < 0) {
        free(datagram);
        return result;
    }
    *ret_datagram = datagram;
    return 0;
}

struct afn_datagram *afn_datagram_ref(struct afn_datagram *datagram)
{
    datagram->references++;
    return datagram;
}

struct afn_datagram *afn_datagram_unref(struct afn_datagram *datagram)
{
    if (!datagram || --datagram->references)
        return NULL;
    /* As with a stream: a callback may be running, and the memory stays until dispatch ends. */
    datagram->is_lost = datagram->is_closing = datagram->has_told_closed = true;
    afn__source_remove(&datagram->source);
    afn__reactor_stop_timer(datagram->source.reactor, &datagram->retry);
    close_fd(datagram);
    afn__source_bury(&datagram->source);
    return NULL;
}

/* ---- what the program steers, and asks ---- */

void afn_datagram_pause_reading(struct afn_datagram *datagram)
{
    AFN__SHOW(datagram->is_reading, false);
}

void afn_datagram_resume_reading(struct afn_datagram *datagram)
{
    if (datagram->is_reading)
        return;
    AFN__SHOW(datagram->is_reading, true);
    if (!datagram->is_lost)
        afn__source_schedule(&datagram->source);
}

bool afn_datagram_is_reading(const struct afn_datagram *datagram)
{
    return AFN__GLANCE(datagram->is_reading) && !AFN__GLANCE(datagram->is_closing);
}

/* Outlives the references of the program until closed was told. */
static void retain(struct afn_datagram *datagram)
{
    if (datagram->is_kept || datagram->has_told_closed)
        return;
    datagram->is_kept = true;
    afn_datagram_ref(datagram);
}

void afn_datagram_close(struct afn_datagram *datagram)
{
    retain(datagram);
    if (datagram->is_closing)
        return;
    AFN__SHOW(datagram->is_closing, true);
    afn__packets_clear(&datagram->inbox);
    afn__source_schedule(&datagram->source);
}

void afn_datagram_abort(struct afn_datagram *datagram, int error)
{
    retain(datagram);
    afn__datagram_lose(datagram, error > 0 ? -error : error);
}

bool afn_datagram_is_closing(const struct afn_datagram *datagram)
{
    return AFN__GLANCE(datagram->is_closing);
}

int afn_datagram_get_fd(const struct afn_datagram *datagram)
{
    return datagram->is_fd_taken ? -1 : datagram->fd;
}

int afn_datagram_take_fd(struct afn_datagram *datagram)
{
    if (!datagram->has_told_closed)
        return -EBUSY;
    if (datagram->is_fd_taken || datagram->fd < 0)
        return -EBADF;
    datagram->is_fd_taken = true;
    return datagram->fd;
}

int afn_datagram_get_stats(const struct afn_datagram *datagram,
                           struct afn_datagram_stats *ret_stats, size_t size)
{
    struct afn_datagram_stats stats = datagram->stats;

    if (!ret_stats || !size)
        return -EINVAL;
    stats.high_water_hits = datagram->marks.hits;
    memset(ret_stats, 0, size);
    memcpy(ret_stats, &stats, size < sizeof(stats) ? size : sizeof(stats));
    return 0;
}
