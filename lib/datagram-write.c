/* SPDX-License-Identifier: MIT */
#include "datagram.h"

#include "glance.h"

#include <errno.h>
#include <stddef.h>

/* How long the queue of another Unix socket is left alone when it is full, microseconds: the kernel
 * announces room in it to those who are connected to it only. */
#define RETRY_DELAY 5000

static size_t get_size(const struct afn_datagram *datagram)
{
    return AFN__GLANCE(datagram->outbox.length) +
           AFN__GLANCE(datagram->outbox.count) * AFN__GLANCE(datagram->header_size);
}

/* ---- the queue ---- */

void afn__datagram_end_retry(struct afn__timer *timer)
{
    struct afn_datagram *datagram =
        (struct afn_datagram *)((char *)timer - offsetof(struct afn_datagram, retry));

    datagram->is_writable = true;
    afn__source_schedule(&datagram->source);
}

static void wait_for_room(struct afn_datagram *datagram, bool has_address)
{
    int result;

    datagram->is_writable = false;
    /* Without memory for a timer, the edge of the own queue has to do. */
    if (has_address && datagram->kind == AFN__FD_UNIX && !datagram->retry.position)
        (void)afn__reactor_start_timer(datagram->source.reactor, &datagram->retry, RETRY_DELAY);
    if (datagram->is_watching_out)
        return;
    result = afn__source_watch(&datagram->source, EPOLLIN | EPOLLOUT);
    if (result < 0)
        afn__datagram_lose(datagram, result);
    else
        datagram->is_watching_out = true;
}

/* Each datagram that has left is an edge, so nobody looks when there is nothing to send. */
static void stop_waiting(struct afn_datagram *datagram)
{
    if (datagram->is_watching_out && afn__source_watch(&datagram->source, EPOLLIN) == 0)
        datagram->is_watching_out = false;
}

static unsigned int show_outbox(struct afn_datagram *datagram, struct afn__message *messages)
{
    unsigned int count = 0;

    for (struct afn__packet *packet = datagram->outbox.first; packet && count < AFN__MESSAGES;
         packet = packet->next)
        messages[count++] = (struct afn__message){
            .data = packet->data,
            .length = packet->length,
            .address = packet->address_length ? packet->address : NULL,
            .address_length = packet->address_length,
        };
    return count;
}

static void send_batch(struct afn_datagram *datagram)
{
    struct afn__message messages[AFN__MESSAGES];
    unsigned int count = show_outbox(datagram, messages);
    size_t before = datagram->outbox.length;
    int sent;

    datagram->stats.send_calls++;
    sent = afn__sys_send_messages(datagram->fd, messages, count);
    if (sent >= 0) {
        afn__packets_remove(&datagram->outbox, (size_t)sent);
        datagram->stats.datagrams_sent += (unsigned int)sent;
        datagram->stats.bytes_sent += before - datagram->outbox.length;
    } else if (sent == -EAGAIN) {
        wait_for_room(datagram, messages[0].address != NULL);
    } else {
        afn__packets_remove(&datagram->outbox, 1);
        datagram->send_error = sent;
        afn__source_schedule(&datagram->source);
    }
}

void afn__datagram_flush(struct afn_datagram *datagram)
{
    while (datagram->outbox.count && datagram->is_writable && !datagram->send_error)
        send_batch(datagram);
    if (datagram->is_lost)
        return;
    if (!datagram->outbox.count)
        stop_waiting(datagram);
    if (afn__watermarks_is_low(&datagram->marks, get_size(datagram)) ||
        (datagram->is_closing && !datagram->outbox.count))
        afn__source_schedule(&datagram->source);
}

void afn__datagram_tell_send_error(struct afn_datagram *datagram)
{
    int error = datagram->send_error;

    datagram->send_error = 0;
    if (error)
        afn__datagram_tell_failed(datagram, error);
}

void afn__datagram_tell_writable(struct afn_datagram *datagram)
{
    if (!afn__watermarks_is_low(&datagram->marks, get_size(datagram)))
        return;
    datagram->marks.is_above = false;
    if (!datagram->handler.writable)
        return;
    afn__datagram_enter(datagram);
    datagram->handler.writable(datagram, datagram->user);
    afn__datagram_leave(datagram);
}

/* ---- sending ---- */

/* May this datagram go out now, before any other? */
static bool can_send(const struct afn_datagram *datagram)
{
    return datagram->is_writable && !datagram->has_sent && !datagram->outbox.count &&
           !datagram->send_error;
}

/* A batch of those that were gathered in a callback is worth a call of its own; and who is called
 * must not be told to wait for what has not been tried. */
static bool has_gathered_enough(const struct afn_datagram *datagram)
{
    return datagram->is_writable && (datagram->outbox.count >= AFN__MESSAGES ||
                                     get_size(datagram) > datagram->marks.high);
}

int afn_datagram_send(struct afn_datagram *datagram, const void *data, size_t length,
                      const struct sockaddr *address, socklen_t address_length)
{
    int result;

    if (datagram->is_closing)
        return -EPIPE;
    if (address && address_length > sizeof(struct sockaddr_storage))
        return -EINVAL;
    if (!address)
        address_length = 0;
    if (can_send(datagram)) {
        datagram->has_sent = datagram->callbacks > 0;
        datagram->stats.send_calls++;
        result = afn__sys_send_to(datagram->fd, data, length, address, address_length);
        if (result == 0) {
            datagram->stats.datagrams_sent++;
            datagram->stats.bytes_sent += length;
        }
        if (result != -EAGAIN)
            return result < 0 ? result : datagram->marks.is_above;
        wait_for_room(datagram, address != NULL);
        if (datagram->is_lost)
            return 0;
    }
    result = afn__packets_append(&datagram->outbox, data, length, address, address_length);
    if (result < 0)
        return result;
    if (has_gathered_enough(datagram))
        afn__datagram_flush(datagram);
    return afn__watermarks_rise(&datagram->marks, get_size(datagram));
}

/* ---- watermarks ---- */

int afn_datagram_set_write_limits(struct afn_datagram *datagram, size_t high, size_t low)
{
    int result = afn__watermarks_set(&datagram->marks, high, low);

    if (result < 0)
        return result;
    afn__watermarks_rise(&datagram->marks, get_size(datagram));
    if (afn__watermarks_is_low(&datagram->marks, get_size(datagram)) && !datagram->is_lost)
        afn__source_schedule(&datagram->source);
    return get_size(datagram) > datagram->marks.high;
}

void afn_datagram_get_write_limits(const struct afn_datagram *datagram, size_t *ret_high,
                                   size_t *ret_low)
{
    *ret_high = AFN__GLANCE(datagram->marks.high);
    *ret_low = AFN__GLANCE(datagram->marks.low);
}

int afn_datagram_set_header_size(struct afn_datagram *datagram, size_t size)
{
    if (datagram->outbox.count)
        return -EBUSY;
    AFN__SHOW(datagram->header_size, size);
    return 0;
}

size_t afn_datagram_get_write_buffer_size(const struct afn_datagram *datagram)
{
    return get_size(datagram);
}
