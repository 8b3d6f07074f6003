/* SPDX-License-Identifier: MIT */
/*
 * What a TLS server needs beside its protocol and its event loop.
 *
 * The loop watches afn_reactor_get_fd(server.reactor) for reading, calls afn_reactor_dispatch() when
 * it is readable, and server_stop() on a signal.  It ends when server_is_over().
 */
#ifndef SERVER_H
#define SERVER_H

#include <aiofastnet/aiofastnet.h>
#include <openssl/ssl.h>
#include <stdbool.h>

/* The user of each stream.  A protocol that must remember more puts this first in a structure of its
 * own. */
struct client {
    struct server *server;
    struct afn_stream *stream;
    struct client *next, **link;
};

/* The protocol fills in the first three members, zeroes the rest, and opens it. */
struct server {
    const struct afn_stream_handler *handler; /* its closed calls server_forget() */
    size_t client_size;
    void (*finish)(struct client *client); /* at a stop; NULL is afn_stream_close() */
    struct afn_reactor *reactor;
    struct afn_listener *listener;
    struct client *clients;
    SSL_CTX *tls;
    int fd;
};

/* Listens on that port of the loopback interface, 0 for any, and prints which one it is.  Returns
 * false after it has said why not; then there is nothing to close. */
bool server_open(struct server *server, const char *port, const char *certificate, const char *key);

/* Drops a client whose stream was closed. */
void server_forget(struct client *client, int error);

/* Accepts no more clients, and lets those there are finish; a second call aborts them. */
void server_stop(struct server *server);

/* True once it was stopped and the last client is gone. */
bool server_is_over(const struct server *server);

void server_close(struct server *server);

#endif
