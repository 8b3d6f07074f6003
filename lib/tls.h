/* SPDX-License-Identifier: MIT */
#ifndef AFN_TLS_H
#define AFN_TLS_H

#include <aiofastnet/tls.h>

#include "buffer.h"
#include "reactor.h"
#include "records.h"
#include "window-bio.h"

#include <openssl/ssl.h>

/*
 * OpenSSL's engine.  Bytes of the wire come through the window; what is left of them when the
 * lender takes its memory back moves to kept.  Bytes for the wire go to the shared window of the
 * reactor if there is one and it is free, otherwise to made.
 */
struct afn_tls {
    SSL *ssl;
    BIO *bio;
    struct afn__window window;
    struct afn__buffer kept;
    struct afn__buffer made;
    struct afn__shared_window *shared;
    struct afn__records received, sent;
    unsigned long error; /* the first one that OpenSSL reported */
    bool has_failed;
    bool has_sent_shutdown;
    int (*do_handshake)(SSL *ssl, void *user);
    void (*failed)(SSL *ssl, int ssl_error, void *user);
    void *user;
};

/* The engine as a stream uses it; its user is a struct afn_tls. */
extern const struct afn_engine_ops afn__tls_engine;

/* Makes an engine, which leaves ssl as it is; shared may be NULL: 0, -EINVAL or -ENOMEM. */
int afn__tls_new(SSL *ssl, struct afn__shared_window *shared, struct afn_tls **ret_tls);

/* Puts the BIO of the engine in the place of those of its ssl. */
void afn__tls_attach(struct afn_tls *tls);

#endif
