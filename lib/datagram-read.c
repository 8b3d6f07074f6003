/* SPDX-License-Identifier: MIT */
#include "datagram.h"

#include <errno.h>
#include <stdlib.h>

/* The payload of every IP datagram fits.  Two in a row do not start at the same place of a page, so
 * that short ones do not compete for the same lines of the cache. */
#define SLOT_DATA ((size_t)64 * 1024)
#define SLOT_SIZE (sizeof(struct sockaddr_storage) + SLOT_DATA)

/* What is asked for at once while there is little to receive: headers cost time too. */
#define SMALL_BATCH 4

/* How long what is sent while a batch is delivered may be held back, microseconds. */
#define GATHER_TIME 200

int afn__datagram_prepare_reactor(struct afn_reactor *reactor)
{
    if (!reactor->datagrams)
        reactor->datagrams = malloc(AFN__MESSAGES * SLOT_SIZE);
    return reactor->datagrams ? 0 : -ENOMEM;
}

static bool wants_input(const struct afn_datagram *datagram)
{
    return afn__datagram_goes_on(datagram) && !datagram->is_closing && datagram->is_reading;
}

static void deliver(struct afn_datagram *datagram, const void *data, size_t length,
                    const struct sockaddr *address, socklen_t address_length)
{
    datagram->stats.datagrams_received++;
    datagram->stats.bytes_received += length;
    afn__datagram_enter(datagram);
    datagram->handler.received(datagram, datagram->user, data, length, address, address_length);
    afn__datagram_leave(datagram);
}

/* One datagram of those that were kept; whatever the callback does, it may look at it. */
static void deliver_kept(struct afn_datagram *datagram)
{
    struct afn__packet *packet = afn__packets_take(&datagram->inbox);

    deliver(datagram, packet->data, packet->length, packet->address, packet->address_length);
    free(packet);
}

/* Datagrams of other families than IP may be long, and come one at a time. */
static unsigned int prepare(struct afn_datagram *datagram, struct afn__message *messages)
{
    struct afn_reactor *reactor = datagram->source.reactor;
    unsigned int count = datagram->is_busy ? AFN__MESSAGES : SMALL_BATCH;

    if (datagram->kind != AFN__FD_TCP) {
        messages[0] = (struct afn__message){
            .data = reactor->wire,
            .length = AFN__WIRE_SIZE,
            .address = reactor->datagrams,
            .address_length = sizeof(struct sockaddr_storage),
        };
        return 1;
    }
    for (unsigned int i = 0; i < count; i++)
        messages[i] = (struct afn__message){
            .data = reactor->datagrams + i * SLOT_SIZE + sizeof(struct sockaddr_storage),
            .length = SLOT_DATA,
            .address = reactor->datagrams + i * SLOT_SIZE,
            .address_length = sizeof(struct sockaddr_storage),
        };
    return count;
}

/* What the program does not want now has left the kernel already. */
static void keep(struct afn_datagram *datagram, const struct afn__message *message)
{
    if (datagram->is_closing)
        return;
    if (afn__packets_append(&datagram->inbox, message->data, message->length, message->address,
                            message->address_length) < 0)
        afn__datagram_tell_failed(datagram, -ENOMEM);
}

static void deliver_message(struct afn_datagram *datagram, const struct afn__message *message)
{
    if (message->is_truncated)
        afn__datagram_tell_failed(datagram, -EMSGSIZE);
    else
        deliver(datagram, message->data, message->length, message->address,
                message->address_length);
}

/*
 * What the callbacks of a batch send is gathered too: an echo server then needs one call for many
 * answers.  But the first answer must not wait long for the last question.
 */
static void deliver_batch(struct afn_datagram *datagram, const struct afn__message *messages,
                          unsigned int count)
{
    uint64_t deadline = afn__sys_now() + GATHER_TIME;

    afn__datagram_gather(datagram);
    for (unsigned int i = 0; i < count; i++) {
        if (wants_input(datagram))
            deliver_message(datagram, &messages[i]);
        else
            keep(datagram, &messages[i]);
        if (datagram->outbox.count && afn__sys_now() >= deadline) {
            afn__datagram_leave(datagram);
            afn__datagram_gather(datagram);
            deadline = afn__sys_now() + GATHER_TIME;
        }
    }
    afn__datagram_leave(datagram);
}

/* The socket itself is unusable: asking again would only ask for ever. */
static bool is_fatal(int error)
{
    return error == -EBADF || error == -EINVAL || error == -ENOTSOCK || error == -EOPNOTSUPP ||
           error == -EFAULT || error == -ENOTCONN;
}

static void fail_receiving(struct afn_datagram *datagram, int error)
{
    if (error == -EAGAIN || is_fatal(error))
        datagram->is_readable = datagram->has_hint = false;
    if (error != -EAGAIN)
        afn__datagram_tell_failed(datagram, error);
}

/* Receives a batch and delivers it: how much work that was, in datagrams. */
static unsigned int receive(struct afn_datagram *datagram)
{
    struct afn__message messages[AFN__MESSAGES];
    unsigned int asked = prepare(datagram, messages);
    int count;

    datagram->stats.receive_calls++;
    count = afn__sys_recv_messages(datagram->fd, messages, asked);
    if (count < 0) {
        fail_receiving(datagram, count);
        return 1;
    }
    datagram->is_busy = (unsigned int)count == asked;
    if (!datagram->is_busy) {
        datagram->is_readable = datagram->has_hint;
        datagram->has_hint = false;
    }
    if (count == 1)
        deliver_message(datagram, &messages[0]);
    else
        deliver_batch(datagram, messages, (unsigned int)count);
    return (unsigned int)count;
}

void afn__datagram_read(struct afn_datagram *datagram)
{
    unsigned int total = 0;

    while (wants_input(datagram) && (datagram->inbox.count || datagram->is_readable)) {
        if (total >= AFN__MESSAGES) {
            afn__source_schedule(&datagram->source);
            return;
        }
        if (datagram->inbox.count) {
            deliver_kept(datagram);
            total++;
        } else {
            total += receive(datagram);
        }
    }
}
