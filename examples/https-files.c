/* SPDX-License-Identifier: MIT */
/*
 * A web server for the files below a directory: HTTPS, GET and HEAD, ranges, and any number of
 * requests on a connection.
 *
 *     https-files PORT CERTIFICATE.pem KEY.pem DIRECTORY [IDLE-SECONDS]
 *
 * A connection holds no more than a request and what the library reads ahead of its client, however
 * long the file and however slow the client.
 */
#define _GNU_SOURCE 1 /* memmem() */
#include "http-request.h"
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define HEAD_SIZE 8192
#define IDLE_SECONDS 30

struct files_client {
    struct client client; /* first */
    char head[HEAD_SIZE]; /* what came and is not answered yet */
    size_t head_length;
    int file;
    uint64_t file_length; /* that the head promised */
    bool is_sending;      /* the file */
    bool is_waiting;      /* for the writable callback */
    bool is_last;         /* the connection ends with this answer */
    uint64_t last_sent;
    unsigned int idle_seconds;
};

static int root; /* the directory */

static void advance(struct files_client *client);

/* ---- files ---- */

/* Goes from a directory, which is closed, to what has that name in it. */
static int descend(int parent, const char *name)
{
    int fd = -EACCES;

    if (strcmp(name, "..") != 0) {
        /* A link might lead outside, and to open a pipe might take for ever. */
        fd = openat(parent, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
            fd = -errno;
    }
    close(parent);
    return fd;
}

/* Opens what is below the directory: one name after the other, so that nothing leads out of it. */
static int open_below(char *path)
{
    bool is_directory = path[strlen(path) - 1] == '/';
    int fd = fcntl(root, F_DUPFD_CLOEXEC, 0);
    char *rest;

    if (fd < 0)
        return -errno;
    for (char *name = strtok_r(path, "/", &rest); name && fd >= 0;
         name = strtok_r(NULL, "/", &rest))
        fd = descend(fd, name);
    return is_directory && fd >= 0 ? descend(fd, "index.html") : fd;
}

/* Regular files only. */
static int open_file(char *path, uint64_t *ret_size)
{
    int fd = open_below(path);
    struct stat status;

    if (fd < 0)
        return fd;
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
        close(fd);
        return -ENOENT;
    }
    *ret_size = (uint64_t)status.st_size;
    return fd;
}

static const char *type_of(const char *path)
{
    static const char *const types[][2] = {
        {".css", "text/css"},       {".html", "text/html"},        {".jpg", "image/jpeg"},
        {".js", "text/javascript"}, {".json", "application/json"}, {".png", "image/png"},
        {".svg", "image/svg+xml"},  {".txt", "text/plain"},        {"/", "text/html"}};
    size_t length = strlen(path);

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        size_t size = strlen(types[i][0]);

        if (length >= size && strcmp(path + length - size, types[i][0]) == 0)
            return types[i][1];
    }
    return "application/octet-stream";
}

/* ---- answers; all of these return what afn_stream_write() did ---- */

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } table[] = {{200, "OK"},
                 {206, "Partial Content"},
                 {400, "Bad Request"},
                 {403, "Forbidden"},
                 {404, "Not Found"},
                 {405, "Method Not Allowed"},
                 {413, "Content Too Large"},
                 {416, "Range Not Satisfiable"},
                 {431, "Request Header Fields Too Large"},
                 {503, "Service Unavailable"},
                 {505, "HTTP Version Not Supported"}};

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].status == status)
            return table[i].reason;
    return "Internal Server Error";
}

static int status_of(int error)
{
    if (error == -EACCES || error == -ELOOP || error == -EPERM)
        return 403;
    if (error == -ENOENT || error == -ENOTDIR || error == -ENAMETOOLONG)
        return 404;
    return error == -EMFILE || error == -ENFILE || error == -ENOMEM ? 503 : 500;
}

static int write_head(struct files_client *client, int status, const char *type, uint64_t length,
                      const char *fields)
{
    char text[1024], date[64];
    time_t now = time(NULL);
    int size;

    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime(&now));
    size = snprintf(text, sizeof(text),
                    "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\n"
                    "Content-Length: %" PRIu64 "\r\n%s%s\r\n",
                    status, reason_of(status), date, type, length, fields,
                    client->is_last ? "Connection: close\r\n" : "");
    return afn_stream_write(client->client.stream, text, (size_t)size);
}

static int refuse(struct files_client *client, int status, bool is_head, const char *fields)
{
    char text[64];
    int size = snprintf(text, sizeof(text), "%d %s\n", status, reason_of(status));
    int result = write_head(client, status, "text/plain", (uint64_t)size, fields);

    if (is_head || result < 0)
        return result;
    return afn_stream_write(client->client.stream, text, (size_t)size);
}

/* The connection is lost, or what was promised cannot be kept; or the next request has its turn. */
static void on_file_sent(struct afn_stream *stream, void *user, uint64_t sent, int error)
{
    struct files_client *client = user;

    close(client->file);
    client->is_sending = false;
    if (error < 0 || sent < client->file_length)
        afn_stream_abort(stream, error < 0 ? error : -EIO);
    else
        advance(client);
}

static int send_body(struct files_client *client, int fd, uint64_t offset, uint64_t length)
{
    int result =
        afn_stream_sendfile(client->client.stream, fd, offset, length, 0, on_file_sent, client);

    client->is_sending = result == 0;
    client->file = fd;
    client->file_length = length;
    return result;
}

static int send_file(struct files_client *client, struct http_request *request)
{
    char fields[128] = "Accept-Ranges: bytes\r\n";
    const char *type = type_of(request->path);
    uint64_t size, offset = 0, length;
    int fd = open_file(request->path, &size), status = 200, result;

    if (fd < 0)
        return refuse(client, status_of(fd), request->is_head, "");
    length = size;
    switch (http_request_range(request, size, &offset, &length)) {
    case HTTP_RANGE_OUTSIDE:
        close(fd);
        snprintf(fields, sizeof(fields), "Content-Range: bytes */%" PRIu64 "\r\n", size);
        return refuse(client, 416, request->is_head, fields);
    case HTTP_RANGE_PART:
        status = 206;
        snprintf(fields, sizeof(fields),
                 "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n", offset,
                 offset + length - 1, size);
        break;
    case HTTP_RANGE_NONE:
        break;
    }
    result = write_head(client, status, type, length, fields);
    if (result >= 0 && !request->is_head && length > 0)
        result = send_body(client, fd, offset, length);
    if (!client->is_sending)
        close(fd);
    return result;
}

/* ---- requests ---- */

/* The bytes of the next request: 0 while it is not complete, HEAD_SIZE + 1 if it never will be. */
static size_t find_request(struct files_client *client)
{
    size_t skip = 0;
    const char *end;

    if (client->is_last)
        return 0;
    while (skip < client->head_length && (client->head[skip] == '\r' || client->head[skip] == '\n'))
        skip++;
    client->head_length -= skip;
    memmove(client->head, client->head + skip, client->head_length);
    end = memmem(client->head, client->head_length, "\r\n\r\n", 4);
    if (end)
        return (size_t)(end - client->head) + 4;
    return client->head_length < HEAD_SIZE ? 0 : HEAD_SIZE + 1;
}

static int take_request(struct files_client *client, size_t length)
{
    struct http_request request = {.keeps_alive = false};
    int status = length > HEAD_SIZE ? 431 : http_request_parse(&request, client->head, length);
    int result;

    client->is_last = status != 0 || !request.keeps_alive;
    if (status)
        return refuse(client, status, request.is_head, status == 405 ? "Allow: GET, HEAD\r\n" : "");
    result = send_file(client, &request);
    client->head_length -= length;
    memmove(client->head, client->head + length, client->head_length);
    return result;
}

static bool is_busy(const struct files_client *client)
{
    return client->is_sending || client->is_waiting;
}

/* Answers what has been asked, one request after the other, as far as that is possible now. */
static void advance(struct files_client *client)
{
    struct afn_stream *stream = client->client.stream;
    size_t length;
    int result = 0;

    if (is_busy(client))
        return;
    afn_stream_cork(stream); /* a head leaves together with its file */
    while (result == 0 && !client->is_sending && (length = find_request(client)) > 0)
        result = take_request(client, length);
    afn_stream_uncork(stream);
    /* Closing has a time limit; a slow client may take as long as it needs before. */
    if (result == 0 && client->is_last && !client->is_sending)
        result = afn_stream_set_write_limits(stream, 0, 0);
    client->is_waiting = result == 1;
    if (result < 0)
        afn_stream_abort(stream, result);
    else if (is_busy(client))
        afn_stream_pause_reading(stream);
    else if (client->is_last)
        afn_stream_close(stream);
    else
        afn_stream_resume_reading(stream);
}

/* ---- callbacks ---- */

/* There is room: a full buffer is a request that is too long, and ends the connection. */
static void on_get_buffer(struct afn_stream *stream, void *user, void **ret_buffer,
                          size_t *ret_length)
{
    struct files_client *client = user;

    (void)stream;
    *ret_buffer = client->head + client->head_length;
    *ret_length = HEAD_SIZE - client->head_length;
}

static void on_buffer_updated(struct afn_stream *stream, void *user, size_t length)
{
    struct files_client *client = user;

    (void)stream;
    client->head_length += length;
    advance(client);
}

static void on_writable(struct afn_stream *stream, void *user)
{
    struct files_client *client = user;

    (void)stream;
    client->is_waiting = false;
    advance(client);
}

static void on_closed(struct afn_stream *stream, void *user, int error)
{
    struct files_client *client = user;

    (void)stream;
    server_forget(&client->client, error);
}

/* At a stop: after the answer that is under way. */
static void finish(struct client *client)
{
    struct files_client *self = (struct files_client *)client;

    self->is_last = true;
    advance(self);
}

/* ---- the program ---- */

/* Once a second.  What counts is what the client takes: neither to say nothing nor to send a
 * request byte by byte keeps a connection. */
static void drop_idle_clients(struct server *server, unsigned int limit)
{
    for (struct client *client = server->clients; client; client = client->next) {
        struct files_client *self = (struct files_client *)client;
        struct afn_stream_stats stats;

        if (afn_stream_get_stats(client->stream, &stats, sizeof(stats)) < 0)
            continue;
        if (stats.bytes_sent != self->last_sent)
            self->idle_seconds = 0;
        else if (++self->idle_seconds > limit && is_busy(self))
            afn_stream_abort(client->stream, -ETIMEDOUT);
        else if (self->idle_seconds > limit)
            afn_stream_close(client->stream);
        self->last_sent = stats.bytes_sent;
    }
}

static int open_signals(void)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int open_clock(void)
{
    const struct itimerspec second = {.it_value.tv_sec = 1, .it_interval.tv_sec = 1};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

    if (fd >= 0)
        timerfd_settime(fd, 0, &second, NULL);
    return fd;
}

static int run(struct server *server, int signal_fd, int clock_fd, unsigned int idle_limit)
{
    struct pollfd items[] = {{.fd = afn_reactor_get_fd(server->reactor), .events = POLLIN},
                             {.fd = signal_fd, .events = POLLIN},
                             {.fd = clock_fd, .events = POLLIN}};
    struct signalfd_siginfo info;
    uint64_t seconds;
    int result = 0;

    while (result >= 0 && !server_is_over(server)) {
        if (poll(items, 3, -1) < 0 && errno != EINTR)
            return -errno;
        if (read(signal_fd, &info, sizeof(info)) == sizeof(info))
            server_stop(server);
        if (read(clock_fd, &seconds, sizeof(seconds)) == sizeof(seconds))
            drop_idle_clients(server, idle_limit);
        result = afn_reactor_dispatch(server->reactor);
    }
    return result;
}

int main(int argc, char **argv)
{
    static const struct afn_stream_handler handler = {.size = sizeof(handler),
                                                      .get_buffer = on_get_buffer,
                                                      .buffer_updated = on_buffer_updated,
                                                      .writable = on_writable,
                                                      .closed = on_closed};
    struct server server = {
        .handler = &handler, .client_size = sizeof(struct files_client), .finish = finish};
    int signal_fd = open_signals(), clock_fd = open_clock(), result;

    if (argc != 5 && argc != 6) {
        fprintf(stderr, "usage: %s PORT CERTIFICATE.pem KEY.pem DIRECTORY [IDLE-SECONDS]\n",
                argv[0]);
        return 2;
    }
    root = open(argv[4], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || signal_fd < 0 || clock_fd < 0) {
        perror(argv[4]);
        return 1;
    }
    if (!server_open(&server, argv[1], argv[2], argv[3]))
        return 1;
    result =
        run(&server, signal_fd, clock_fd, argc > 5 ? (unsigned int)atoi(argv[5]) : IDLE_SECONDS);
    if (result < 0)
        fprintf(stderr, "%s\n", afn_strerror(result));
    server_close(&server);
    close(clock_fd);
    close(signal_fd);
    close(root);
    return result < 0;
}
