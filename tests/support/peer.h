/* SPDX-License-Identifier: MIT */
#ifndef PEER_H
#define PEER_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#include "bytes.h"

/*
 * The other end of a stream: a socket that is read and written whenever the test's pump turns, in
 * the clear or through an ordinary OpenSSL on memory BIOs.  It does nothing behind the test's back,
 * so one thread can be both ends.
 */
struct peer {
    int fd; /* -1 once closed */
    SSL *ssl;

    /* What the test may set at any time. */
    bool is_deaf;   /* does not read from the socket */
    bool is_mute;   /* keeps what it would write to the socket */
    bool is_stuck;  /* does not let OpenSSL work */
    bool is_polite; /* answers close_notify */
    bool ends;      /* shuts the socket down for writing once all is written */

    /* What happened. */
    struct bytes received; /* of the application */
    struct bytes outgoing; /* of the wire, not yet sent */
    struct bytes waiting;  /* of the application, until the handshake is complete */
    bool has_eof;
    bool is_secured;
    bool is_notified; /* got close_notify */
    bool has_ended;
    int error;     /* errno of the socket */
    int ssl_error; /* SSL_get_error() of the first call that failed for good */
    unsigned long tls_error;
};

/* Takes the descriptor, which must be non-blocking. */
void peer_open(struct peer *peer, int fd);
void peer_close(struct peer *peer);
void peer_reset(struct peer *peer);

/* From now on the peer speaks TLS. */
void peer_start_tls(struct peer *peer, int version, int is_server);
void peer_shut_down_tls(struct peer *peer);
void peer_update_key(struct peer *peer, int type);

void peer_write(struct peer *peer, const void *data, size_t length);
void peer_write_text(struct peer *peer, const char *text);

/* Sends bytes that did not go through TLS. */
void peer_write_wire(struct peer *peer, const void *data, size_t length);

/* Does what can be done without waiting.  Returns whether anything moved. */
bool peer_step(struct peer *peer);

/* What poll(2) should wait for. */
short peer_get_interest(const struct peer *peer);

#endif
