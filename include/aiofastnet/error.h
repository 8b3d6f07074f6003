/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_ERROR_H
#define AIOFASTNET_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/*
 * Results.  A function of this library that returns an int returns 0 or a positive number when it
 * succeeds; otherwise a negative errno (-ENOMEM, -EINVAL, ...) or one of these.  They are outside
 * the range of errno, so the two never meet.
 */
enum afn_error {
    AFN_ERR_TLS = -10001,               /* the TLS protocol failed; see afn_stream_get_tls_error() */
    AFN_ERR_TRUNCATED = -10002,         /* the peer closed without close_notify */
    AFN_ERR_HANDSHAKE_TIMEOUT = -10003, /* the handshake did not end in time */
    AFN_ERR_SHUTDOWN_TIMEOUT = -10004,  /* a close could not flush in time */
    AFN_ERR_ENGINE = -10005,            /* a caller's engine or hook failed; it knows why */
    AFN_ERR_ABORTED = -10006            /* for the program to abort with */
};

/*
 * Describes a result in a few words of English.
 *
 * Ownership: the string is constant, or lives until the thread's next call of strerror().
 * Threads: any.
 * Returns: never NULL; also for a number that means nothing.
 * Since: 0.1.0
 */
const char *afn_strerror(int error);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
