/* SPDX-License-Identifier: MIT */
#include <aiofastnet/listener.h>

#include "reactor.h"
#include "sys.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_BATCH 64

/* How long to let descriptors and memory come back, microseconds. */
#define RETRY_DELAY 1000000

struct afn_listener {
    struct afn__source source; /* first */
    unsigned int references;
    int fd;
    unsigned int max_batch;
    struct afn_listener_handler handler;
    void *user;
    struct afn__timer retry;
    bool is_closed;
};

/* One connection is gone before it was accepted; the next one may be all right. */
static bool is_of_connection(int error)
{
    return error == -ECONNABORTED || error == -EPROTO || error == -ENETDOWN ||
           error == -ENETUNREACH || error == -EHOSTDOWN || error == -EHOSTUNREACH ||
           error == -ENOPROTOOPT || error == -ENONET;
}

/* The listener itself is unusable. */
static bool is_fatal(int error)
{
    return error == -EBADF || error == -EINVAL || error == -ENOTSOCK || error == -EOPNOTSUPP ||
           error == -EFAULT;
}

static void tell_failed(struct afn_listener *listener, int error)
{
    if (listener->handler.failed)
        listener->handler.failed(listener, listener->user, error);
}

static void end_retry(struct afn__timer *timer)
{
    struct afn_listener *listener =
        (struct afn_listener *)((char *)timer - offsetof(struct afn_listener, retry));

    afn__source_schedule(&listener->source);
}

static void fail(struct afn_listener *listener, int error)
{
    if (is_fatal(error))
        afn_listener_close(listener);
    else if (afn__reactor_start_timer(listener->source.reactor, &listener->retry, RETRY_DELAY) < 0)
        afn__source_schedule(&listener->source);
    tell_failed(listener, error);
}

static void run(struct afn__source *source, uint32_t events)
{
    struct afn_listener *listener = (struct afn_listener *)source;

    (void)events;
    /* New connections do not end the wait after a shortage. */
    if (listener->retry.position)
        return;
    /* A callback may close it and drop it: the memory stays until the end of the dispatch. */
    for (unsigned int i = 0; !listener->is_closed; i++) {
        struct sockaddr_storage address;
        socklen_t length;
        int fd;

        if (i == listener->max_batch || source->reactor->is_stopped) {
            afn__source_schedule(source);
            break;
        }
        fd = afn__sys_accept(listener->fd, &address, &length);
        if (fd == -EAGAIN)
            break;
        if (fd >= 0) {
            listener->handler.accepted(listener, listener->user, fd,
                                       (const struct sockaddr *)&address, length);
        } else if (!is_of_connection(fd)) {
            fail(listener, fd);
            break;
        }
    }
}

static void destroy(struct afn__source *source)
{
    free(source);
}

int afn_listener_new(struct afn_reactor *reactor, int fd, const struct afn_listener_handler *handler,
                     void *user, unsigned int max_batch, struct afn_listener **ret_listener)
{
    struct afn_listener *listener;
    size_t size = handler ? handler->size : 0;
    int result;

    if (!reactor || fd < 0 || !ret_listener || size < sizeof(size))
        return -EINVAL;
    listener = calloc(1, sizeof(*listener));
    if (!listener)
        return -ENOMEM;
    memcpy(&listener->handler, handler,
           size < sizeof(listener->handler) ? size : sizeof(listener->handler));
    listener->references = 1;
    listener->fd = fd;
    listener->user = user;
    listener->max_batch = max_batch ? max_batch : DEFAULT_BATCH;
    listener->retry.fire = end_retry;
    listener->source.run = run;
    listener->source.destroy = destroy;
    result = listener->handler.accepted ? afn__sys_set_nonblocking(fd) : -EINVAL;
    if (result == 0)
        result = afn__source_add(&listener->source, reactor, fd, EPOLLIN);
    if (result < 0) {
        free(listener);
        return result;
    }
    *ret_listener = listener;
    return 0;
}

void afn_listener_close(struct afn_listener *listener)
{
    if (listener->is_closed)
        return;
    listener->is_closed = true;
    afn__reactor_stop_timer(listener->source.reactor, &listener->retry);
    afn__source_remove(&listener->source);
}

struct afn_listener *afn_listener_ref(struct afn_listener *listener)
{
    listener->references++;
    return listener;
}

struct afn_listener *afn_listener_unref(struct afn_listener *listener)
{
    if (!listener || --listener->references)
        return NULL;
    afn_listener_close(listener);
    afn__source_bury(&listener->source);
    return NULL;
}
