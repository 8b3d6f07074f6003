/* SPDX-License-Identifier: MIT */
#ifndef WORLD_H
#define WORLD_H

#include <aiofastnet/aiofastnet.h>
#include <stdbool.h>

#include "peer.h"
#include "recorder.h"
#include "sockets.h"

#define WORLD_PEERS 1000

/*
 * A reactor and the peers of its streams, driven by poll(2) on afn_reactor_get_fd() and by nothing
 * else: if that descriptor fails to show work, the test hangs and fails.
 */
struct world {
    struct afn_reactor *reactor;
    struct peer *peers[WORLD_PEERS];
    size_t peer_count;
    unsigned long dispatches;
};

void world_open(struct world *world);
void world_close(struct world *world);
void world_add_peer(struct world *world, struct peer *peer);

/* A stream, its recorder and its peer, connected. */
struct link {
    struct world *world;
    struct recorder recorder;
    struct afn_stream *stream;
    struct peer peer;
    int fd; /* the stream's */
};

/* handler may be NULL for recorder_handler. */
void link_open(struct link *link, struct world *world, enum pair_kind kind,
               const struct afn_stream_handler *handler);

/* TLS on both ends, the stream being the server or the client.  options may be NULL. */
void link_start_tls(struct link *link, int version, int is_server,
                    const struct afn_tls_options *options);

/* Turns until both ends are secured, and nothing is left to do. */
void link_await_secured(struct link *link);

/* TLS without options, and turns until both ends are secured. */
void link_secure(struct link *link, int version, int is_server);

/* Drops the reference of the test and closes the peer. */
void link_close(struct link *link);

/* One turn of a host loop: waits until there is something to do, and does it. */
void pump_wait(struct world *world);

/* Turns until there is nothing to do. */
void pump_idle(struct world *world);

/* Is the reactor's descriptor readable now? */
bool pump_is_ready(const struct world *world);

/* afn_reactor_dispatch(), noting for the recorders that callbacks may come. */
int pump_dispatch(struct world *world);

/* The same for afn_reactor_dispatch_scheduled(). */
int pump_dispatch_scheduled(struct world *world);

/* Turns until the condition holds. */
#define pump_until(world, condition)                                                               \
    while (!(condition))                                                                           \
    pump_wait(world)

#endif
