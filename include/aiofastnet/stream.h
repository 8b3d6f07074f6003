/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_STREAM_H
#define AIOFASTNET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/*
 * A stream carries bytes both ways over a connected stream socket, in the clear or through TLS
 * (tls.h), with a queue for what the kernel does not take at once.  It does so over terminals and
 * other character devices, too, and one way over pipes.
 *
 * Lifetime: the program holds references.  Dropping the last one of a stream that was not closed
 * frees it at once, without I/O and without a callback.  After afn_stream_close() or
 * afn_stream_abort() the library keeps it alive until the closed callback has returned, so that
 * "close and unref" is the ordinary way to be done with a stream.
 *
 * Threads: the reactor's.  While one is sure to hold a reference, any other may ask
 * afn_stream_is_closing(), afn_stream_is_reading(), afn_stream_get_write_buffer_size() and
 * afn_stream_get_write_limits(); what it is told may be out of date.
 */
struct afn_stream;
struct afn_reactor;

/*
 * What a stream tells its user; all from dispatch.  Set size to sizeof(struct afn_stream_handler).
 * Any member may be NULL, except that one of data and get_buffer is needed to read.
 */
struct afn_stream_handler {
    size_t size;
    /* Bytes from the peer; they live as long as the call. */
    void (*data)(struct afn_stream *stream, void *user, const void *data, size_t length);
    /* Instead of data: where to put the next bytes, and how many were put there.  A length of 0
     * or a NULL buffer means that the user cannot go on: the stream is closed with -ENOBUFS.  The
     * buffer must stay valid until buffer_updated, which follows at once or, when there was
     * nothing to read after all, not at all. */
    void (*get_buffer)(struct afn_stream *stream, void *user, void **ret_buffer,
                       size_t *ret_length);
    void (*buffer_updated)(struct afn_stream *stream, void *user, size_t length);
    /* The peer will send no more: true keeps the stream open for writing, false (as without this
     * member) closes it once the queue is empty. */
    bool (*eof)(struct afn_stream *stream, void *user);
    /* The handshake is complete.  A failed one is told by closed. */
    void (*secured)(struct afn_stream *stream, void *user);
    /* The write buffer was above the high-water mark and has come down to the low-water mark. */
    void (*writable)(struct afn_stream *stream, void *user);
    /* The stream is gone; exactly once, and last.  0 after a close or the peer's end, otherwise
     * the reason.  The descriptor is still open: afn_stream_take_fd() may take it. */
    void (*closed)(struct afn_stream *stream, void *user, int error);
};

/* A piece of memory to be written. */
struct afn_buffer {
    const void *data;
    size_t length;
};

/* Flags of afn_stream_new(). */
#define AFN_STREAM_PAUSED 1u     /* no data is delivered before afn_stream_resume_reading() */
#define AFN_STREAM_READ_ONLY 2u  /* nothing is to be written */
#define AFN_STREAM_WRITE_ONLY 4u /* nothing is to be read */
/* The descriptor stays the caller's, who closes it in the closed callback or after the last unref. */
#define AFN_STREAM_BORROWED 8u

/* A watermark that is left as it is, or as the other one implies. */
#define AFN_STREAM_DEFAULT_LIMIT SIZE_MAX

/*
 * Makes a stream of a connected stream socket (TCP or Unix), of either end of a pipe or FIFO, or of
 * a character device such as a terminal.
 *
 * What is no socket and is open for one direction only, is READ_ONLY or WRITE_ONLY without the
 * flag.  A read-only stream closes after its eof callback, whatever that returns, and takes no
 * writes.  A write-only one gets no data, needs neither data nor get_buffer, and notices when the
 * reader of its pipe or socket is gone: the closed callback then has -EPIPE if bytes were queued,
 * otherwise 0.  afn_stream_write_eof() closes it.  Neither can be given an engine.
 *
 * A write never raises SIGPIPE.  On what is no socket that takes three more system calls, or one
 * when the program ignores the signal.
 *
 * Ownership: the descriptor belongs to the stream, on success only, and unless it is BORROWED; it is
 * made non-blocking, and so is whatever else shares its open file description.  The handler is
 * copied.  The caller gets one reference.
 * Returns: 0, -EINVAL, also for a direction for which the descriptor is not open; -EPERM for a
 *          regular file and everything else that no event tells of; -ENOMEM; or a negative errno of
 *          getsockopt(2), fstat(2), fcntl(2) and epoll_ctl(2).  The descriptor may then be
 *          non-blocking all the same.
 * Since: 0.1.0
 */
int afn_stream_new(struct afn_reactor *reactor, int fd, const struct afn_stream_handler *handler,
                   void *user, unsigned int flags, struct afn_stream **ret_stream);

/*
 * Adds or drops a reference.  unref takes NULL and returns NULL.
 *
 * Since: 0.1.0
 */
struct afn_stream *afn_stream_ref(struct afn_stream *stream);
struct afn_stream *afn_stream_unref(struct afn_stream *stream);

/*
 * Puts another handler and user in the place of those of afn_stream_new().
 *
 * Returns: 0 or -EINVAL.
 * Since: 0.1.0
 */
int afn_stream_set_handler(struct afn_stream *stream, const struct afn_stream_handler *handler,
                           void *user);

/*
 * Writes.  What the kernel takes at once leaves at once; the rest is queued.  Inside a callback of
 * this stream, writes after the first are gathered and leave together when the callback returns.
 *
 *   write      copies what it must keep.
 *   write_ref  keeps a pointer: the memory must not change until release(user) is called, which
 *              happens exactly once, from this or from any later call on the stream, also when the
 *              result is an error.  release must not call the library, and may be NULL.
 *   writev     is write of many pieces, in as few system calls as possible.
 *
 * An error of the socket is not a result of the write that met it: the closed callback tells it,
 * after what the peer had already sent was delivered.  A program that has paused reading gets it at
 * once, since it may be waiting for this stream.
 *
 * Returns: 0; 1 from when the write buffer passed the high-water mark until the writable callback,
 *          for which the program should wait; -EPIPE when the stream is closing, lost, or was ended by
 *          write_eof, and the bytes are dropped; -ENOMEM, and nothing was written, unless the
 *          stream is closing now: then part of it had already left.
 * Since: 0.1.0
 */
int afn_stream_write(struct afn_stream *stream, const void *data, size_t length);
int afn_stream_write_ref(struct afn_stream *stream, const void *data, size_t length,
                         void (*release)(void *user), void *user);
int afn_stream_writev(struct afn_stream *stream, const struct afn_buffer *buffers, size_t count);

/*
 * Holds writes back, whatever the callback, until as many uncorks: then they leave together.
 *
 * Since: 0.1.0
 */
void afn_stream_cork(struct afn_stream *stream);
void afn_stream_uncork(struct afn_stream *stream);

/* A count for all of a file from the offset on, as long as it is when its end is reached. */
#define AFN_SENDFILE_TO_END UINT64_MAX

/* Flags of afn_stream_sendfile(). */
#define AFN_SENDFILE_BY_KERNEL 1u /* by sendfile(2), or not at all */

/*
 * How a file was sent: so many bytes are in the kernel's hands, or encrypted; error is 0 when that
 * is all of them, or all that the file had, or else the reason why there are no more: what pread(2)
 * said; -EOPNOTSUPP when AFN_SENDFILE_BY_KERNEL cannot be done with this file; or, when the stream
 * is lost, the reason of that, -ECANCELED if there is none.
 */
typedef void afn_sendfile_done(struct afn_stream *stream, void *user, uint64_t sent, int error);

/*
 * Sends count bytes of a file, from offset on, behind what was written before, and before what will
 * be written after.  The position of the file is neither used nor moved.  What was written behind
 * leaves only after done has returned, so that it can call afn_stream_abort() when the file was cut
 * short.
 *
 * Without an engine that is sendfile(2); where that does not work, and with TLS, the library reads a
 * little at a time, whenever the peer has taken what was read before.  Reading from a slow disk
 * blocks.  A file does not count as part of the write buffer: who wants to go on when it is sent
 * waits for done.
 *
 * Ownership: the descriptor stays the caller's, who must not close it before done, or before
 * afn_stream_cancel_sendfile() or afn_stream_unref() with the last reference has returned.  It is
 * one that pread(2) can read.
 * Callbacks: done comes exactly once, from dispatch, and before closed; unless it is cancelled
 * first, or the last reference is dropped.  It is needed.
 * Returns: 0; or, and then done never comes: -EPIPE as afn_stream_write(); -EINVAL; -ENOMEM;
 *          -EOPNOTSUPP when the kernel must, and cannot because of TLS.
 * Since: 0.1.0
 */
int afn_stream_sendfile(struct afn_stream *stream, int file, uint64_t offset, uint64_t count,
                        unsigned int flags, afn_sendfile_done *done, void *user);

/*
 * Sends no more of the first file that was given with this user pointer and whose done has not come
 * yet.  It will not come.
 *
 * Returns: how many bytes were sent, or -ENOENT when there is none such.
 * Since: 0.1.0
 */
int64_t afn_stream_cancel_sendfile(struct afn_stream *stream, const void *user);

/*
 * Ends the sending direction once the queue is empty: shutdown(2), or close_notify on TLS.  Reading
 * goes on; a stream that is write-only closes.
 *
 * Returns: 0, also when called before; -EPIPE when the stream is closing, lost or read-only;
 *          -EOPNOTSUPP on a device that is read as well.
 * Since: 0.1.0
 */
int afn_stream_write_eof(struct afn_stream *stream);

/*
 * Stops and restarts the delivery of data and of the end.  After pause no data callback comes until
 * resume; what was read meanwhile is delivered from dispatch, never from inside resume.
 *
 * Since: 0.1.0
 */
void afn_stream_pause_reading(struct afn_stream *stream);
void afn_stream_resume_reading(struct afn_stream *stream);
bool afn_stream_is_reading(const struct afn_stream *stream);

/*
 * Sets the marks between which the writable callback works, in bytes not yet in the kernel's hands.
 * AFN_STREAM_DEFAULT_LIMIT for high means 64 KiB, or four times low if low is given; for low, a
 * quarter of high.
 *
 * Returns: 0; 1 when the write buffer is now above the high-water mark; -EINVAL when low is above
 *          high, and nothing changed.
 * Since: 0.1.0
 */
int afn_stream_set_write_limits(struct afn_stream *stream, size_t high, size_t low);
void afn_stream_get_write_limits(const struct afn_stream *stream, size_t *ret_high,
                                 size_t *ret_low);

/*
 * The bytes that were written and are not yet in the kernel's hands, TLS overhead of those already
 * encrypted included.  Of files that wait, only what was read already.
 *
 * Since: 0.1.0
 */
size_t afn_stream_get_write_buffer_size(const struct afn_stream *stream);

/*
 * Closes: no more data is delivered, the queue is flushed, on TLS close_notify is exchanged within
 * the shutdown time limit, then the closed callback comes.  A second call changes nothing.  Without
 * TLS there is no limit: a peer that never reads is for the program to abort.  A stream whose
 * handshake is not complete is not flushed but aborted.
 *
 * Since: 0.1.0
 */
void afn_stream_close(struct afn_stream *stream);

/*
 * Closes now: the queue is dropped, and the closed callback comes from the next dispatch with the
 * given error (0 or negative), unless the stream had another one before.  Also speeds up a close that
 * is under way.
 *
 * Since: 0.1.0
 */
void afn_stream_abort(struct afn_stream *stream, int error);

/*
 * True from the moment that close or abort was called or the loss is known.
 *
 * Since: 0.1.0
 */
bool afn_stream_is_closing(const struct afn_stream *stream);

/*
 * The descriptor, or -1 once it is closed or taken.
 *
 * Since: 0.1.0
 */
int afn_stream_get_fd(const struct afn_stream *stream);

/*
 * Takes the descriptor back, unclosed.  Only inside the closed callback.
 *
 * Ownership: the descriptor is the caller's.
 * Returns: the descriptor, -EBUSY before the closed callback, -EBADF when it was taken before or is
 *          borrowed.
 * Since: 0.1.0
 */
int afn_stream_take_fd(struct afn_stream *stream);

/*
 * Counters of a stream, since it was made.  The application's bytes are those that were delivered,
 * and those that the kernel has or that are encrypted; the wire's are those that the kernel gave
 * and took.  Without TLS the two are the same.  On a carrier, it stands for the kernel.  New members
 * will be added at the end only.
 */
struct afn_stream_stats {
    uint64_t bytes_received;      /* of the application */
    uint64_t bytes_sent;          /* of the application */
    uint64_t wire_bytes_received;
    uint64_t wire_bytes_sent;
    uint64_t receive_calls;       /* system calls that asked for bytes, vain ones included */
    uint64_t send_calls;          /* system calls that offered bytes, vain ones included */
    uint64_t records_received;    /* of TLS, its handshake and alerts included; 0 for other engines.
                                   * Where the kernel does TLS, its records are not counted */
    uint64_t records_sent;        /* the same, as encrypted */
    uint64_t high_water_hits;     /* how often the write buffer passed the high-water mark */
};

/*
 * Reads the counters.  size is sizeof(struct afn_stream_stats), as the program was compiled: a
 * library that knows less sets the rest to zero, one that knows more leaves it out.
 *
 * Returns: 0, or -EINVAL when ret_stats is NULL or size is 0.
 * Since: 0.1.0
 */
int afn_stream_get_stats(const struct afn_stream *stream, struct afn_stream_stats *ret_stats,
                         size_t size);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
