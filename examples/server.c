/* SPDX-License-Identifier: MIT */
#include "server.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Microseconds. */
#define HANDSHAKE_TIMEOUT 10000000
#define SHUTDOWN_TIMEOUT 10000000

/* ---- clients ---- */

static void remember(struct server *server, struct client *client)
{
    client->server = server;
    client->link = &server->clients;
    client->next = server->clients;
    if (client->next)
        client->next->link = &client->next;
    server->clients = client;
}

static void forget(struct client *client)
{
    *client->link = client->next;
    if (client->next)
        client->next->link = client->link;
    afn_stream_unref(client->stream);
    free(client);
}

void server_forget(struct client *client, int error)
{
    struct server *server = client->server;
    unsigned long detail = afn_stream_get_tls_error(client->stream);
    const char *reason = detail ? ERR_reason_error_string(detail) : NULL;

    if (error < 0)
        fprintf(stderr, "connection lost: %s%s%s\n", afn_strerror(error), reason ? ": " : "",
                reason ? reason : "");
    forget(client);
    if (server_is_over(server))
        afn_reactor_stop(server->reactor); /* for programs in afn_reactor_run() */
}

static int start_tls(const struct server *server, struct afn_stream *stream)
{
    const struct afn_tls_options options = {.size = sizeof(options),
                                            .handshake_timeout = HANDSHAKE_TIMEOUT,
                                            .shutdown_timeout = SHUTDOWN_TIMEOUT};
    SSL *ssl = SSL_new(server->tls);
    int result;

    if (!ssl)
        return -ENOMEM;
    SSL_set_accept_state(ssl);
    result = afn_stream_start_tls(stream, ssl, &options);
    SSL_free(ssl); /* the stream has a reference of its own */
    return result;
}

static void on_accepted(struct afn_listener *listener, void *user, int fd,
                        const struct sockaddr *address, socklen_t length)
{
    struct server *server = user;
    struct client *client = calloc(1, server->client_size);
    int result = -ENOMEM;

    (void)listener, (void)address, (void)length;
    if (client)
        result = afn_stream_new(server->reactor, fd, server->handler, client, 0, &client->stream);
    if (result < 0) {
        fprintf(stderr, "connection refused: %s\n", afn_strerror(result));
        free(client);
        close(fd); /* it belongs to the stream on success only */
        return;
    }
    remember(server, client);
    result = start_tls(server, client->stream);
    if (result < 0)
        afn_stream_abort(client->stream, result); /* the closed callback follows */
}

static void on_failed(struct afn_listener *listener, void *user, int error)
{
    (void)listener, (void)user;
    fprintf(stderr, "accepting failed: %s\n", afn_strerror(error));
}

/* ---- the server ---- */

static bool load_certificate(struct server *server, const char *certificate, const char *key)
{
    server->tls = SSL_CTX_new(TLS_server_method());
    if (server->tls && SSL_CTX_use_certificate_chain_file(server->tls, certificate) == 1 &&
        SSL_CTX_use_PrivateKey_file(server->tls, key, SSL_FILETYPE_PEM) == 1)
        return true;
    ERR_print_errors_fp(stderr);
    return false;
}

static bool listen_on(struct server *server, const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char *end;
    unsigned long number = strtoul(port, &end, 10);

    if (end == port || *end || number > 65535) {
        fprintf(stderr, "not a port: %s\n", port);
        return false;
    }
    address.sin_port = htons((in_port_t)number);
    server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server->fd < 0 ||
        setsockopt(server->fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) ||
        bind(server->fd, (struct sockaddr *)&address, sizeof(address)) ||
        listen(server->fd, SOMAXCONN)) {
        fprintf(stderr, "port %s: %s\n", port, strerror(errno));
        return false;
    }
    return true;
}

static bool start_accepting(struct server *server)
{
    static const struct afn_listener_handler handler = {
        .size = sizeof(handler), .accepted = on_accepted, .failed = on_failed};
    int result = afn_reactor_new(&server->reactor);

    if (result == 0)
        result =
            afn_listener_new(server->reactor, server->fd, &handler, server, 0, &server->listener);
    if (result < 0)
        fprintf(stderr, "%s\n", afn_strerror(result));
    return result == 0;
}

static void announce(const struct server *server)
{
    struct sockaddr_in address = {.sin_port = 0};

    getsockname(server->fd, (struct sockaddr *)&address, &(socklen_t){sizeof(address)});
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
}

bool server_open(struct server *server, const char *port, const char *certificate, const char *key)
{
    server->fd = -1;
    if (!load_certificate(server, certificate, key) || !listen_on(server, port) ||
        !start_accepting(server)) {
        server_close(server);
        return false;
    }
    announce(server);
    return true;
}

static void stop_accepting(struct server *server)
{
    server->listener = afn_listener_unref(server->listener);
    if (server->fd >= 0)
        close(server->fd);
    server->fd = -1;
}

void server_stop(struct server *server)
{
    bool is_first = server->listener != NULL;

    stop_accepting(server);
    /* No callback comes from these calls, so that the list does not change meanwhile. */
    for (struct client *client = server->clients; client; client = client->next) {
        if (!is_first)
            afn_stream_abort(client->stream, 0);
        else if (server->finish)
            server->finish(client);
        else
            afn_stream_close(client->stream);
    }
}

bool server_is_over(const struct server *server)
{
    return !server->listener && !server->clients;
}

void server_close(struct server *server)
{
    stop_accepting(server);
    while (server->clients)
        forget(server->clients);
    server->reactor = afn_reactor_unref(server->reactor);
    SSL_CTX_free(server->tls);
    server->tls = NULL;
}
