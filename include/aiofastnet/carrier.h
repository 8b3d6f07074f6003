/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_CARRIER_H
#define AIOFASTNET_CARRIER_H

#include <stddef.h>
#include <sys/types.h>

#include <aiofastnet/stream.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/*
 * A carrier brings the bytes of a stream to its peer in place of a socket: a connection that the
 * program has by other means, or another stream.  With it, TLS goes over anything, TLS included.
 *
 * Its functions are those of a non-blocking socket, and are called with the carrier pointer of
 * afn_stream_new_over().  They must not call the library on the stream that they carry, but for
 * afn_stream_notify() and afn_stream_abort().  All members are needed.  Set size to
 * sizeof(struct afn_carrier_ops).
 */
struct afn_carrier_ops {
    size_t size;
    /* How many bytes came; 0 at the end; -EAGAIN when there are none for now, or another negative
     * errno, which ends the stream. */
    ssize_t (*receive)(void *carrier, void *buffer, size_t length);
    /* How many bytes were taken, of count pieces; -EAGAIN, or 0, when none can be for now, or
     * another negative errno. */
    ssize_t (*send)(void *carrier, const struct afn_buffer *buffers, size_t count);
    /* Ends the sending direction, as shutdown(2): 0 or a negative errno. */
    int (*write_eof)(void *carrier);
    /* The stream is done with its carrier; last, after the closed callback, with the error that it
     * told, or with AFN_ERR_ABORTED when the last reference was dropped before. */
    void (*close)(void *carrier, int error);
};

/* Events of afn_stream_notify(). */
#define AFN_STREAM_READABLE 1u
#define AFN_STREAM_WRITABLE 2u

/*
 * Makes a stream on a carrier, as afn_stream_new() does on a socket.  It asks the carrier once
 * for bytes; after an -EAGAIN, it waits for afn_stream_notify().
 *
 * Ownership: of carrier, passes on success only; close gives it back.  ops must outlive the stream.
 * Returns: 0, -EINVAL or -ENOMEM.
 * Since: 0.1.0
 */
int afn_stream_new_over(struct afn_reactor *reactor, const struct afn_carrier_ops *ops,
                        void *carrier, const struct afn_stream_handler *handler, void *user,
                        unsigned int flags, struct afn_stream **ret_stream);

/*
 * Says that the carrier has bytes or an end again (AFN_STREAM_READABLE), or takes some
 * (AFN_STREAM_WRITABLE).  The stream acts on it from dispatch.  May be said too often.
 *
 * Since: 0.1.0
 */
void afn_stream_notify(struct afn_stream *stream, unsigned int events);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
