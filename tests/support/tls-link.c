/* SPDX-License-Identifier: MIT */
#include "tls-link.h"

const struct afn_tls_options tls_limits = {
    .size = sizeof tls_limits,
    .handshake_timeout = HANDSHAKE_LIMIT,
    .shutdown_timeout = SHUTDOWN_LIMIT,
};

int variant_get_version(int variant)
{
    return certificate_get_version(variant % TLS_VERSIONS);
}

int variant_is_server(int variant)
{
    return variant / TLS_VERSIONS;
}

void link_open_tls(struct link *link, struct world *world, int variant,
                   const struct afn_stream_handler *handler,
                   const struct afn_tls_options *options)
{
    world_open(world);
    link_open(link, world, PAIR_TCP, handler);
    link_start_tls(link, variant_get_version(variant), variant_is_server(variant), options);
}

void link_open_secured(struct link *link, struct world *world, int variant,
                       const struct afn_stream_handler *handler)
{
    link_open_tls(link, world, variant, handler, &tls_limits);
    link_await_secured(link);
}

void link_close_world(struct link *link)
{
    link_close(link);
    world_close(link->world);
}
