/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <poll.h>
#include <unistd.h>

#include "certificate.h"
#include "harness.h"

/* Milliseconds without any event after which a test has hung. */
#define PATIENCE 10000

void world_open(struct world *world)
{
    *world = (struct world){0};
    require_equal(afn_reactor_new(&world->reactor), 0);
}

void world_close(struct world *world)
{
    require(afn_reactor_unref(world->reactor) == NULL);
}

void world_add_peer(struct world *world, struct peer *peer)
{
    require(world->peer_count < WORLD_PEERS);
    world->peers[world->peer_count++] = peer;
}

void link_open(struct link *link, struct world *world, enum pair_kind kind,
               const struct afn_stream_handler *handler)
{
    int fds[2];

    sockets_make_pair(kind, fds);
    *link = (struct link){.world = world, .fd = fds[0]};
    peer_open(&link->peer, fds[1]);
    world_add_peer(world, &link->peer);
    require_equal(afn_stream_new(world->reactor, fds[0],
                                 handler != NULL ? handler : &recorder_handler, &link->recorder, 0,
                                 &link->stream),
                  0);
    recorder_open(&link->recorder, link->stream);
}

void link_start_tls(struct link *link, int version, int is_server,
                    const struct afn_tls_options *options)
{
    SSL *ssl = certificate_make_ssl(version, is_server);

    require_equal(afn_stream_start_tls(link->stream, ssl, options), 0);
    require(afn_stream_get_ssl(link->stream) == ssl);
    SSL_free(ssl);
    peer_start_tls(&link->peer, version, !is_server);
}

void link_await_secured(struct link *link)
{
    pump_until(link->world, link->recorder.counts[EVENT_SECURED] == 1 && link->peer.is_secured);
    pump_idle(link->world);
}

void link_secure(struct link *link, int version, int is_server)
{
    link_start_tls(link, version, is_server, NULL);
    link_await_secured(link);
}

void link_close(struct link *link)
{
    require(afn_stream_unref(link->stream) == NULL);
    peer_close(&link->peer);
    recorder_close(&link->recorder);
}

static int pump(struct world *world, int (*dispatch)(struct afn_reactor *reactor))
{
    int result;

    recorder_is_dispatching = true;
    result = dispatch(world->reactor);
    recorder_is_dispatching = false;
    world->dispatches++;
    require(result >= 0);
    return result;
}

int pump_dispatch(struct world *world)
{
    return pump(world, afn_reactor_dispatch);
}

int pump_dispatch_scheduled(struct world *world)
{
    return pump(world, afn_reactor_dispatch_scheduled);
}

bool pump_is_ready(const struct world *world)
{
    struct pollfd item = {.fd = afn_reactor_get_fd(world->reactor), .events = POLLIN};

    return poll(&item, 1, 0) == 1;
}

/* Returns whether anything was done. */
static bool turn(struct world *world, int patience)
{
    struct pollfd items[WORLD_PEERS + 1];
    nfds_t count = 1;
    bool has_moved = false;

    for (size_t i = 0; i < world->peer_count; i++)
        has_moved |= peer_step(world->peers[i]);
    items[0] = (struct pollfd){.fd = afn_reactor_get_fd(world->reactor), .events = POLLIN};
    for (size_t i = 0; i < world->peer_count; i++) {
        struct peer *peer = world->peers[i];
        short interest = peer_get_interest(peer);

        if (peer->fd >= 0 && interest != 0)
            items[count++] = (struct pollfd){.fd = peer->fd, .events = interest};
    }
    if (poll(items, count, has_moved ? 0 : patience) <= 0)
        return has_moved;
    if (items[0].revents != 0)
        pump_dispatch(world);
    return true;
}

void pump_wait(struct world *world)
{
    if (!turn(world, PATIENCE))
        harness_fail(__FILE__, __LINE__, "nothing happens any more");
}

void pump_idle(struct world *world)
{
    while (turn(world, 0))
        ;
}
