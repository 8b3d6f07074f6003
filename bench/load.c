/* SPDX-License-Identifier: MIT */

/*
 * load: the client side of bench/compare.  One thread drives many connections; each sends a message
 * and waits for all of its echo before it sends the next.
 *
 *   load echo  PORT CONNECTIONS SIZE [tls]   messages over connections that stay
 *   load churn PORT CONNECTIONS              a new connection for each message
 *   load idle  PORT SIZE...                  TLS connections that carry these sizes, then nothing
 *
 * Each line on standard input is an order, each line on standard output the answer: for echo and
 * churn the order is a number of seconds and the answer "REQUESTS SECONDS"; all replies have come
 * back by then, so that the server can be looked at between orders.  For idle each order is a
 * number of connections to add.
 *
 * It must cost less than the server that it drives.  So it never sleeps in epoll_wait() while it
 * measures (the server would pay for waking it up), encrypts a message into memory and sends it
 * with one system call, and compares the ends of what it receives, and all of it only at first.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

enum {
    EVENTS = 256,
    PAGE = 4096,
    MAX_SIZE = 1024 * 1024,
    SHIFTS = 61,               /* message k begins at byte k % SHIFTS of the pattern */
    CHECKED_ENDS = 16,         /* bytes compared at both ends of each piece */
    WHOLE_CHECKS = 8,          /* messages of a connection that are compared in full */
    RECORDS_EXTRA = 64 * 1024, /* more than the records' headers add to a message */
    CHURN_SIZE = 100,
    SOURCES = 200 /* loopback addresses to connect from, or the ports of one would run out */
};

struct connection {
    int fd;
    SSL *ssl;
    size_t received;
    uint64_t sequence;
    unsigned char *rest; /* of a message that the socket did not take in one go */
    size_t rest_start;
    size_t rest_end;
};

struct load {
    struct sockaddr_in server;
    int epoll;
    size_t size;
    bool is_churning;
    bool is_stopping;
    size_t waiting; /* connections whose echo has not come back yet */
    uint64_t requests;
    uint32_t sources;
    SSL_CTX *tls;
    BIO *encrypted; /* where every SSL writes: emptied after each message */
    unsigned char *pattern;
    unsigned char *input;
    unsigned char *output;
};

static void die(const char *what)
{
    if (ERR_peek_error() != 0)
        ERR_print_errors_fp(stderr);
    fprintf(stderr, "load: %s: %s\n", what, errno != 0 ? strerror(errno) : "failed");
    exit(1);
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void connection_watch(struct load *load, struct connection *connection, int operation,
                             uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};

    if (epoll_ctl(load->epoll, operation, connection->fd, &event) < 0)
        die("epoll_ctl");
}

/* connect() blocks: over loopback the handshake is over when it returns. */
static void connection_open(struct load *load, struct connection *connection)
{
    struct sockaddr_in source = {.sin_family = AF_INET};
    int on = 1;

    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->fd < 0)
        die("socket");
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (load->is_churning) {
        source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + load->sources++ % SOURCES);
        setsockopt(connection->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
        if (bind(connection->fd, (struct sockaddr *)&source, sizeof(source)) < 0)
            die("bind");
    }
    if (connect(connection->fd, (struct sockaddr *)&load->server, sizeof(load->server)) < 0)
        die("connect");
    connection_watch(load, connection, EPOLL_CTL_ADD, EPOLLIN);
}

static void connection_start_tls(struct load *load, struct connection *connection)
{
    connection->ssl = SSL_new(load->tls);
    if (connection->ssl == NULL || SSL_set_fd(connection->ssl, connection->fd) != 1 ||
        SSL_connect(connection->ssl) != 1 || BIO_up_ref(load->encrypted) != 1)
        die("TLS handshake");
    if (fcntl(connection->fd, F_SETFL, O_NONBLOCK) < 0)
        die("fcntl");
    SSL_set0_wbio(connection->ssl, load->encrypted);
}

static const unsigned char *connection_message(struct load *load, struct connection *connection)
{
    return load->pattern + connection->sequence % SHIFTS;
}

static size_t connection_encrypt(struct load *load, struct connection *connection)
{
    int count;

    if (SSL_write(connection->ssl, connection_message(load, connection), (int)load->size) !=
        (int)load->size)
        die("SSL_write");
    count = BIO_read(load->encrypted, load->output, MAX_SIZE + RECORDS_EXTRA);
    if (count <= 0)
        die("BIO_read");
    return (size_t)count;
}

static size_t connection_send_some(struct connection *connection, const unsigned char *data,
                                   size_t size)
{
    ssize_t count = send(connection->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (count < 0 && errno != EAGAIN)
        die("send");
    return count < 0 ? 0 : (size_t)count;
}

static void connection_send(struct load *load, struct connection *connection)
{
    const unsigned char *data = connection_message(load, connection);
    size_t size = load->size;
    size_t sent;

    if (connection->ssl != NULL) {
        size = connection_encrypt(load, connection);
        data = load->output;
    }
    connection->received = 0;
    load->waiting++;
    sent = connection_send_some(connection, data, size);
    if (sent == size)
        return;
    connection->rest_start = 0;
    connection->rest_end = size - sent;
    connection->rest = malloc(connection->rest_end);
    if (connection->rest == NULL)
        die("malloc");
    memcpy(connection->rest, data + sent, connection->rest_end);
    connection_watch(load, connection, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

static void connection_send_rest(struct load *load, struct connection *connection)
{
    connection->rest_start +=
        connection_send_some(connection, connection->rest + connection->rest_start,
                             connection->rest_end - connection->rest_start);
    if (connection->rest_start < connection->rest_end)
        return;
    free(connection->rest);
    connection->rest = NULL;
    connection_watch(load, connection, EPOLL_CTL_MOD, EPOLLIN);
}

static void connection_check(struct load *load, struct connection *connection, size_t count)
{
    const unsigned char *expected = connection_message(load, connection) + connection->received;
    size_t end = count < CHECKED_ENDS ? count : CHECKED_ENDS;

    errno = 0;
    if (connection->received + count > load->size)
        die("the echo is too long");
    if (connection->sequence < WHOLE_CHECKS)
        end = count;
    if (memcmp(load->input, expected, end) != 0 ||
        memcmp(load->input + count - end, expected + count - end, end) != 0)
        die("the echo is wrong");
}

/* Returns the number of bytes, 0 if there are none yet. */
static size_t connection_receive(struct load *load, struct connection *connection)
{
    ssize_t count;

    if (connection->ssl == NULL) {
        count = recv(connection->fd, load->input, MAX_SIZE, MSG_DONTWAIT);
        if (count == 0 || (count < 0 && errno != EAGAIN))
            die("recv");
        return count < 0 ? 0 : (size_t)count;
    }
    errno = 0;
    count = SSL_read(connection->ssl, load->input, MAX_SIZE);
    if (count > 0)
        return (size_t)count;
    if (SSL_get_error(connection->ssl, (int)count) != SSL_ERROR_WANT_READ)
        die("SSL_read");
    return 0;
}

static void connection_finish(struct load *load, struct connection *connection)
{
    load->requests++;
    load->waiting--;
    connection->sequence++;
    if (load->is_churning) {
        close(connection->fd);
        connection->fd = -1;
    }
    if (load->is_stopping)
        return;
    if (load->is_churning)
        connection_open(load, connection);
    connection_send(load, connection);
}

static void connection_serve(struct load *load, struct connection *connection)
{
    do {
        size_t count = connection_receive(load, connection);

        if (count == 0)
            return;
        connection_check(load, connection, count);
        connection->received += count;
    } while (connection->received < load->size && connection->ssl != NULL &&
             SSL_has_pending(connection->ssl));
    if (connection->received == load->size && connection->rest == NULL)
        connection_finish(load, connection);
}

/* Runs until every connection has its echo back; from the deadline on, nobody sends a new message.
 */
static void load_run(struct load *load, double deadline)
{
    struct epoll_event events[EVENTS];

    load->is_stopping = false;
    while (load->waiting > 0) {
        int count = epoll_wait(load->epoll, events, EVENTS, 0);

        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        load->is_stopping = now() >= deadline;
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;

            if ((events[i].events & EPOLLOUT) != 0)
                connection_send_rest(load, connection);
            if ((events[i].events & ~(uint32_t)EPOLLOUT) != 0)
                connection_serve(load, connection);
        }
    }
}

static void load_measure(struct load *load, struct connection *connections, size_t count,
                         double seconds)
{
    double start = now();

    load->requests = 0;
    load->is_stopping = false;
    for (size_t i = 0; i < count; i++) {
        if (load->is_churning)
            connection_open(load, &connections[i]);
        connection_send(load, &connections[i]);
    }
    load_run(load, start + seconds);
    printf("%llu %.6f\n", (unsigned long long)load->requests, now() - start);
    fflush(stdout);
}

static void load_echo(struct load *load, size_t count)
{
    struct connection *connections = calloc(count, sizeof(*connections));
    char line[64];

    if (connections == NULL)
        die("calloc");
    for (size_t i = 0; i < count && !load->is_churning; i++) {
        connection_open(load, &connections[i]);
        if (load->tls != NULL)
            connection_start_tls(load, &connections[i]);
    }
    while (fgets(line, sizeof(line), stdin) != NULL)
        load_measure(load, connections, count, strtod(line, NULL));
    for (size_t i = 0; i < count && !load->is_churning; i++) {
        SSL_free(connections[i].ssl);
        close(connections[i].fd);
    }
    free(connections);
}

static void load_idle(struct load *load, char **sizes)
{
    char line[64];

    while (fgets(line, sizeof(line), stdin) != NULL) {
        long count = strtol(line, NULL, 10);
        struct connection *connections = calloc((size_t)count, sizeof(*connections));

        if (connections == NULL)
            die("calloc");
        for (long i = 0; i < count; i++) {
            connection_open(load, &connections[i]);
            connection_start_tls(load, &connections[i]);
            for (char **size = sizes; *size != NULL; size++) {
                load->size = strtoul(*size, NULL, 10);
                connection_send(load, &connections[i]);
                load_run(load, 0);
            }
        }
        printf("%ld\n", count);
        fflush(stdout);
    }
}

static void load_init(struct load *load, const char *port, bool is_tls)
{
    load->server.sin_family = AF_INET;
    load->server.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
    load->server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    load->pattern = malloc(MAX_SIZE + SHIFTS);
    load->input = aligned_alloc(PAGE, MAX_SIZE); /* see server.c */
    load->output = malloc(MAX_SIZE + RECORDS_EXTRA);
    if (load->epoll < 0 || load->pattern == NULL || load->input == NULL || load->output == NULL)
        die("start");
    for (size_t i = 0; i < MAX_SIZE + SHIFTS; i++)
        load->pattern[i] = (unsigned char)((i * 2654435761U) >> 11);
    if (!is_tls)
        return;
    load->encrypted = BIO_new(BIO_s_mem());
    load->tls = SSL_CTX_new(TLS_client_method());
    if (load->encrypted == NULL || load->tls == NULL ||
        SSL_CTX_set_min_proto_version(load->tls, TLS1_3_VERSION) != 1)
        die("SSL_CTX_new");
    SSL_CTX_set_read_ahead(load->tls, 1);
    SSL_CTX_set_default_read_buffer_len(load->tls, 72 * 1024);
    /* What is read from an empty memory BIO is "try again", not the end of the stream. */
    BIO_set_mem_eof_return(load->encrypted, -1);
}

static void load_free(struct load *load)
{
    BIO_free(load->encrypted);
    SSL_CTX_free(load->tls);
    free(load->pattern);
    free(load->input);
    free(load->output);
    close(load->epoll);
}

int main(int argc, char **argv)
{
    struct load load = {0};
    const char *mode = argc > 3 ? argv[1] : "";
    bool is_idle = strcmp(mode, "idle") == 0;
    bool is_tls = is_idle || (argc == 6 && strcmp(argv[5], "tls") == 0);

    load.is_churning = strcmp(mode, "churn") == 0;
    load_init(&load, argc > 2 ? argv[2] : "0", is_tls);
    load.size = CHURN_SIZE;
    if (strcmp(mode, "echo") == 0 && argc > 4)
        load.size = strtoul(argv[4], NULL, 10);
    else if (!load.is_churning && !is_idle) {
        fprintf(stderr, "usage: see the head of load.c\n");
        return 2;
    }
    if (load.size == 0 || load.size > MAX_SIZE)
        die("size");
    if (is_idle)
        load_idle(&load, argv + 3);
    else
        load_echo(&load, strtoul(argv[3], NULL, 10));
    load_free(&load);
    return 0;
}
