/* SPDX-License-Identifier: MIT */
/* echo-client PORT [CA.pem]: sends its input, over TLS if there is a CA, and prints the answers. */
#include <aiofastnet/aiofastnet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct afn_reactor *reactor;
static struct afn_stream *stream;
static SSL_CTX *tls;    /* NULL: no TLS */
static int wants_input; /* of the user */
static int result;      /* 0 or what went wrong */
static volatile sig_atomic_t is_over;

static void stop(int number)
{
    (void)number;
    is_over = 1;
    afn_reactor_wakeup(reactor);
}

static void on_data(struct afn_stream *from, void *user, const void *data, size_t length)
{
    (void)from, (void)user;
    fwrite(data, 1, length, stdout);
}

static void on_writable(struct afn_stream *to, void *user)
{
    (void)to, (void)user;
    wants_input = 1;
}

static void on_closed(struct afn_stream *from, void *user, int error)
{
    (void)user;
    stream = afn_stream_unref(from);
    result = error;
    is_over = 1;
}

static int start_tls(void)
{
    struct afn_tls_options options = {
        .size = sizeof options, .handshake_timeout = 10000000, .shutdown_timeout = 10000000};
    SSL *ssl = SSL_new(tls);
    int error = AFN_ERR_TLS;

    if (ssl != NULL && SSL_set1_host(ssl, "localhost") == 1) {
        SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
        SSL_set_connect_state(ssl);
        error = afn_stream_start_tls(stream, ssl, &options);
    }
    SSL_free(ssl); /* the stream has a reference of its own */
    return error;
}

static void on_connected(struct afn_connect *attempt, void *user, int fd)
{
    static const struct afn_stream_handler handler = {
        .size = sizeof handler, .data = on_data, .writable = on_writable, .closed = on_closed};

    (void)attempt, (void)user;
    result = fd < 0 ? fd : afn_stream_new(reactor, fd, &handler, NULL, 0, &stream);
    if (fd >= 0 && result < 0)
        close(fd); /* it belongs to the stream on success only */
    if (result == 0 && tls != NULL)
        result = start_tls();
    is_over |= result < 0;
    wants_input = result == 0;
}

static void send_input(void)
{
    char buffer[16384];
    ssize_t count = read(STDIN_FILENO, buffer, sizeof buffer);

    wants_input = count > 0 && afn_stream_write(stream, buffer, (size_t)count) == 0;
    if (count <= 0)
        afn_stream_write_eof(stream); /* the answers still come */
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((in_port_t)(argc > 1 ? atoi(argv[1]) : 0))};
    struct afn_connect *attempt = NULL;

    if (argc != 2 && argc != 3)
        return fprintf(stderr, "usage: %s PORT [CA.pem]\n", argv[0]), 2;
    if (argc == 3 && ((tls = SSL_CTX_new(TLS_client_method())) == NULL ||
                      SSL_CTX_load_verify_locations(tls, argv[2], NULL) != 1))
        return ERR_print_errors_fp(stderr), 1;
    if ((result = afn_reactor_new(&reactor)) == 0)
        result = afn_connect_new(reactor, (struct sockaddr *)&address, sizeof address, NULL, 0,
                                 10000000, on_connected, NULL, &attempt);
    signal(SIGINT, stop);
    while (result == 0 && !is_over) { /* a loop of our own is all that it takes */
        struct pollfd items[] = {{.fd = afn_reactor_get_fd(reactor), .events = POLLIN},
                                 {.fd = wants_input ? STDIN_FILENO : -1, .events = POLLIN}};

        if (poll(items, 2, -1) > 0 && items[1].revents != 0)
            send_input();
        afn_reactor_dispatch(reactor); /* harmless when there is nothing to do */
    }
    if (result < 0)
        fprintf(stderr, "%s\n", afn_strerror(result));
    afn_stream_unref(stream);
    afn_connect_unref(attempt);
    afn_reactor_unref(reactor);
    SSL_CTX_free(tls);
    return result < 0;
}
