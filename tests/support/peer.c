/* SPDX-License-Identifier: MIT */
#include "peer.h"

#include <errno.h>
#include <openssl/err.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "certificate.h"
#include "fault-alloc.h"
#include "harness.h"
#include "sockets.h"

void peer_open(struct peer *peer, int fd)
{
    *peer = (struct peer){.fd = fd};
}

static void free_memory(struct peer *peer)
{
    SSL_free(peer->ssl);
    peer->ssl = NULL;
    bytes_free(&peer->received);
    bytes_free(&peer->outgoing);
    bytes_free(&peer->waiting);
}

void peer_close(struct peer *peer)
{
    if (peer->fd >= 0)
        close(peer->fd);
    peer->fd = -1;
    free_memory(peer);
}

void peer_reset(struct peer *peer)
{
    sockets_reset(peer->fd);
    peer->fd = -1;
}

static bool read_socket(struct peer *peer)
{
    unsigned char buffer[16384];
    ssize_t count;

    if (peer->is_deaf || peer->has_eof || peer->error != 0)
        return false;
    count = recv(peer->fd, buffer, sizeof buffer, 0);
    if (count < 0) {
        if (errno != EAGAIN)
            peer->error = errno;
        return errno != EAGAIN;
    }
    if (count == 0)
        peer->has_eof = true;
    else if (peer->ssl == NULL)
        bytes_append(&peer->received, buffer, (size_t)count);
    else
        require_equal(BIO_write(SSL_get_rbio(peer->ssl), buffer, (int)count), count);
    return true;
}

static bool write_socket(struct peer *peer)
{
    ssize_t count;

    if (peer->is_mute || peer->has_ended || peer->error != 0)
        return false;
    if (peer->outgoing.length == 0) {
        if (!peer->ends)
            return false;
        shutdown(peer->fd, SHUT_WR);
        peer->has_ended = true;
        return true;
    }
    count = send(peer->fd, peer->outgoing.data, peer->outgoing.length, MSG_NOSIGNAL);
    if (count < 0) {
        /* What arrived before the error is still to be read. */
        if (errno == EAGAIN)
            return false;
        peer->has_ended = true;
        return true;
    }
    bytes_remove_front(&peer->outgoing, (size_t)count);
    return true;
}

static bool note_failure(struct peer *peer, int result)
{
    int error = SSL_get_error(peer->ssl, result);

    if (error == SSL_ERROR_WANT_READ)
        return false;
    if (error == SSL_ERROR_ZERO_RETURN) {
        bool is_new = !peer->is_notified;

        peer->is_notified = true;
        return is_new;
    }
    peer->ssl_error = error;
    peer->tls_error = ERR_peek_error();
    ERR_clear_error();
    return true;
}

static bool read_tls(struct peer *peer)
{
    unsigned char buffer[16384];
    bool has_moved = false;
    int count;

    while ((count = SSL_read(peer->ssl, buffer, sizeof buffer)) > 0) {
        bytes_append(&peer->received, buffer, (size_t)count);
        has_moved = true;
    }
    return note_failure(peer, count) || has_moved;
}

static bool take_wire(struct peer *peer)
{
    unsigned char buffer[16384];
    bool has_moved = false;
    int count;

    while ((count = BIO_read(SSL_get_wbio(peer->ssl), buffer, sizeof buffer)) > 0) {
        bytes_append(&peer->outgoing, buffer, (size_t)count);
        has_moved = true;
    }
    return has_moved;
}

static bool step_tls(struct peer *peer)
{
    bool has_moved = false;

    if (peer->is_stuck || peer->ssl_error != 0)
        return false;
    ERR_clear_error();
    if (!peer->is_secured) {
        int result = SSL_do_handshake(peer->ssl);

        peer->is_secured = result == 1;
        has_moved = peer->is_secured || note_failure(peer, result);
    }
    if (peer->is_secured) {
        if (peer->waiting.length > 0) {
            int result = SSL_write(peer->ssl, peer->waiting.data, (int)peer->waiting.length);

            require_equal(result, peer->waiting.length);
            peer->waiting.length = 0;
        }
        has_moved |= read_tls(peer);
        if (peer->is_polite && peer->is_notified)
            SSL_shutdown(peer->ssl);
    }
    return take_wire(peer) || has_moved;
}

bool peer_step(struct peer *peer)
{
    bool has_moved = false;

    if (peer->fd < 0)
        return false;
    has_moved |= read_socket(peer);
    if (peer->ssl != NULL)
        has_moved |= step_tls(peer);
    return write_socket(peer) || has_moved;
}

short peer_get_interest(const struct peer *peer)
{
    int interest = 0;

    if (peer->error != 0)
        return 0;
    if (!peer->is_deaf && !peer->has_eof)
        interest |= POLLIN;
    if (!peer->is_mute && !peer->has_ended && peer->outgoing.length > 0)
        interest |= POLLOUT;
    return (short)interest;
}

void peer_start_tls(struct peer *peer, int version, int is_server)
{
    BIO *in, *out;

    fault_alloc_suspend();
    in = BIO_new(BIO_s_mem());
    out = BIO_new(BIO_s_mem());
    fault_alloc_resume();
    require(in != NULL && out != NULL);
    BIO_set_mem_eof_return(in, -1);
    BIO_set_mem_eof_return(out, -1);
    peer->ssl = certificate_make_ssl(version, is_server);
    SSL_set_bio(peer->ssl, in, out);
}

void peer_shut_down_tls(struct peer *peer)
{
    ERR_clear_error();
    SSL_shutdown(peer->ssl);
    take_wire(peer);
}

void peer_update_key(struct peer *peer, int type)
{
    require_equal(SSL_key_update(peer->ssl, type), 1);
    require_equal(SSL_do_handshake(peer->ssl), 1);
    take_wire(peer);
}

void peer_write(struct peer *peer, const void *data, size_t length)
{
    if (peer->ssl == NULL)
        bytes_append(&peer->outgoing, data, length);
    else
        bytes_append(&peer->waiting, data, length);
    if (peer->ssl != NULL && peer->is_secured)
        step_tls(peer);
}

void peer_write_text(struct peer *peer, const char *text)
{
    peer_write(peer, text, strlen(text));
}

void peer_write_wire(struct peer *peer, const void *data, size_t length)
{
    bytes_append(&peer->outgoing, data, length);
}
