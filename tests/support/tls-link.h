/* SPDX-License-Identifier: MIT */
#ifndef TLS_LINK_H
#define TLS_LINK_H

#include "certificate.h"
#include "fault-sys.h"
#include "world.h"

/* The variants of a test about TLS: each version, the stream being the client or the server. */
#define TLS_VARIANTS (TLS_VERSIONS * 2)
int variant_get_version(int variant);
int variant_is_server(int variant);

/* The time limits of the links that are opened here, and of others that want them. */
#define HANDSHAKE_LIMIT (60 * SECOND)
#define SHUTDOWN_LIMIT (30 * SECOND)
extern const struct afn_tls_options tls_limits;

/* A world with one link in it, over TCP, with TLS begun on both ends.  handler and options may be
 * NULL. */
void link_open_tls(struct link *link, struct world *world, int variant,
                   const struct afn_stream_handler *handler,
                   const struct afn_tls_options *options);

/* The same with limits, and turns until both ends are secured. */
void link_open_secured(struct link *link, struct world *world, int variant,
                       const struct afn_stream_handler *handler);

/* The end of the link and of its world. */
void link_close_world(struct link *link);

#endif
