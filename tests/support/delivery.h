/* SPDX-License-Identifier: MIT */
#ifndef DELIVERY_H
#define DELIVERY_H

#include <stdint.h>

#include "bytes.h"
#include "certificate.h"
#include "harness.h"
#include "world.h"

/* The ways that a file can take, as variants: WAY_COPIED is TCP without sendfile(2). */
enum way { WAY_UNIX, WAY_TCP, WAY_COPIED, WAY_TLS, WAYS = WAY_TLS + TLS_VERSIONS };

/* One file that is sent; what done told about it. */
struct delivery {
    struct link *link;
    unsigned int calls;
    uint64_t sent;
    int error;
    void (*hook)(struct delivery *delivery);
    void *hook_user;
};

/* For afn_stream_sendfile(), with the delivery as its user: done outside of dispatch, inside
 * another callback, or after closed, fails the test. */
void delivery_done(struct afn_stream *stream, void *user, uint64_t sent, int error);

/* Sends a file, and fails if that is refused. */
void delivery_start(struct delivery *delivery, struct link *link, int file, uint64_t offset,
                    uint64_t count);

#define require_delivered(delivery, length, reason)                                                \
    do {                                                                                           \
        require_equal((delivery)->calls, 1);                                                       \
        require_equal((delivery)->sent, length);                                                   \
        require_equal((delivery)->error, reason);                                                  \
    } while (0)

/* A connection on which files take that way. */
void delivery_open_link(struct link *link, struct world *world, enum way way);

/* A descriptor of a file without a name; content may be NULL. */
int delivery_make_file(const struct bytes *content);

/* A file of so many bytes, which seed makes up, and a world with a connection to send it on. */
struct parcel {
    struct world world;
    struct link link;
    struct bytes content;
    int file;
};

void parcel_open(struct parcel *parcel, enum way way, size_t length, unsigned int seed);
void parcel_close(struct parcel *parcel);

#endif
