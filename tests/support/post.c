/* SPDX-License-Identifier: MIT */
#include "post.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"

static void tell(struct post *post, const char *format, ...)
{
    size_t used = strlen(post->story);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(post->story + used, sizeof post->story - used, format, arguments);
    va_end(arguments);
}

static void begin_event(struct post *post, const struct afn_datagram *datagram)
{
    require(recorder_is_dispatching);
    require(!post->is_inside);
    require(!post->is_over);
    require(datagram == post->datagram);
    post->is_inside = true;
    if (post->story[0] != '\0')
        tell(post, " ");
}

static void end_event(struct post *post, const char *event)
{
    if (post->hook != NULL)
        post->hook(post, event);
    post->is_inside = false;
}

void post_received(struct afn_datagram *datagram, void *user, const void *data, size_t length,
                   const struct sockaddr *address, socklen_t address_length)
{
    struct post *post = user;

    begin_event(post, datagram);
    require(!post->is_paused);
    tell(post, "received(%zu)", length);
    bytes_append(&post->received, data, length);
    require(address_length <= sizeof post->sender);
    memcpy(&post->sender, address, address_length);
    post->sender_length = address_length;
    end_event(post, "received");
}

static void on_failed(struct afn_datagram *datagram, void *user, int error)
{
    begin_event(user, datagram);
    tell(user, "failed(%d)", error);
    end_event(user, "failed");
}

static void on_writable(struct afn_datagram *datagram, void *user)
{
    begin_event(user, datagram);
    tell(user, "writable");
    end_event(user, "writable");
}

static void on_closed(struct afn_datagram *datagram, void *user, int error)
{
    struct post *post = user;

    begin_event(post, datagram);
    tell(post, "closed(%d)", error);
    end_event(post, "closed");
    post->is_over = true;
}

const struct afn_datagram_handler post_handler = {
    .size = sizeof post_handler,
    .received = post_received,
    .failed = on_failed,
    .writable = on_writable,
    .closed = on_closed,
};

static int open_bound(enum family family, struct sockaddr_storage *ret_address,
                      socklen_t *ret_length)
{
    const int domains[] = {AF_INET, AF_INET6, AF_UNIX};
    const socklen_t lengths[] = {sizeof(struct sockaddr_in), sizeof(struct sockaddr_in6),
                                 sizeof(sa_family_t)};
    int fd = socket(domains[family], SOCK_DGRAM | SOCK_CLOEXEC, 0);

    require(fd >= 0);
    memset(ret_address, 0, sizeof *ret_address);
    ret_address->ss_family = (sa_family_t)domains[family];
    if (family == FAMILY_INET)
        ((struct sockaddr_in *)(void *)ret_address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (family == FAMILY_INET_SIX)
        ((struct sockaddr_in6 *)(void *)ret_address)->sin6_addr = in6addr_loopback;
    /* A Unix socket that is bound to no path gets an abstract one. */
    require_equal(bind(fd, (struct sockaddr *)ret_address, lengths[family]), 0);
    *ret_length = sizeof *ret_address;
    require_equal(getsockname(fd, (struct sockaddr *)ret_address, ret_length), 0);
    return fd;
}

void post_open_with(struct post *post, enum family family,
                    const struct afn_datagram_handler *with, unsigned int flags)
{
    memset(post, 0, sizeof *post);
    world_open(&post->world);
    post->fd = open_bound(family, &post->address, &post->length);
    post->peer = open_bound(family, &post->peer_address, &post->peer_length);
    require_equal(fcntl(post->peer, F_SETFL, O_NONBLOCK), 0);
    require_equal(
        afn_datagram_new(post->world.reactor, post->fd, with, post, flags, &post->datagram), 0);
}

void post_open(struct post *post, enum family family)
{
    post_open_with(post, family, &post_handler, 0);
}

void post_connect(struct post *post)
{
    require_equal(
        connect(post->fd, (struct sockaddr *)&post->peer_address, post->peer_length), 0);
}

void post_close(struct post *post)
{
    require(afn_datagram_unref(post->datagram) == NULL);
    if (post->peer >= 0)
        close(post->peer);
    bytes_free(&post->received);
    world_close(&post->world);
}

int post_send(struct post *post, const char *text)
{
    return afn_datagram_send(post->datagram, text, strlen(text),
                             (struct sockaddr *)&post->peer_address, post->peer_length);
}

void post_bring(struct post *post, const void *data, size_t length)
{
    require_equal(sendto(post->peer, data, length, 0, (struct sockaddr *)&post->address,
                         post->length),
                  (ssize_t)length);
}

const char *post_take(struct post *post)
{
    static char text[256];
    ssize_t length = recv(post->peer, text, sizeof text - 1, 0);

    if (length < 0)
        return NULL;
    text[length] = '\0';
    return text;
}

void require_taken(struct post *post, const char *text)
{
    const char *taken = post_take(post);

    require(taken != NULL);
    require_string(taken, text);
}

struct afn_datagram_stats post_get_stats(const struct post *post)
{
    struct afn_datagram_stats stats;

    require_equal(afn_datagram_get_stats(post->datagram, &stats, sizeof stats), 0);
    return stats;
}
