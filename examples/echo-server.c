/* SPDX-License-Identifier: MIT */
/* An echo server: echo-server PORT [CERTIFICATE.pem KEY.pem].  With a certificate: TLS. */
#include <aiofastnet/aiofastnet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_CLIENTS 1000

static struct afn_reactor *reactor;
static struct afn_stream *clients[MAX_CLIENTS];
static SSL_CTX *tls; /* NULL: no TLS */

static void stop(int number)
{
    (void)number;
    afn_reactor_stop(reactor);
    afn_reactor_wakeup(reactor);
}

static void on_data(struct afn_stream *stream, void *user, const void *data, size_t length)
{
    (void)user;
    if (afn_stream_write(stream, data, length) == 1)
        afn_stream_pause_reading(stream); /* until the peer has read some */
}

static void on_writable(struct afn_stream *stream, void *user)
{
    (void)user;
    afn_stream_resume_reading(stream);
}

static void on_closed(struct afn_stream *stream, void *user, int error)
{
    struct afn_stream **client = user;

    if (error != 0)
        fprintf(stderr, "connection lost: %s\n", afn_strerror(error));
    *client = afn_stream_unref(stream);
}

static int start_tls(struct afn_stream *stream)
{
    struct afn_tls_options options = {
        .size = sizeof options, .handshake_timeout = 10000000, .shutdown_timeout = 10000000};
    SSL *ssl = SSL_new(tls);
    int result = -ENOMEM;

    if (ssl != NULL) {
        SSL_set_accept_state(ssl);
        result = afn_stream_start_tls(stream, ssl, &options);
    }
    SSL_free(ssl); /* the stream has a reference of its own */
    return result;
}

static void on_accepted(struct afn_listener *listener, void *user, int fd,
                        const struct sockaddr *address, socklen_t length)
{
    static const struct afn_stream_handler handler = {
        .size = sizeof handler, .data = on_data, .writable = on_writable, .closed = on_closed};
    struct afn_stream **client = clients;
    int result = -EMFILE;

    (void)listener, (void)user, (void)address, (void)length;
    while (client < clients + MAX_CLIENTS && *client != NULL)
        client++;
    if (client < clients + MAX_CLIENTS)
        result = afn_stream_new(reactor, fd, &handler, client, 0, client);
    if (result < 0) {
        fprintf(stderr, "connection refused: %s\n", afn_strerror(result));
        close(fd); /* it belongs to the stream on success only */
    } else if (tls != NULL && (result = start_tls(*client)) < 0) {
        afn_stream_abort(*client, result);
    }
}

int main(int argc, char **argv)
{
    static const struct afn_listener_handler handler = {.size = sizeof handler,
                                                        .accepted = on_accepted};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((in_port_t)(argc > 1 ? atoi(argv[1]) : 0))};
    struct afn_listener *listener = NULL;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int result;

    if (argc != 2 && argc != 4)
        return fprintf(stderr, "usage: %s PORT [CERTIFICATE.pem KEY.pem]\n", argv[0]), 2;
    if (argc == 4 && ((tls = SSL_CTX_new(TLS_server_method())) == NULL ||
                      SSL_CTX_use_certificate_chain_file(tls, argv[2]) != 1 ||
                      SSL_CTX_use_PrivateKey_file(tls, argv[3], SSL_FILETYPE_PEM) != 1))
        return ERR_print_errors_fp(stderr), 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 128) < 0)
        return perror("listen"), 1;
    if ((result = afn_reactor_new(&reactor)) == 0 &&
        (result = afn_listener_new(reactor, fd, &handler, NULL, 0, &listener)) == 0) {
        signal(SIGINT, stop);
        result = afn_reactor_run(reactor);
    }
    if (result < 0)
        fprintf(stderr, "%s\n", afn_strerror(result));
    for (int i = 0; i < MAX_CLIENTS; i++)
        afn_stream_unref(clients[i]);
    afn_listener_unref(listener);
    afn_reactor_unref(reactor);
    SSL_CTX_free(tls);
    close(fd);
    return result < 0;
}
