/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_LISTENER_H
#define AIOFASTNET_LISTENER_H

#include <stddef.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct afn_listener;
struct afn_reactor;

/*
 * What a listener tells its user.  Set size to sizeof(struct afn_listener_handler).
 */
struct afn_listener_handler {
    size_t size;
    /* A connection was accepted.  The descriptor is non-blocking and close-on-exec, and now belongs
     * to the callee.  The address is that of the peer and lives as long as the call. */
    void (*accepted)(struct afn_listener *listener, void *user, int fd,
                     const struct sockaddr *address, socklen_t length);
    /* Accepting failed.  -EBADF, -EINVAL, -ENOTSOCK, -EOPNOTSUPP and -EFAULT say that the socket is
     * unusable: the listener is closed.  After any other, -EMFILE, -ENFILE, -ENOBUFS and -ENOMEM above
     * all, it pauses for one second and tries again by itself.  One call for each failure, whatever
     * number of connections waits.  May be NULL. */
    void (*failed)(struct afn_listener *listener, void *user, int error);
};

/*
 * Accepts connections on a socket that is already listening, in batches of up to max_batch
 * (0: a default) a dispatch.
 *
 * Ownership: the socket stays the caller's, who closes it after afn_listener_close(); it is made
 * non-blocking.  The handler is copied.  The caller gets one reference.
 * Returns: 0, -EINVAL, -ENOMEM or a negative errno of fcntl(2) and epoll_ctl(2); the socket may then
 *          be non-blocking all the same.
 * Since: 0.1.0
 */
int afn_listener_new(struct afn_reactor *reactor, int fd, const struct afn_listener_handler *handler,
                     void *user, unsigned int max_batch, struct afn_listener **ret_listener);

/*
 * Stops accepting.  No callback comes afterwards.  May be called twice.
 *
 * Since: 0.1.0
 */
void afn_listener_close(struct afn_listener *listener);

/*
 * Adds or drops a reference; the last one closes.  unref takes NULL and returns NULL.
 *
 * Since: 0.1.0
 */
struct afn_listener *afn_listener_ref(struct afn_listener *listener);
struct afn_listener *afn_listener_unref(struct afn_listener *listener);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
