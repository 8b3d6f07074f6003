/* SPDX-License-Identifier: MIT */
#ifndef AFN_KTLS_H
#define AFN_KTLS_H

#include "window-bio.h"

#include <openssl/ssl.h>
#include <stdbool.h>

struct afn__ktls;

/* What the BIO of one direction knows. */
struct afn__ktls_end {
    struct afn__ktls *ktls;
    bool sends;
};

/*
 * Kernel TLS: OpenSSL hands its keys to the kernel through a BIO, by requests that OpenSSL's socket
 * BIO understands.  The BIOs of this unit pass those on to one, and otherwise work on the window of
 * an engine, as the BIO of window-bio.h does, until the kernel has the keys of their direction: from
 * then on what OpenSSL itself reads or writes there, alerts and the like, goes through the socket.
 *
 * The user sets the first four members.
 */
struct afn__ktls {
    struct afn__window *window;
    void (*flush)(void *user); /* sends what was written so far, as far as possible */
    bool (*has_unsent)(void *user);
    void *user;
    const char *reason; /* why the kernel does not do what was asked for, as far as it is known */
    BIO *socket;        /* NULL where the kernel has no TLS */
    BIO *write_bio;
    BIO *read_bio;  /* NULL when the kernel is not to receive */
    int bad_record; /* what errno was for it */
    struct afn__ktls_end ends[2];
};

/* Does the program ask for it?  Whether it was compiled in, afn_has_ktls() knows. */
bool afn__ktls_is_asked_for(const SSL *ssl);

/* Gets ready on a TCP socket; without a socket BIO where the kernel has no TLS: 0 or -ENOMEM. */
int afn__ktls_open(struct afn__ktls *ktls, int fd, bool wants_receive);
void afn__ktls_close(struct afn__ktls *ktls);

/* Has the kernel the keys? */
bool afn__ktls_is_sending(const struct afn__ktls *ktls);
bool afn__ktls_is_receiving(const struct afn__ktls *ktls);

/* After a failed receive: is it errno of a record that could not be decrypted, or was none of TLS?
 * OpenSSL finds it when it reads next, makes its own error of it, and an alert. */
bool afn__ktls_note_bad_record(struct afn__ktls *ktls, int error);

/* Why the kernel does not send, once the handshake is complete; NULL when it does. */
const char *afn__ktls_get_reason(const struct afn__ktls *ktls);

#endif
