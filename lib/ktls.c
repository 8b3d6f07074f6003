/* SPDX-License-Identifier: MIT */
#include <config.h>

#include "ktls.h"

#include "sys.h"

#include <errno.h>
#include <string.h>

bool afn__ktls_is_asked_for(const SSL *ssl)
{
    return SSL_get_options(ssl) & SSL_OP_ENABLE_KTLS;
}

#ifdef HAVE_KTLS

bool afn__ktls_is_sending(const struct afn__ktls *ktls)
{
    return ktls->socket && BIO_get_ktls_send(ktls->socket);
}

bool afn__ktls_is_receiving(const struct afn__ktls *ktls)
{
    return ktls->socket && BIO_get_ktls_recv(ktls->socket);
}

#else

bool afn__ktls_is_sending(const struct afn__ktls *ktls)
{
    (void)ktls;
    return false;
}

bool afn__ktls_is_receiving(const struct afn__ktls *ktls)
{
    (void)ktls;
    return false;
}

#endif

/* ---- the BIO ---- */

/* A message of TLS 1.3: type, length in three bytes, and whether the other side is to do so too. */
#define KEY_UPDATE_LENGTH 5
static const char key_update_head[] = {SSL3_MT_KEY_UPDATE, 0, 0, 1};

/* The number that <openssl/bio.h> has in a comment only: the kernel is to send with these keys. */
#define CTRL_SET_KTLS_SEND 72

static int ktls_read(BIO *bio, char *buffer, size_t length, size_t *ret_length)
{
    struct afn__ktls_end *end = BIO_get_data(bio);
    struct afn__ktls *ktls = end ? end->ktls : NULL;

    if (!ktls || !afn__ktls_is_receiving(ktls))
        return afn__window_read(bio, ktls ? ktls->window : NULL, buffer, length, ret_length);
    BIO_clear_retry_flags(bio);
    if (!ktls->bad_record) {
        int result;

        errno = 0;
        result = BIO_read_ex(ktls->socket, buffer, length, ret_length);
        if (!result && BIO_should_retry(ktls->socket))
            BIO_set_retry_read(bio);
        if (result || !afn__ktls_note_bad_record(ktls, errno))
            return result;
    }
    /* The socket keeps the error for who sends next, and that is the alert. */
    afn__sys_get_error((int)BIO_get_fd(ktls->socket, NULL));
    /* Only after -1 OpenSSL looks at errno. */
    errno = ktls->bad_record;
    return -1;
}

/* OpenSSL's answer to a peer that asks for new keys.  Where it writes for the kernel to encrypt
 * there are no headers of records.  That it has told the socket BIO to mark the next record as none
 * of the application does no harm: data never pass through there. */
static bool is_key_update(const char *data, size_t length)
{
    return length == KEY_UPDATE_LENGTH &&
           !memcmp(data, key_update_head, sizeof(key_update_head));
}

static int ktls_write(BIO *bio, const char *data, size_t length, size_t *ret_length)
{
    struct afn__ktls_end *end = BIO_get_data(bio);
    struct afn__sigpipe_hold hold;
    int result;

    if (!end || !afn__ktls_is_sending(end->ktls))
        return afn__window_write(bio, end ? end->ktls->window : NULL, data, length, ret_length);
    BIO_clear_retry_flags(bio);
    if (is_key_update(data, length)) {
        *ret_length = length;
        return 1;
    }
    /* It knows no MSG_NOSIGNAL. */
    afn__sys_hold_sigpipe(&hold);
    result = BIO_write_ex(end->ktls->socket, data, length, ret_length);
    afn__sys_release_sigpipe(&hold, !result);
    if (!result && BIO_should_retry(end->ktls->socket))
        BIO_set_retry_write(bio);
    return result;
}

/* Bytes of the old keys that are still here are in the way of the kernel, which would send or
 * expect new ones next. */
static bool is_ready(const struct afn__ktls_end *end)
{
    const struct afn__ktls *ktls = end->ktls;

    if (!end->sends)
        return afn__ktls_is_receiving(ktls) || !ktls->window->length;
    return afn__ktls_is_sending(ktls) || !ktls->has_unsent(ktls->user);
}

/*
 * Kernels do not change the keys that they send with, or only the newest do.  OpenSSL would have
 * told the peer by then, and could not go on: so it is made to believe that they were changed, and
 * the peer is told nothing.
 */
static bool would_change_keys(const struct afn__ktls_end *end, int command)
{
    return command == CTRL_SET_KTLS_SEND && end->sends && afn__ktls_is_sending(end->ktls);
}

/* Which requests hand over keys and mark records is a matter between OpenSSL and its socket BIO. */
static long ktls_ctrl(BIO *bio, int command, long number, void *pointer)
{
    struct afn__ktls_end *end = BIO_get_data(bio);

    switch (end ? command : BIO_CTRL_RESET) {
    case BIO_CTRL_RESET:
    case BIO_CTRL_PUSH:
    case BIO_CTRL_POP:
        return 0;
    case BIO_CTRL_FLUSH:
        if (end->sends && !afn__ktls_is_sending(end->ktls))
            end->ktls->flush(end->ktls->user);
        return 1;
    case BIO_CTRL_PENDING:
        return end->sends ? 0 : (long)end->ktls->window->length;
    case BIO_CTRL_WPENDING:
        return 0;
    default:
        if (would_change_keys(end, command))
            return 1;
        return is_ready(end) ? BIO_ctrl(end->ktls->socket, command, number, pointer) : 0;
    }
}

static struct afn__bio_type ktls_type = {
    .name = "aiofastnet kernel TLS",
    .read = ktls_read,
    .write = ktls_write,
    .ctrl = ktls_ctrl,
    .lock = PTHREAD_MUTEX_INITIALIZER,
};

static BIO *make_bio(struct afn__ktls_end *end, struct afn__ktls *ktls, bool sends)
{
    end->ktls = ktls;
    end->sends = sends;
    return afn__bio_new(&ktls_type, end);
}

/* ---- the unit ---- */

int afn__ktls_open(struct afn__ktls *ktls, int fd, bool wants_receive)
{
    int result = afn__sys_enable_tls(fd);

    if (result < 0) {
        ktls->reason = result == -ENOENT ? "the kernel has no TLS" : "the socket refuses TLS";
        return 0;
    }
    ktls->socket = BIO_new_socket(fd, BIO_NOCLOSE);
    if (!ktls->socket)
        return -ENOMEM;
    ktls->write_bio = make_bio(&ktls->ends[0], ktls, true);
    ktls->read_bio = wants_receive ? make_bio(&ktls->ends[1], ktls, false) : NULL;
    if (ktls->write_bio && (ktls->read_bio || !wants_receive))
        return 0;
    afn__ktls_close(ktls);
    return -ENOMEM;
}

bool afn__ktls_note_bad_record(struct afn__ktls *ktls, int error)
{
    if (error != EBADMSG && error != EMSGSIZE && error != EINVAL)
        return false;
    ktls->bad_record = error;
    return true;
}

static BIO *release(BIO *bio)
{
    if (bio)
        BIO_set_data(bio, NULL);
    BIO_free(bio);
    return NULL;
}

void afn__ktls_close(struct afn__ktls *ktls)
{
    ktls->write_bio = release(ktls->write_bio);
    ktls->read_bio = release(ktls->read_bio);
    BIO_free(ktls->socket);
    ktls->socket = NULL;
}

const char *afn__ktls_get_reason(const struct afn__ktls *ktls)
{
    if (ktls->reason || afn__ktls_is_sending(ktls))
        return ktls->reason;
    return "the kernel or OpenSSL does not do this version and cipher";
}
