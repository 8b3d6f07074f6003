/* SPDX-License-Identifier: MIT */
#ifndef AFN_TLS_H
#define AFN_TLS_H

#include <aiofastnet/tls.h>

#include "buffer.h"
#include "ktls.h"
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
    struct afn__ktls *ktls; /* NULL where nobody asked for it */
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

/*
 * Before attach: lets the kernel have the keys, as far as the program asks for it in the options of
 * the ssl.  flush and has_unsent are about what is drained already: 0 or -ENOMEM.
 */
int afn__tls_offer_ktls(struct afn_tls *tls, int fd, bool wants_receive, void (*flush)(void *user),
                        bool (*has_unsent)(void *user), void *user);

/* Has the kernel the keys of a direction? */
static inline bool afn__tls_is_sending_raw(const struct afn_tls *tls)
{
    return tls->ktls && afn__ktls_is_sending(tls->ktls);
}

static inline bool afn__tls_is_receiving_raw(const struct afn_tls *tls)
{
    return tls->ktls && afn__ktls_is_receiving(tls->ktls);
}

/* Are there bytes for the wire? */
bool afn__tls_has_output(const struct afn_tls *tls);

/* How many bytes, of at most length, to receive before the next call: what comes behind the
 * handshake may have to stay in the kernel. */
size_t afn__tls_limit_receive(const struct afn_tls *tls, size_t length);

/* Puts the BIOs of the engine in the place of those of its ssl. */
void afn__tls_attach(struct afn_tls *tls);

#endif
