/* SPDX-License-Identifier: MIT */
#include "tls.h"

#include <aiofastnet/error.h>
#include <aiofastnet/version.h>

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

static int put(void *user, const void *data, size_t length)
{
    struct afn_tls *tls = user;
    struct afn__shared_window *shared = tls->shared;

    afn__records_pass(&tls->sent, data, length);
    /* Once in made, always in made until it is drained, or the order would be lost. */
    if (shared && !tls->made.length && (!shared->owner || shared->owner == tls)) {
        int result = afn__buffer_append(&shared->buffer, data, length);

        if (result == 0)
            shared->owner = tls;
        return result;
    }
    return afn__buffer_append(&tls->made, data, length);
}

int afn__tls_new(SSL *ssl, struct afn__shared_window *shared, struct afn_tls **ret_tls)
{
    struct afn_tls *tls;

    if (!ssl || !ret_tls)
        return -EINVAL;
    tls = calloc(1, sizeof(*tls));
    if (!tls)
        return -ENOMEM;
    tls->window.put = put;
    tls->window.user = tls;
    tls->shared = shared;
    tls->bio = afn__window_bio_new(&tls->window);
    if (!tls->bio || !SSL_up_ref(ssl)) {
        BIO_free(tls->bio);
        free(tls);
        return -ENOMEM;
    }
    tls->ssl = ssl;
    *ret_tls = tls;
    return 0;
}

/* A server's request for a certificate goes out with what OpenSSL writes next: where the kernel
 * sends, that may be never. */
static bool asks_later(const SSL *ssl)
{
    return SSL_get_verify_mode(ssl) & SSL_VERIFY_POST_HANDSHAKE;
}

int afn__tls_offer_ktls(struct afn_tls *tls, int fd, bool wants_receive, void (*flush)(void *user),
                        bool (*has_unsent)(void *user), void *user)
{
    struct afn__ktls *ktls;
    int result = 0;

    if (!afn_has_ktls() || !afn__ktls_is_asked_for(tls->ssl))
        return 0;
    ktls = calloc(1, sizeof(*ktls));
    if (!ktls)
        return -ENOMEM;
    ktls->window = &tls->window;
    ktls->flush = flush;
    ktls->has_unsent = has_unsent;
    ktls->user = user;
    if (asks_later(tls->ssl))
        ktls->reason = "a certificate may be asked for after the handshake";
    else
        result = afn__ktls_open(ktls, fd, wants_receive);
    if (result < 0)
        free(ktls);
    else
        tls->ktls = ktls;
    return result;
}

bool afn__tls_has_output(const struct afn_tls *tls)
{
    return tls->made.length ||
           (tls->shared && tls->shared->owner == tls && tls->shared->buffer.length);
}

size_t afn__tls_limit_receive(const struct afn_tls *tls, size_t length)
{
    size_t wanted;

    if (!tls->ktls || !tls->ktls->read_bio || SSL_is_init_finished(tls->ssl))
        return length;
    wanted = afn__records_get_rest(&tls->received);
    return wanted < length ? wanted : length;
}

void afn__tls_attach(struct afn_tls *tls)
{
    BIO *read_bio = tls->ktls && tls->ktls->read_bio ? tls->ktls->read_bio : tls->bio;
    BIO *write_bio = tls->ktls && tls->ktls->write_bio ? tls->ktls->write_bio : tls->bio;

    /* One reference for each direction, and ours. */
    BIO_up_ref(read_bio);
    BIO_up_ref(write_bio);
    SSL_set0_rbio(tls->ssl, read_bio);
    SSL_set0_wbio(tls->ssl, write_bio);
    SSL_clear_mode(tls->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE);
    SSL_set_mode(tls->ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY |
                               SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* With read-ahead, whole records would wait in OpenSSL's buffers where nobody can see them. */
    SSL_set_read_ahead(tls->ssl, 0);
}

static void tls_destroy(void *user)
{
    struct afn_tls *tls = user;

    if (tls->shared && tls->shared->owner == tls) {
        afn__buffer_reset(&tls->shared->buffer);
        tls->shared->owner = NULL;
    }
    /* The SSL may live on, in the hands of the program, and with it the BIO. */
    afn__window_bio_detach(tls->bio);
    BIO_free(tls->bio);
    if (tls->ktls)
        afn__ktls_close(tls->ktls);
    free(tls->ktls);
    SSL_free(tls->ssl);
    afn__buffer_release(&tls->kept);
    afn__buffer_release(&tls->made);
    free(tls);
}

/* A stale entry, left by anybody's earlier call, would be taken for the error of the next one. */
static void clear_errors(void)
{
    if (ERR_peek_error())
        ERR_clear_error();
}

/* Translates the failure of an OpenSSL call; 0 stands for the peer's proper end. */
static int failure(struct afn_tls *tls, int returned)
{
    int ssl_error = SSL_get_error(tls->ssl, returned);

    switch (ssl_error) {
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return -EAGAIN;
    case SSL_ERROR_SYSCALL:
        /* The BIO fails without a retry only when memory is short, or it was detached. */
        if (!ERR_peek_error() && BIO_should_retry(tls->bio))
            return -EAGAIN;
        break;
    default:
        /* SSL_ERROR_SSL, or something that only a later call out of nowhere could continue. */
        break;
    }
    tls->has_failed = true;
    if (!tls->error)
        tls->error = ERR_peek_last_error();
    if (tls->failed)
        tls->failed(tls->ssl, ssl_error, tls->user);
    /* The queue is the thread's: another SSL would take the entry for an error of its own.  It
     * stays for those only who have nothing else to ask: the users of the engine alone. */
    if (tls->shared)
        clear_errors();
    return AFN_ERR_TLS;
}

static int tls_has_input(void *user)
{
    struct afn_tls *tls = user;

    return !tls->has_failed && (tls->window.length || SSL_pending(tls->ssl) > 0);
}

static int tls_handshake(void *user)
{
    struct afn_tls *tls = user;
    int result;

    if (tls->has_failed)
        return AFN_ERR_TLS;
    /* A server has nothing to say before the client does. */
    if (SSL_is_server(tls->ssl) && !SSL_is_init_finished(tls->ssl) && !tls_has_input(tls) &&
        !tls->ktls)
        return -EAGAIN;
    clear_errors();
    if (tls->do_handshake) {
        result = tls->do_handshake(tls->ssl, tls->user);
        tls->has_failed = result < 0;
        return result > 0 ? 0 : result < 0 ? AFN_ERR_ENGINE : -EAGAIN;
    }
    result = SSL_do_handshake(tls->ssl);
    if (result == 1)
        return 0;
    result = failure(tls, result);
    return result == 0 ? AFN_ERR_TRUNCATED : result;
}

static ssize_t tls_read(void *user, void *buffer, size_t length)
{
    struct afn_tls *tls = user;
    size_t count;

    if (tls->has_failed)
        return AFN_ERR_TLS;
    clear_errors();
    if (SSL_read_ex(tls->ssl, buffer, length, &count))
        return (ssize_t)count;
    return failure(tls, 0);
}

static int tls_write(void *user, const void *data, size_t length)
{
    struct afn_tls *tls = user;
    size_t count;
    int result;

    if (tls->has_failed)
        return AFN_ERR_TLS;
    clear_errors();
    if (SSL_write_ex(tls->ssl, data, length, &count))
        return 0;
    result = failure(tls, 0);
    return result == 0 ? -EPIPE : result;
}

static int tls_shutdown(void *user)
{
    struct afn_tls *tls = user;

    if (tls->has_failed)
        return AFN_ERR_TLS;
    if (SSL_in_init(tls->ssl))
        return -EBUSY;
    if (!tls->has_sent_shutdown) {
        clear_errors();
        /* 0 and 1 differ in whether the peer's close_notify was seen, which is asked below. */
        if (SSL_shutdown(tls->ssl) < 0) {
            int result = failure(tls, -1);

            /* It waits for the socket, which the kernel's TLS writes to, and not for the peer. */
            if (result == -EAGAIN && SSL_want_write(tls->ssl))
                return -EBUSY;
            return result == 0 ? -EPIPE : result;
        }
        tls->has_sent_shutdown = true;
    }
    return SSL_get_shutdown(tls->ssl) & SSL_RECEIVED_SHUTDOWN ? 0 : -EAGAIN;
}

static int tls_settle(void *user)
{
    struct afn_tls *tls = user;
    struct afn__window *window = &tls->window;
    int result = 0;

    if (!tls->made.length)
        afn__buffer_release(&tls->made);
    if (!window->length) {
        afn__buffer_release(&tls->kept);
        return 0;
    }
    /* The window is the tail of what is kept, or nothing is kept yet. */
    if (tls->kept.length)
        afn__buffer_consume(&tls->kept, tls->kept.length - window->length);
    else
        result = afn__buffer_append(&tls->kept, window->data, window->length);
    if (result == 0)
        window->data = afn__buffer_data(&tls->kept);
    return result;
}

static int tls_feed(void *user, const void *data, size_t length)
{
    struct afn_tls *tls = user;
    int result;

    afn__records_pass(&tls->received, data, length);
    if (!tls->window.length) {
        afn__buffer_release(&tls->kept);
        tls->window.data = data;
        tls->window.length = length;
        return 0;
    }
    result = tls_settle(tls);
    if (result < 0)
        return result;
    result = afn__buffer_append(&tls->kept, data, length);
    tls->window.data = afn__buffer_data(&tls->kept);
    tls->window.length = tls->kept.length;
    return result;
}

static void tls_drain(void *user, const void **ret_data, size_t *ret_length)
{
    struct afn_tls *tls = user;
    struct afn__buffer *source = &tls->made;

    if (tls->shared && tls->shared->owner == tls && tls->shared->buffer.length) {
        source = &tls->shared->buffer;
        tls->shared->owner = NULL;
    }
    *ret_data = afn__buffer_data(source);
    *ret_length = source->length;
    afn__buffer_reset(source);
}

const struct afn_engine_ops afn__tls_engine = {
    .size = sizeof(struct afn_engine_ops),
    .handshake = tls_handshake,
    .read = tls_read,
    .write = tls_write,
    .shutdown = tls_shutdown,
    .feed = tls_feed,
    .settle = tls_settle,
    .has_input = tls_has_input,
    .drain = tls_drain,
    .destroy = tls_destroy,
};

/* ---- the engine alone ---- */

int afn_tls_new(SSL *ssl, struct afn_tls **ret_tls)
{
    int result = afn__tls_new(ssl, NULL, ret_tls);

    if (result == 0)
        afn__tls_attach(*ret_tls);
    return result;
}

struct afn_tls *afn_tls_free(struct afn_tls *tls)
{
    if (tls)
        tls_destroy(tls);
    return NULL;
}

int afn_tls_feed(struct afn_tls *tls, const void *data, size_t length)
{
    int result = tls_feed(tls, data, length);

    if (result == 0)
        result = tls_settle(tls);
    if (result < 0) {
        /* Nothing may be left out of the middle of a connection, nor lent for longer. */
        tls->window.length = 0;
        tls->has_failed = true;
    }
    return result;
}

size_t afn_tls_drain(struct afn_tls *tls, void *buffer, size_t length)
{
    if (length > tls->made.length)
        length = tls->made.length;
    if (length) {
        memcpy(buffer, afn__buffer_data(&tls->made), length);
        afn__buffer_consume(&tls->made, length);
    }
    return length;
}

int afn_tls_handshake(struct afn_tls *tls)
{
    return tls_handshake(tls);
}

ssize_t afn_tls_read(struct afn_tls *tls, void *buffer, size_t length)
{
    /* OpenSSL takes it for a failure of its own. */
    return length ? tls_read(tls, buffer, length) : -EINVAL;
}

int afn_tls_write(struct afn_tls *tls, const void *data, size_t length)
{
    return length ? tls_write(tls, data, length) : 0;
}

int afn_tls_shutdown(struct afn_tls *tls)
{
    return tls_shutdown(tls);
}
