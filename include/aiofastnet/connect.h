/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_CONNECT_H
#define AIOFASTNET_CONNECT_H

#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct afn_connect;
struct afn_reactor;

/*
 * The end of an attempt: a connected, non-blocking, close-on-exec socket that now belongs to the
 * callee, or a negative errno (-ETIMEDOUT when the time limit ended it).
 */
typedef void afn_connect_done(struct afn_connect *connect, void *user, int fd_or_error);

/*
 * Starts to connect a new stream socket to an address.
 *
 * local, which may be NULL, is bound first.  timeout is in microseconds, 0 for none but the
 * kernel's.
 *
 * Ownership: addresses are copied; the caller gets one reference.
 * Callbacks: done comes exactly once, from dispatch, unless the attempt is cancelled first.
 * Returns: 0, or a negative errno, and then done never comes.
 * Since: 0.1.0
 */
int afn_connect_new(struct afn_reactor *reactor, const struct sockaddr *address, socklen_t length,
                    const struct sockaddr *local, socklen_t local_length, uint64_t timeout,
                    afn_connect_done *done, void *user, struct afn_connect **ret_connect);

/*
 * Gives up: the socket is closed and done never comes.  Harmless after the end.
 *
 * Since: 0.1.0
 */
void afn_connect_cancel(struct afn_connect *connect);

/*
 * Drops the reference, which cancels an attempt that has not ended.  Takes NULL and returns NULL.
 *
 * Since: 0.1.0
 */
struct afn_connect *afn_connect_unref(struct afn_connect *connect);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
