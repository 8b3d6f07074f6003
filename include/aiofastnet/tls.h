/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_TLS_H
#define AIOFASTNET_TLS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <openssl/types.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct afn_stream;

/*
 * How TLS is put on a stream.  Zero it, then set size to sizeof(struct afn_tls_options).
 */
struct afn_tls_options {
    size_t size;
    /* Limits in microseconds, 0 for none.  The handshake's ends the stream with
     * AFN_ERR_HANDSHAKE_TIMEOUT.  The shutdown's runs from the moment that the stream is closed, and
     * ends it: with AFN_ERR_SHUTDOWN_TIMEOUT while bytes of the application are queued, without an
     * error when only the peer's answer is missing. */
    uint64_t handshake_timeout;
    uint64_t shutdown_timeout;
    /* Bytes of the peer's first flight that the program has already read; copied. */
    const void *received;
    size_t received_length;
    /* Called in place of SSL_do_handshake(): 1 when the handshake is complete, 0 when it needs bytes
     * of the peer, -1 when it failed, which ends the stream with AFN_ERR_ENGINE.  May be NULL. */
    int (*do_handshake)(SSL *ssl, void *user);
    /* Called right after an OpenSSL call failed for good, while its error queue is still as OpenSSL
     * left it, which is emptied afterwards; ssl_error is SSL_get_error()'s.  May be NULL. */
    void (*failed)(SSL *ssl, int ssl_error, void *user);
    /* Of the two hooks.  They, and every callback that OpenSSL itself makes on this SSL (messages,
     * server name, keys), must not call the library on this stream but to abort it, nor drop its last
     * reference. */
    void *user;
    unsigned int flags;
};

/*
 * Kernel TLS: with SSL_OP_ENABLE_KTLS in the options of the SSL, the kernel gets the keys for
 * sending after the handshake, if it and OpenSSL can; otherwise the connection is the same without.
 * With this flag, those for receiving too.
 */
#define AFN_TLS_KTLS_RX 1u

/*
 * Puts TLS on a stream, which may have carried clear bytes before; those still queued leave first.
 * The role is that of the SSL (SSL_set_accept_state(), SSL_set_connect_state()).  Its BIOs are
 * replaced.  Until the secured callback, writes are queued.
 *
 * Ownership: the stream takes a reference of its own to ssl; the caller's stays the caller's.
 * Callbacks: secured, or closed with the reason.
 * Returns: 0; -EBUSY when the stream has TLS already, or has a file to send; -EPIPE when it is
 *          closing or lost; -EINVAL, also for a stream of one direction; -ENOMEM.  On failure
 *          neither the stream nor ssl has changed.
 * Since: 0.1.0
 */
int afn_stream_start_tls(struct afn_stream *stream, SSL *ssl, const struct afn_tls_options *options);

/*
 * The SSL of a stream, or NULL when it has none or has another engine.
 *
 * Ownership: the stream's; valid as long as the caller holds a reference to the stream.
 * Since: 0.1.0
 */
SSL *afn_stream_get_ssl(const struct afn_stream *stream);

/* Directions in which the kernel does TLS. */
#define AFN_KTLS_SEND 1u
#define AFN_KTLS_RECEIVE 2u

/*
 * The directions in which the kernel does the TLS of this stream; none before the secured callback.
 *
 * Since: 0.1.0
 */
unsigned int afn_stream_get_ktls(const struct afn_stream *stream);

/*
 * Why the kernel does not send, although SSL_OP_ENABLE_KTLS asked for it: words for people, which
 * live for ever, or NULL.
 *
 * Since: 0.1.0
 */
const char *afn_stream_get_ktls_reason(const struct afn_stream *stream);

/*
 * The error of the first OpenSSL call that failed on this stream, as ERR_peek_last_error() gave it,
 * or 0.
 *
 * Since: 0.1.0
 */
unsigned long afn_stream_get_tls_error(const struct afn_stream *stream);

/*
 * An engine turns the bytes of the application into those of the wire and back, and does no I/O.
 * A program may bring its own in place of OpenSSL's.  Its functions are called with the user
 * pointer of afn_stream_start_engine(); they must not call the library on that stream but to abort
 * it.  All members are needed.  Set size to sizeof(struct afn_engine_ops).
 *
 * A negative result other than -EAGAIN ends the stream with it.  -EAGAIN means that bytes of the
 * peer are needed first.
 */
struct afn_engine_ops {
    size_t size;
    /* One step of the handshake: 0 when it is complete. */
    int (*handshake)(void *user);
    /* Application bytes: how many were read; 0 at the peer's proper end (close_notify). */
    ssize_t (*read)(void *user, void *buffer, size_t length);
    /* Encrypts all of it; on -EAGAIN it took nothing, and is called again when more has come. */
    int (*write)(void *user, const void *data, size_t length);
    /* Sends close_notify, once; 0 when the peer's was read too, -EAGAIN when it was not, -EBUSY when
     * nothing could be sent before more has come: then it is called again. */
    int (*shutdown)(void *user);
    /* Lends bytes of the wire until settle is called, at which the engine must have consumed them
     * or keep them itself. */
    int (*feed)(void *user, const void *data, size_t length);
    int (*settle)(void *user);
    /* Can handshake or read get on with what was fed?  Once one of them said -EAGAIN: no, until the
     * next feed. */
    int (*has_input)(void *user);
    /* The bytes for the wire that the calls before this one made.  They stay valid until the next
     * call of any function of the engine, and are not given a second time. */
    void (*drain)(void *user, const void **ret_data, size_t *ret_length);
    /* The stream is done with the engine; last. */
    void (*destroy)(void *user);
};

/*
 * Puts an engine on a stream, as afn_stream_start_tls() does with OpenSSL's.  Of the options, the
 * hooks are not used.
 *
 * Ownership: of user, passes on success only; destroy gives it back.  ops must outlive the stream.
 * Returns: as afn_stream_start_tls().
 * Since: 0.1.0
 */
int afn_stream_start_engine(struct afn_stream *stream, const struct afn_engine_ops *ops, void *user,
                            const struct afn_tls_options *options);

/*
 * OpenSSL's engine alone, for programs that have a transport of their own.
 *
 * Threads: one at a time.
 */
struct afn_tls;

/*
 * Makes an engine of an SSL, whose role is set and whose BIOs are replaced.
 *
 * Ownership: takes a reference of its own to ssl; the caller's stays the caller's.
 * Returns: 0, -EINVAL or -ENOMEM.
 * Since: 0.1.0
 */
int afn_tls_new(SSL *ssl, struct afn_tls **ret_tls);

/*
 * Frees an engine, without a close_notify.  Takes NULL and returns NULL.
 *
 * Since: 0.1.0
 */
struct afn_tls *afn_tls_free(struct afn_tls *tls);

/*
 * Gives the engine bytes of the wire; it copies them.
 *
 * Returns: 0 or -ENOMEM.
 * Since: 0.1.0
 */
int afn_tls_feed(struct afn_tls *tls, const void *data, size_t length);

/*
 * Takes bytes for the wire out of the engine.  Call it after every other function.
 *
 * Returns: how many were put into the buffer; 0 when there are none.
 * Since: 0.1.0
 */
size_t afn_tls_drain(struct afn_tls *tls, void *buffer, size_t length);

/*
 * The four things that TLS does.  Each may make bytes for the wire, also when it fails.
 *
 *   handshake  0 when it is complete.
 *   read       the number of bytes, or 0 after the peer's close_notify.
 *   write      0; all was taken.  On -EAGAIN nothing was: call it again after a read.
 *   shutdown   sends close_notify; 0 when the peer's was read too.  Until then, go on with read.
 *
 * Returns: -EAGAIN when more bytes of the peer are needed; AFN_ERR_TLS, with the error in OpenSSL's
 *          queue; from handshake AFN_ERR_TRUNCATED when the peer said goodbye in the middle of it;
 *          from write -EPIPE when it cannot be sent any more; from shutdown -EBUSY while a handshake
 *          is under way; from read -EINVAL when length is 0.
 * Since: 0.1.0
 */
int afn_tls_handshake(struct afn_tls *tls);
ssize_t afn_tls_read(struct afn_tls *tls, void *buffer, size_t length);
int afn_tls_write(struct afn_tls *tls, const void *data, size_t length);
int afn_tls_shutdown(struct afn_tls *tls);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
