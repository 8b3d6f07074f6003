/* SPDX-License-Identifier: MIT */
#include <aiofastnet/connect.h>

#include "reactor.h"
#include "sys.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

struct afn_connect {
    struct afn__source source; /* first */
    int fd;
    bool is_referenced; /* by the program */
    bool is_over;
    bool is_running;
    afn_connect_done *done;
    void *user;
    struct afn__timer limit;
};

/* Tells the end, whoever drops the object meanwhile. */
static void finish(struct afn_connect *connect, int result)
{
    connect->is_over = true;
    afn__reactor_stop_timer(connect->source.reactor, &connect->limit);
    afn__source_remove(&connect->source);
    if (result < 0)
        afn__sys_close(connect->fd);
    connect->is_running = true;
    connect->done(connect, connect->user, result < 0 ? result : connect->fd);
    connect->is_running = false;
    if (!connect->is_referenced)
        afn__source_bury(&connect->source);
}

static void run(struct afn__source *source, uint32_t events)
{
    struct afn_connect *connect = (struct afn_connect *)source;

    (void)events;
    finish(connect, afn__sys_get_error(connect->fd));
}

static void end_limit(struct afn__timer *timer)
{
    finish((struct afn_connect *)((char *)timer - offsetof(struct afn_connect, limit)),
           -ETIMEDOUT);
}

static void destroy(struct afn__source *source)
{
    free(source);
}

/* A socket that is connected or about to be; *ret_is_connected says which. */
static int open_socket(const struct sockaddr *address, socklen_t length,
                       const struct sockaddr *local, socklen_t local_length, bool *ret_is_connected)
{
    int fd = afn__sys_socket(address->sa_family);
    int result = 0;

    if (fd < 0)
        return fd;
    if (local)
        result = afn__sys_bind(fd, local, local_length);
    if (result == 0)
        result = afn__sys_connect(fd, address, length);
    *ret_is_connected = result == 0;
    if (result == 0 || result == -EINPROGRESS)
        return fd;
    afn__sys_close(fd);
    return result;
}

int afn_connect_new(struct afn_reactor *reactor, const struct sockaddr *address, socklen_t length,
                    const struct sockaddr *local, socklen_t local_length, uint64_t timeout,
                    afn_connect_done *done, void *user, struct afn_connect **ret_connect)
{
    struct afn_connect *connect;
    bool is_connected;
    int result;

    if (!reactor || !address || !done || !ret_connect)
        return -EINVAL;
    connect = calloc(1, sizeof(*connect));
    if (!connect)
        return -ENOMEM;
    connect->is_referenced = true;
    connect->done = done;
    connect->user = user;
    connect->limit.fire = end_limit;
    connect->source.run = run;
    connect->source.destroy = destroy;
    result = connect->fd = open_socket(address, length, local, local_length, &is_connected);
    if (result < 0)
        goto fail;
    result = afn__source_add(&connect->source, reactor, connect->fd, EPOLLOUT);
    if (result < 0)
        goto fail_opened;
    if (timeout) {
        result = afn__reactor_start_timer(reactor, &connect->limit, timeout);
        if (result < 0)
            goto fail_added;
    }
    if (is_connected)
        afn__source_schedule(&connect->source);
    *ret_connect = connect;
    return 0;
fail_added:
    afn__source_remove(&connect->source);
    afn__sys_close(connect->fd);
    afn__source_bury(&connect->source);
    return result;
fail_opened:
    afn__sys_close(connect->fd);
fail:
    free(connect);
    return result;
}

void afn_connect_cancel(struct afn_connect *connect)
{
    if (connect->is_over)
        return;
    connect->is_over = true;
    afn__reactor_stop_timer(connect->source.reactor, &connect->limit);
    afn__source_remove(&connect->source);
    afn__sys_close(connect->fd);
}

struct afn_connect *afn_connect_unref(struct afn_connect *connect)
{
    if (!connect)
        return NULL;
    afn_connect_cancel(connect);
    connect->is_referenced = false;
    if (!connect->is_running)
        afn__source_bury(&connect->source);
    return NULL;
}
