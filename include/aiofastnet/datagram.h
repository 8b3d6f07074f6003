/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_DATAGRAM_H
#define AIOFASTNET_DATAGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/*
 * A datagram socket, bound, connected, both or neither, with a queue for what the kernel does not
 * take at once.  Datagrams are received and, where several wait, sent in batches.
 *
 * Lifetime: as that of a stream.  Dropping the last reference of one that was not closed frees it
 * at once, without I/O and without a callback; after afn_datagram_close() or afn_datagram_abort()
 * the library keeps it alive until the closed callback has returned.
 *
 * Threads: the reactor's.  While one is sure to hold a reference, any other may ask
 * afn_datagram_is_closing(), afn_datagram_is_reading(), afn_datagram_get_write_buffer_size() and
 * afn_datagram_get_write_limits(); what it is told may be out of date.
 */
struct afn_datagram;
struct afn_reactor;

/*
 * What a datagram socket tells its user; all from dispatch.  Set size to
 * sizeof(struct afn_datagram_handler).  Any member but received may be NULL.
 */
struct afn_datagram_handler {
    size_t size;
    /* A datagram, which may be empty, and who sent it; both live as long as the call.  A sender
     * without an address, which Unix sockets know, has an address_length of 0. */
    void (*received)(struct afn_datagram *datagram, void *user, const void *data, size_t length,
                     const struct sockaddr *address, socklen_t address_length);
    /* One datagram was lost, or an earlier one was answered with an error such as -ECONNREFUSED.
     * The socket goes on.  -EMSGSIZE while receiving: a datagram was longer than 256 KiB, which
     * only those of Unix sockets can be, and was dropped. */
    void (*failed)(struct afn_datagram *datagram, void *user, int error);
    /* The write buffer was above the high-water mark and has come down to the low-water mark. */
    void (*writable)(struct afn_datagram *datagram, void *user);
    /* It is gone; exactly once, and last.  The descriptor is still open: afn_datagram_take_fd() may
     * take it. */
    void (*closed)(struct afn_datagram *datagram, void *user, int error);
};

/* Flags of afn_datagram_new(). */
#define AFN_DATAGRAM_PAUSED 1u /* nothing is delivered before afn_datagram_resume_reading() */

/* A watermark that is left as it is, or as the other one implies. */
#define AFN_DATAGRAM_DEFAULT_LIMIT SIZE_MAX

/*
 * Takes a datagram socket, of any address family.
 *
 * Ownership: the descriptor belongs to the library, on success only; it is made non-blocking.  The
 * handler is copied.  The caller gets one reference.
 * Returns: 0, -EINVAL, -ENOMEM or a negative errno of getsockopt(2), fcntl(2) and epoll_ctl(2); the
 *          descriptor may then be non-blocking all the same.
 * Since: 0.1.0
 */
int afn_datagram_new(struct afn_reactor *reactor, int fd,
                     const struct afn_datagram_handler *handler, void *user, unsigned int flags,
                     struct afn_datagram **ret_datagram);

/*
 * Adds or drops a reference.  unref takes NULL and returns NULL.
 *
 * Since: 0.1.0
 */
struct afn_datagram *afn_datagram_ref(struct afn_datagram *datagram);
struct afn_datagram *afn_datagram_unref(struct afn_datagram *datagram);

/*
 * Sends one datagram, which may be empty, to an address or, with NULL, to the one that the socket
 * is connected to.  It leaves at once, or is copied and queued.  Inside a callback of this socket,
 * datagrams after the first are gathered and leave together when the callback returns; those that
 * are sent while several received ones are being delivered leave together too, at the latest with
 * the first callback that returns after 200 microseconds.
 *
 * Returns: 0; 1 from when the write buffer passed the high-water mark until the writable callback,
 *          for which the program should wait; -EPIPE when the socket is closing; -EINVAL for an
 *          address that is too long; -ENOMEM; or the negative errno with which the kernel refused
 *          this datagram, -EMSGSIZE for instance.  A queued one that is refused later is told by
 *          the failed callback.
 * Since: 0.1.0
 */
int afn_datagram_send(struct afn_datagram *datagram, const void *data, size_t length,
                      const struct sockaddr *address, socklen_t address_length);

/*
 * Stops and restarts the delivery of datagrams.  After pause no received callback comes until
 * resume; what the library holds already is delivered from dispatch, never from inside resume.
 *
 * Since: 0.1.0
 */
void afn_datagram_pause_reading(struct afn_datagram *datagram);
void afn_datagram_resume_reading(struct afn_datagram *datagram);
bool afn_datagram_is_reading(const struct afn_datagram *datagram);

/*
 * Sets the marks between which the writable callback works, in bytes of queued datagrams.
 * AFN_DATAGRAM_DEFAULT_LIMIT for high means 64 KiB, or four times low if low is given; for low, a
 * quarter of high.
 *
 * Returns: 0; 1 when the write buffer is now above the high-water mark; -EINVAL when low is above
 *          high, and nothing changed.
 * Since: 0.1.0
 */
int afn_datagram_set_write_limits(struct afn_datagram *datagram, size_t high, size_t low);
void afn_datagram_get_write_limits(const struct afn_datagram *datagram, size_t *ret_high,
                                   size_t *ret_low);

/*
 * Sets what each queued datagram counts in the write buffer besides its bytes, so that a queue of
 * empty ones has a limit too: 8 unless it is set.
 *
 * Returns: 0, or -EBUSY when datagrams are queued.
 * Since: 0.1.0
 */
int afn_datagram_set_header_size(struct afn_datagram *datagram, size_t size);

/*
 * The bytes of the queued datagrams, and their headers.
 *
 * Since: 0.1.0
 */
size_t afn_datagram_get_write_buffer_size(const struct afn_datagram *datagram);

/*
 * Closes: nothing more is delivered, the queue is sent, then the closed callback comes.  A second
 * call changes nothing.
 *
 * Since: 0.1.0
 */
void afn_datagram_close(struct afn_datagram *datagram);

/*
 * Closes now: the queue is dropped, and the closed callback comes from the next dispatch with the
 * given error (0 or negative).  Also speeds up a close that is under way.
 *
 * Since: 0.1.0
 */
void afn_datagram_abort(struct afn_datagram *datagram, int error);

/*
 * True from the moment that close or abort was called.
 *
 * Since: 0.1.0
 */
bool afn_datagram_is_closing(const struct afn_datagram *datagram);

/*
 * The descriptor, or -1 once it is closed or taken.
 *
 * Since: 0.1.0
 */
int afn_datagram_get_fd(const struct afn_datagram *datagram);

/*
 * Takes the descriptor back, unclosed.  Only inside the closed callback.
 *
 * Ownership: the descriptor is the caller's.
 * Returns: the descriptor, -EBUSY before the closed callback, -EBADF when it was taken before.
 * Since: 0.1.0
 */
int afn_datagram_take_fd(struct afn_datagram *datagram);

/* Counters of a datagram socket, since it was made. */
struct afn_datagram_stats {
    uint64_t datagrams_received;
    uint64_t datagrams_sent; /* in the kernel's hands */
    uint64_t bytes_received;
    uint64_t bytes_sent;
    uint64_t receive_calls;   /* system calls */
    uint64_t send_calls;      /* system calls */
    uint64_t high_water_hits; /* how often the write buffer passed the high-water mark */
};

/*
 * Reads the counters.  size is sizeof(struct afn_datagram_stats), as the program was compiled: a
 * library that knows less sets the rest to zero, one that knows more leaves it out.
 *
 * Returns: 0, or -EINVAL when ret_stats is NULL or size is 0.
 * Since: 0.1.0
 */
int afn_datagram_get_stats(const struct afn_datagram *datagram,
                           struct afn_datagram_stats *ret_stats, size_t size);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
