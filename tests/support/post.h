/* SPDX-License-Identifier: MIT */
#ifndef POST_H
#define POST_H

#include <stdbool.h>
#include <sys/socket.h>

#include "bytes.h"
#include "world.h"

enum family { FAMILY_INET, FAMILY_INET_SIX, FAMILY_UNIX, FAMILIES };

/*
 * A datagram socket of the library, and one of the test that it exchanges datagrams with.  It writes
 * down every callback, and fails the test when one comes outside of dispatch, inside another one,
 * while reading is paused, or after closed.
 */
struct post {
    struct world world;
    struct afn_datagram *datagram;
    int fd, peer;
    struct sockaddr_storage address, peer_address;
    socklen_t length, peer_length;
    struct bytes received;
    char story[8192]; /* as in "received(5) failed(-111) writable closed(0)" */
    bool is_paused;
    bool is_inside;
    bool is_over; /* no callback from now on */
    struct sockaddr_storage sender;
    socklen_t sender_length;
    void (*hook)(struct post *post, const char *event);
    unsigned int hooks;
};

extern const struct afn_datagram_handler post_handler;

/* The handler's function, for handlers of fewer members. */
void post_received(struct afn_datagram *datagram, void *user, const void *data, size_t length,
                   const struct sockaddr *address, socklen_t address_length);

void post_open(struct post *post, enum family family);
void post_open_with(struct post *post, enum family family,
                    const struct afn_datagram_handler *with, unsigned int flags);
void post_close(struct post *post);

/* The library's socket is connected to the test's. */
void post_connect(struct post *post);

/* Sends the text to the test's socket: the library's result. */
int post_send(struct post *post, const char *text);

/* Sends from the test's socket to the library's. */
void post_bring(struct post *post, const void *data, size_t length);

/* What the test's socket has got, or NULL. */
const char *post_take(struct post *post);
void require_taken(struct post *post, const char *text);

struct afn_datagram_stats post_get_stats(const struct post *post);

#endif
