/* SPDX-License-Identifier: MIT */

/*
 * bare-server: what an echo server costs when it is written in C on epoll and OpenSSL and nothing
 * else.  bench/compare divides every other figure by this one's, so it is kept plain and quick: one
 * thread, level-triggered epoll, one receive and one send per message where the protocol allows.
 *
 * It prints its port, then answers each "usage" line on standard input with the processor time it
 * used so far, and ends when standard input does.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

enum { READ_SIZE = 256 * 1024, EVENTS = 256, BACKLOG = 1024, RECORD_SIZE = 16384, PAGE = 4096 };

struct client {
    int fd;
    SSL *ssl;
    bool is_handshaking;
    uint32_t watched;
    unsigned char *queue; /* what the socket would not take; reading waits until it is empty */
    size_t queue_start;
    size_t queue_end;
};

struct server {
    int epoll;
    int listener;
    SSL_CTX *tls;
    unsigned char *buffer;
};

/* What an input or output step came to, besides a number of bytes. */
enum { ENDED = -1, WANTS_READ = -2, WANTS_WRITE = -3 };

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void die_tls(const char *what)
{
    fprintf(stderr, "%s: ", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static void client_free(struct client *client)
{
    SSL_free(client->ssl);
    close(client->fd);
    free(client->queue);
    free(client);
}

static void client_watch(struct server *server, struct client *client, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = client};

    if (client->watched == events)
        return;
    if (epoll_ctl(server->epoll, EPOLL_CTL_MOD, client->fd, &event) < 0)
        die("epoll_ctl");
    client->watched = events;
}

static ssize_t tls_result(struct client *client, int result)
{
    int error = SSL_get_error(client->ssl, result);

    ERR_clear_error();
    if (error == SSL_ERROR_WANT_READ)
        return WANTS_READ;
    if (error == SSL_ERROR_WANT_WRITE)
        return WANTS_WRITE;
    return ENDED;
}

static ssize_t socket_result(ssize_t wants)
{
    return errno == EAGAIN || errno == EINTR ? wants : ENDED;
}

/* Collects the records that have arrived: a full one suggests that more of the message follows. */
static ssize_t client_read_tls(struct client *client, unsigned char *buffer)
{
    size_t got = 0;

    while (got < READ_SIZE) {
        int count = SSL_read(client->ssl, buffer + got, (int)(READ_SIZE - got));

        if (count <= 0) {
            ssize_t result = tls_result(client, count);
            return got > 0 && result == WANTS_READ ? (ssize_t)got : result;
        }
        got += (size_t)count;
        if (count < RECORD_SIZE && !SSL_has_pending(client->ssl))
            break;
    }
    return (ssize_t)got;
}

static ssize_t client_read(struct client *client, unsigned char *buffer)
{
    ssize_t count;

    if (client->ssl != NULL)
        return client_read_tls(client, buffer);
    count = recv(client->fd, buffer, READ_SIZE, 0);
    if (count > 0)
        return count;
    return count == 0 ? ENDED : socket_result(WANTS_READ);
}

static ssize_t client_write(struct client *client, const unsigned char *data, size_t size)
{
    ssize_t count;

    if (client->ssl != NULL) {
        int result = SSL_write(client->ssl, data, (int)size);
        return result > 0 ? result : tls_result(client, result);
    }
    count = send(client->fd, data, size, MSG_NOSIGNAL);
    return count >= 0 ? count : socket_result(WANTS_WRITE);
}

/* Writes until nothing is left or the socket is full.  Returns what was written, or ENDED. */
static ssize_t client_write_some(struct client *client, const unsigned char *data, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t count = client_write(client, data + done, size - done);

        if (count == ENDED)
            return ENDED;
        if (count < 0)
            break;
        done += (size_t)count;
    }
    return (ssize_t)done;
}

static bool client_echo(struct server *server, struct client *client, size_t size)
{
    ssize_t done = client_write_some(client, server->buffer, size);

    if (done == ENDED)
        return false;
    if ((size_t)done == size)
        return true;
    client->queue_start = 0;
    client->queue_end = size - (size_t)done;
    client->queue = malloc(client->queue_end);
    if (client->queue == NULL)
        return false;
    memcpy(client->queue, server->buffer + done, client->queue_end);
    client_watch(server, client, EPOLLOUT);
    return true;
}

static bool client_flush(struct server *server, struct client *client)
{
    ssize_t done = client_write_some(client, client->queue + client->queue_start,
                                     client->queue_end - client->queue_start);

    if (done == ENDED)
        return false;
    client->queue_start += (size_t)done;
    if (client->queue_start < client->queue_end)
        return true;
    free(client->queue);
    client->queue = NULL;
    client_watch(server, client, EPOLLIN);
    return true;
}

static bool client_handshake(struct server *server, struct client *client)
{
    int result = SSL_do_handshake(client->ssl);
    ssize_t wants;

    if (result == 1) {
        client->is_handshaking = false;
        client_watch(server, client, EPOLLIN);
        return true;
    }
    wants = tls_result(client, result);
    if (wants == ENDED)
        return false;
    client_watch(server, client, wants == WANTS_WRITE ? EPOLLOUT : EPOLLIN);
    return true;
}

/* A full buffer may have left records inside OpenSSL, of which epoll knows nothing. */
static bool client_serve_input(struct server *server, struct client *client)
{
    ssize_t count;

    do {
        count = client_read(client, server->buffer);
        if (count < 0)
            return count != ENDED;
        if (!client_echo(server, client, (size_t)count))
            return false;
    } while (count == READ_SIZE && client->queue == NULL);
    return true;
}

/* Returns whether the client stays. */
static bool client_serve(struct server *server, struct client *client)
{
    if (client->is_handshaking) {
        if (!client_handshake(server, client))
            return false;
        if (client->is_handshaking || !SSL_has_pending(client->ssl))
            return true;
    }
    if (client->queue != NULL) {
        if (!client_flush(server, client))
            return false;
        if (client->queue != NULL)
            return true;
    }
    return client_serve_input(server, client);
}

static struct client *client_new(struct server *server, int fd)
{
    struct client *client = calloc(1, sizeof(*client));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    int on = 1;

    if (client == NULL)
        die("calloc");
    client->fd = fd;
    client->watched = EPOLLIN;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (server->tls != NULL) {
        client->ssl = SSL_new(server->tls);
        if (client->ssl == NULL || SSL_set_fd(client->ssl, fd) != 1)
            die_tls("SSL_new");
        SSL_set_accept_state(client->ssl);
        client->is_handshaking = true;
    }
    if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
    return client;
}

static void server_accept(struct server *server)
{
    for (;;) {
        int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
                die("accept4");
            return;
        }
        client_new(server, fd);
    }
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* Answers one line of standard input; returns whether there may be more. */
static bool server_command(void)
{
    struct rusage usage;
    char line[64];
    ssize_t length = read(STDIN_FILENO, line, sizeof(line));

    if (length <= 0)
        return false;
    if (getrusage(RUSAGE_SELF, &usage) < 0)
        die("getrusage");
    printf("{\"user\": %.6f, \"system\": %.6f, \"transport\": \"C\"}\n", seconds(usage.ru_utime),
           seconds(usage.ru_stime));
    fflush(stdout);
    return true;
}

static void server_watch(struct server *server, int fd, void *tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = tag};

    if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

static void server_listen(struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof(address);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (server->listener < 0 ||
        bind(server->listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(server->listener, BACKLOG) < 0 ||
        getsockname(server->listener, (struct sockaddr *)&address, &length) < 0)
        die("listen");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
}

static SSL_CTX *tls_new(const char *certificate, const char *key)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());

    if (tls == NULL || SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION) != 1 ||
        SSL_CTX_use_certificate_chain_file(tls, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1)
        die_tls("certificate");
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* Without it OpenSSL asks the kernel twice for each record: for its header and for its body. */
    SSL_CTX_set_read_ahead(tls, 1);
    return tls;
}

static void server_run(struct server *server)
{
    struct epoll_event events[EVENTS];

    for (;;) {
        int count = epoll_wait(server->epoll, events, EVENTS, -1);

        for (int i = 0; i < count; i++) {
            void *tag = events[i].data.ptr;

            if (tag == server)
                server_accept(server);
            else if (tag != NULL) {
                if (!client_serve(server, tag))
                    client_free(tag);
            } else if (!server_command())
                return;
        }
    }
}

int main(int argc, char **argv)
{
    struct server server = {0};

    if (argc != 1 && argc != 3) {
        fprintf(stderr, "usage: %s [CERTIFICATE KEY]\n", argv[0]);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    if (argc == 3)
        server.tls = tls_new(argv[1], argv[2]);
    /* malloc() begins a big block 16 bytes behind the start of a page, which is the worst place for
     * the kernel's copy on some processors: 64 KiB echoes cost 1.7 times as much. */
    server.buffer = aligned_alloc(PAGE, READ_SIZE);
    server.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (server.buffer == NULL || server.epoll < 0)
        die("start");
    server_listen(&server);
    server_watch(&server, server.listener, &server);
    server_watch(&server, STDIN_FILENO, NULL);
    server_run(&server);
    close(server.listener);
    close(server.epoll);
    free(server.buffer);
    SSL_CTX_free(server.tls);
    return 0;
}
