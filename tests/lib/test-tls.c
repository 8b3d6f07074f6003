/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* The TLS engine alone, in memory, against itself and against plain OpenSSL. */
#include <aiofastnet/aiofastnet.h>
#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "certificate.h"
#include "fault-alloc.h"
#include "harness.h"

/* One end: an engine, or plain OpenSSL on memory BIOs. */
struct end {
    struct afn_tls *tls; /* NULL: plain */
    SSL *ssl;
    bool is_secured;
    struct bytes received;
    ssize_t last; /* what the last read said */
};

static void end_open(struct end *end, int version, int is_server, bool is_plain)
{
    *end = (struct end){.ssl = certificate_make_ssl(version, is_server)};
    if (is_plain)
        SSL_set_bio(end->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    else
        require_equal(afn_tls_new(end->ssl, &end->tls), 0);
}

static void end_close(struct end *end)
{
    require(afn_tls_free(end->tls) == NULL);
    SSL_free(end->ssl);
    bytes_free(&end->received);
}

/* Bytes go in from memory that is freed at once: the engine must have copied them. */
static void end_feed(struct end *end, const void *data, size_t length)
{
    void *copy = malloc(length);

    require(copy != NULL);
    memcpy(copy, data, length);
    if (end->tls != NULL)
        require_equal(afn_tls_feed(end->tls, copy, length), 0);
    else
        require_equal(BIO_write(SSL_get_rbio(end->ssl), copy, (int)length), length);
    free(copy);
}

static size_t end_drain(struct end *end, void *buffer, size_t length)
{
    int count;

    if (end->tls != NULL)
        return afn_tls_drain(end->tls, buffer, length);
    count = BIO_read(SSL_get_wbio(end->ssl), buffer, (int)length);
    return count > 0 ? (size_t)count : 0;
}

static int end_handshake(struct end *end)
{
    int result;

    if (end->tls != NULL)
        return afn_tls_handshake(end->tls);
    result = SSL_do_handshake(end->ssl);
    if (result == 1)
        return 0;
    return SSL_get_error(end->ssl, result) == SSL_ERROR_WANT_READ ? -EAGAIN : AFN_ERR_TLS;
}

static ssize_t end_read(struct end *end, void *buffer, size_t length)
{
    int count;

    if (end->tls != NULL)
        return afn_tls_read(end->tls, buffer, length);
    count = SSL_read(end->ssl, buffer, (int)length);
    if (count > 0)
        return count;
    switch (SSL_get_error(end->ssl, count)) {
    case SSL_ERROR_WANT_READ:
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        return AFN_ERR_TLS;
    }
}

static void end_write(struct end *end, const void *data, size_t length)
{
    if (end->tls != NULL)
        require_equal(afn_tls_write(end->tls, data, length), 0);
    else
        require_equal(SSL_write(end->ssl, data, (int)length), length);
}

/* Lets an end work on what it was fed. */
static void end_step(struct end *end)
{
    unsigned char buffer[20000];

    if (!end->is_secured) {
        int result = end_handshake(end);

        end->is_secured = result == 0;
        end->last = result;
    }
    if (!end->is_secured)
        return;
    while ((end->last = end_read(end, buffer, sizeof buffer)) > 0)
        bytes_append(&end->received, buffer, (size_t)end->last);
}

/* Moves the bytes of one end to the other in pieces; returns whether there were any. */
static bool move(struct end *from, struct end *to, size_t piece)
{
    unsigned char buffer[20000];
    bool has_moved = false;
    size_t count;

    while ((count = end_drain(from, buffer, piece < sizeof buffer ? piece : sizeof buffer)) > 0) {
        end_feed(to, buffer, count);
        end_step(to);
        has_moved = true;
    }
    return has_moved;
}

/* Until neither has anything to say. */
static void talk(struct end *client, struct end *server, size_t piece)
{
    end_step(client);
    end_step(server);
    while (move(client, server, piece) || move(server, client, piece))
        ;
}

/* Variants: the version, and which of the ends is plain. */
#define PAIRINGS (TLS_VERSIONS * 3)

static void open_ends(int variant, struct end *client, struct end *server)
{
    int version = certificate_get_version(variant % TLS_VERSIONS);
    int plain = variant / TLS_VERSIONS;

    end_open(client, version, 0, plain == 1);
    end_open(server, version, 1, plain == 2);
}

static void close_ends(struct end *client, struct end *server)
{
    end_close(client);
    end_close(server);
}

START_TEST(engine_carries_bytes_both_ways)
{
    struct end client, server;
    struct bytes up = {0};
    struct bytes down = {0};

    open_ends(_i, &client, &server);
    talk(&client, &server, SIZE_MAX);
    require(client.is_secured && server.is_secured);
    bytes_fill(&up, 500000, 20);
    bytes_fill(&down, 500000, 21);
    end_write(&client, up.data, up.length);
    end_write(&server, down.data, down.length);
    talk(&client, &server, 7777);
    require_same(&server.received, &up);
    require_same(&client.received, &down);
    require_equal(client.last, -EAGAIN);
    require_equal(server.last, -EAGAIN);
    bytes_free(&up);
    bytes_free(&down);
    close_ends(&client, &server);
}
END_TEST

START_TEST(engine_works_on_single_bytes)
{
    struct end client, server;

    open_ends(_i, &client, &server);
    talk(&client, &server, 1);
    require(client.is_secured && server.is_secured);
    end_write(&client, "hello", 5);
    end_write(&server, "world", 5);
    talk(&client, &server, 1);
    require_content(&server.received, "hello");
    require_content(&client.received, "world");
    close_ends(&client, &server);
}
END_TEST

START_TEST(engine_gathers_what_it_is_fed)
{
    struct end client, server;
    unsigned char wire[20000];
    size_t count;

    open_ends(_i, &client, &server);
    require_equal(end_handshake(&client), -EAGAIN);
    count = end_drain(&client, wire, sizeof wire);
    for (size_t i = 0; i < count; i++)
        end_feed(&server, wire + i, 1);
    talk(&client, &server, SIZE_MAX);
    for (int i = 0; i < 10; i++)
        end_write(&client, "0123456789", 10);
    count = end_drain(&client, wire, sizeof wire);
    for (size_t i = 0; i < count; i += 17)
        end_feed(&server, wire + i, count - i < 17 ? count - i : 17);
    end_step(&server);
    require_equal(server.received.length, 100);
    close_ends(&client, &server);
}
END_TEST

START_TEST(engine_reads_in_pieces_as_small_as_asked)
{
    struct end client, server;
    unsigned char wire[20000];
    struct bytes actual = {0};
    char piece[3];
    ssize_t got;

    open_ends(_i, &client, &server);
    talk(&client, &server, SIZE_MAX);
    for (int i = 0; i < 4; i++)
        end_write(&client, "0123456789", 10);
    end_feed(&server, wire, end_drain(&client, wire, sizeof wire));
    if (server.tls != NULL)
        require_equal(afn_tls_read(server.tls, piece, 0), -EINVAL);
    while ((got = end_read(&server, piece, sizeof piece)) > 0)
        bytes_append(&actual, piece, (size_t)got);
    require_equal(got, -EAGAIN);
    require_content(&actual, "0123456789012345678901234567890123456789");
    bytes_free(&actual);
    close_ends(&client, &server);
}
END_TEST

START_TEST(engine_says_again_that_the_handshake_is_complete)
{
    struct end client, server;

    open_ends(_i, &client, &server);
    talk(&client, &server, SIZE_MAX);
    for (int i = 0; i < 2; i++) {
        require_equal(end_handshake(&client), 0);
        require_equal(end_handshake(&server), 0);
    }
    close_ends(&client, &server);
}
END_TEST

START_TEST(engine_drains_nothing_twice)
{
    struct end client, server;
    unsigned char one[20000], rest[20000];
    size_t first, second;

    open_ends(_i, &client, &server);
    require_equal(end_handshake(&client), -EAGAIN);
    first = end_drain(&client, one, 50);
    require_equal(first, 50);
    second = end_drain(&client, rest, sizeof rest);
    require(second > 0);
    require_equal(end_drain(&client, rest, sizeof rest), 0);
    end_feed(&server, one, first);
    require_equal(end_handshake(&server), -EAGAIN);
    end_feed(&server, rest, second);
    talk(&client, &server, SIZE_MAX);
    require(client.is_secured && server.is_secured);
    close_ends(&client, &server);
}
END_TEST

START_TEST(engine_shutdown_is_complete_when_both_said_goodbye)
{
    struct end client, server;
    unsigned char wire[2000];
    size_t count;

    end_open(&client, certificate_get_version(_i), 0, false);
    end_open(&server, certificate_get_version(_i), 1, false);
    talk(&client, &server, SIZE_MAX);
    end_write(&client, "bye", 3);
    require_equal(afn_tls_shutdown(client.tls), -EAGAIN);
    require_equal(afn_tls_shutdown(client.tls), -EAGAIN);
    require(move(&client, &server, SIZE_MAX));
    require_content(&server.received, "bye");
    require_equal(server.last, 0);
    require_equal(end_read(&server, wire, sizeof wire), 0);
    require_equal(afn_tls_shutdown(server.tls), 0);
    count = end_drain(&server, wire, sizeof wire);
    require(count > 0);
    end_feed(&client, wire, count);
    require_equal(end_read(&client, wire, sizeof wire), 0);
    require_equal(afn_tls_shutdown(client.tls), 0);
    require_equal(end_drain(&client, wire, sizeof wire), 0);
    close_ends(&client, &server);
}
END_TEST

START_TEST(engine_reads_on_after_its_own_goodbye)
{
    struct end client, server;

    end_open(&client, certificate_get_version(_i), 0, false);
    end_open(&server, certificate_get_version(_i), 1, true);
    talk(&client, &server, SIZE_MAX);
    require_equal(afn_tls_shutdown(client.tls), -EAGAIN);
    end_write(&server, "answer", 6);
    talk(&client, &server, SIZE_MAX);
    require_equal(server.last, 0);
    require_content(&client.received, "answer");
    require_equal(client.last, -EAGAIN);
    close_ends(&client, &server);
}
END_TEST

/* T9: OpenSSL updates its keys with the write that follows the request. */
START_TEST(engine_survives_key_updates)
{
    struct end client, server;
    static const int types[] = {SSL_KEY_UPDATE_NOT_REQUESTED, SSL_KEY_UPDATE_REQUESTED};

    end_open(&client, TLS1_3_VERSION, 0, _i == 1);
    end_open(&server, TLS1_3_VERSION, 1, _i == 2);
    talk(&client, &server, SIZE_MAX);
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        require_equal(SSL_key_update(client.ssl, types[i]), 1);
        end_write(&client, "up", 2);
        talk(&client, &server, 100);
        require_equal(SSL_key_update(server.ssl, types[i]), 1);
        end_write(&server, "down", 4);
        talk(&client, &server, 100);
    }
    require_content(&server.received, "upup");
    require_content(&client.received, "downdown");
    close_ends(&client, &server);
}
END_TEST

START_TEST(engine_answers_a_key_update_that_asks_for_one_without_a_write)
{
    struct end client, server;
    unsigned char wire[2000];
    size_t count;

    end_open(&client, TLS1_3_VERSION, 0, true);
    end_open(&server, TLS1_3_VERSION, 1, false);
    talk(&client, &server, SIZE_MAX);
    require_equal(SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    require_equal(SSL_do_handshake(client.ssl), 1);
    count = end_drain(&client, wire, sizeof wire);
    require(count > 0);
    end_feed(&server, wire, count);
    end_step(&server);
    require_equal(server.last, -EAGAIN);
    end_write(&server, "data", 4);
    talk(&client, &server, SIZE_MAX);
    require_content(&client.received, "data");
    close_ends(&client, &server);
}
END_TEST

/* T9: in TLS 1.2 a write needs bytes of the peer while it renegotiates. */
START_TEST(engine_survives_a_renegotiation)
{
    struct end client, server;

    end_open(&client, TLS1_2_VERSION, 0, false);
    end_open(&server, TLS1_2_VERSION, 1, true);
    talk(&client, &server, SIZE_MAX);
    require_equal(SSL_renegotiate(server.ssl), 1);
    require_equal(SSL_do_handshake(server.ssl), 1);
    require(move(&server, &client, SIZE_MAX));
    require_equal(client.last, -EAGAIN);
    require_equal(afn_tls_write(client.tls, "later", 5), -EAGAIN);
    talk(&client, &server, SIZE_MAX);
    require_equal(afn_tls_write(client.tls, "later", 5), 0);
    talk(&client, &server, SIZE_MAX);
    require_content(&server.received, "later");
    close_ends(&client, &server);
}
END_TEST

START_TEST(engine_fails_on_garbage)
{
    struct end client, server;
    unsigned char alert[100];
    static const char garbage[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    end_open(&client, certificate_get_version(_i), 0, false);
    end_open(&server, certificate_get_version(_i), 1, false);
    end_feed(&server, garbage, sizeof garbage - 1);
    require_equal(end_handshake(&server), AFN_ERR_TLS);
    require_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_HTTP_REQUEST);
    require_equal(end_handshake(&server), AFN_ERR_TLS);
    require_equal(end_read(&server, alert, sizeof alert), AFN_ERR_TLS);
    require_equal(afn_tls_write(server.tls, "x", 1), AFN_ERR_TLS);
    require_equal(afn_tls_shutdown(server.tls), AFN_ERR_TLS);
    ERR_clear_error();
    close_ends(&client, &server);
}
END_TEST

/* T47: the alert that says why is for the wire, although the call failed. */
START_TEST(engine_makes_an_alert_when_it_does_not_trust_the_peer)
{
    struct end client, server;

    open_ends(_i, &client, &server);
    SSL_set_verify(client.ssl, SSL_VERIFY_PEER, NULL);
    require_equal(SSL_set1_host(client.ssl, "another.example"), 1);
    talk(&client, &server, SIZE_MAX);
    require(!client.is_secured);
    require_equal(client.last, AFN_ERR_TLS);
    require_equal(server.last, AFN_ERR_TLS);
    ERR_clear_error();
    close_ends(&client, &server);
}
END_TEST

START_TEST(engine_reads_what_came_before_a_broken_record)
{
    struct end client, server;
    unsigned char wire[2000];
    size_t first, second;
    char buffer[100];

    open_ends(_i, &client, &server);
    talk(&client, &server, SIZE_MAX);
    end_write(&client, "good", 4);
    first = end_drain(&client, wire, sizeof wire);
    end_write(&client, "bad!", 4);
    second = end_drain(&client, wire + first, sizeof wire - first);
    wire[first + second - 1] ^= 1;
    end_feed(&server, wire, first + second);
    require_equal(end_read(&server, buffer, sizeof buffer), 4);
    require(memcmp(buffer, "good", 4) == 0);
    require_equal(end_read(&server, buffer, sizeof buffer), AFN_ERR_TLS);
    /* The peer learns of it. */
    ERR_clear_error();
    require(move(&server, &client, SIZE_MAX));
    require_equal(client.last, AFN_ERR_TLS);
    ERR_clear_error();
    close_ends(&client, &server);
}
END_TEST

START_TEST(engine_waits_for_the_rest_of_a_record)
{
    struct end client, server;
    unsigned char wire[2000];
    char buffer[100];
    size_t count;

    open_ends(_i, &client, &server);
    talk(&client, &server, SIZE_MAX);
    end_write(&client, "hello", 5);
    count = end_drain(&client, wire, sizeof wire);
    for (size_t i = 0; i < count; i++) {
        require_equal(end_read(&server, buffer, sizeof buffer), -EAGAIN);
        end_feed(&server, wire + i, 1);
    }
    require_equal(end_read(&server, buffer, sizeof buffer), 5);
    close_ends(&client, &server);
}
END_TEST

/* T8 */
START_TEST(engine_ignores_a_stale_error)
{
    struct end client, server;
    char buffer[100];

    open_ends(_i, &client, &server);
    do {
        ERR_raise(ERR_LIB_USER, 1);
        end_handshake(&client);
        if (client.tls == NULL || server.tls == NULL)
            ERR_clear_error();
        talk(&client, &server, SIZE_MAX);
    } while (!client.is_secured || !server.is_secured);
    for (struct end *end = &client;; end = &server) {
        if (end->tls != NULL) {
            ERR_raise(ERR_LIB_USER, 1);
            require_equal(afn_tls_read(end->tls, buffer, sizeof buffer), -EAGAIN);
            ERR_raise(ERR_LIB_USER, 1);
            require_equal(afn_tls_write(end->tls, "x", 1), 0);
            ERR_raise(ERR_LIB_USER, 1);
            require_equal(afn_tls_shutdown(end->tls), -EAGAIN);
        }
        if (end == &server)
            break;
    }
    ERR_clear_error();
    close_ends(&client, &server);
}
END_TEST

/* The linker puts this in the place of OpenSSL's. */
int __real_SSL_get_error(const SSL *ssl, int returned);
int __wrap_SSL_get_error(const SSL *ssl, int returned);

static const SSL *misjudged;

/* What some versions say of a BIO that wants to be asked again. */
int __wrap_SSL_get_error(const SSL *ssl, int returned)
{
    int error = __real_SSL_get_error(ssl, returned);

    return ssl == misjudged && error == SSL_ERROR_WANT_READ ? SSL_ERROR_SYSCALL : error;
}

/* T8: a failed system call of a BIO that has none is a wish for more. */
START_TEST(engine_takes_a_retry_for_what_it_is)
{
    struct end client, server;

    open_ends(_i, &client, &server);
    misjudged = client.ssl;
    require_equal(end_handshake(&client), -EAGAIN);
    talk(&client, &server, 100);
    require(client.is_secured && server.is_secured);
    end_write(&server, "hello", 5);
    talk(&client, &server, 3);
    require_content(&client.received, "hello");
    require_equal(client.last, -EAGAIN);
    misjudged = NULL;
    close_ends(&client, &server);
}
END_TEST

/* T7 */
START_TEST(engine_says_no_to_bio_controls_that_it_does_not_know)
{
    struct end client;
    BIO *bio;

    end_open(&client, TLS1_3_VERSION, 0, false);
    bio = SSL_get_wbio(client.ssl);
    /* SET_KTLS and its relatives are numbers that are not in every header. */
    for (int command = 70; command < 130; command++)
        if (command != BIO_CTRL_FLUSH)
            require_equal(BIO_ctrl(bio, command, 1, NULL), 0);
    require_equal(BIO_ctrl(bio, 0x7FFF, 1, NULL), 0);
    require_equal(BIO_flush(bio), 1);
    end_close(&client);
}
END_TEST

START_TEST(engine_refuses_null)
{
    struct afn_tls *tls = NULL;

    require_equal(afn_tls_new(NULL, &tls), -EINVAL);
    require(tls == NULL);
    require(afn_tls_free(NULL) == NULL);
}
END_TEST

/* The SSL is shared: its BIO must not lead to an engine that is gone. */
START_TEST(engine_leaves_a_harmless_ssl_behind)
{
    struct end client;
    char buffer[10];

    end_open(&client, TLS1_3_VERSION, 0, false);
    require_equal(end_handshake(&client), -EAGAIN);
    client.tls = afn_tls_free(client.tls);
    require(SSL_read(client.ssl, buffer, sizeof buffer) <= 0);
    require(SSL_do_handshake(client.ssl) <= 0);
    ERR_clear_error();
    end_close(&client);
}
END_TEST

/* OpenSSL reads ahead when told so, into a buffer of its own: nothing may be forgotten there. */
START_TEST(engine_reads_all_records_also_when_openssl_reads_ahead)
{
    struct end client, server;
    char buffer[100];
    unsigned char wire[2000];
    size_t count;

    end_open(&client, certificate_get_version(_i), 0, false);
    end_open(&server, certificate_get_version(_i), 1, false);
    SSL_set_read_ahead(server.ssl, 1);
    talk(&client, &server, SIZE_MAX);
    for (int i = 0; i < 3; i++)
        end_write(&client, "abc", 3);
    count = end_drain(&client, wire, sizeof wire);
    end_feed(&server, wire, count);
    for (int i = 0; i < 3; i++)
        require_equal(end_read(&server, buffer, sizeof buffer), 3);
    require_equal(end_read(&server, buffer, sizeof buffer), -EAGAIN);
    close_ends(&client, &server);
}
END_TEST

/* T44, for every allocation of ours: the engine works, or says so, and nothing is lost. */
static int try_with_failures(struct end *client, struct end *server)
{
    unsigned char buffer[4000];
    size_t count;
    int result;

    for (int turn = 0; turn < 6; turn++) {
        result = afn_tls_handshake(client->tls);
        if (result < 0 && result != -EAGAIN)
            return result;
        while ((count = afn_tls_drain(client->tls, buffer, sizeof buffer)) > 0) {
            result = afn_tls_feed(server->tls, buffer, count);
            if (result < 0)
                return result;
        }
        result = afn_tls_handshake(server->tls);
        if (result < 0 && result != -EAGAIN)
            return result;
        while ((count = afn_tls_drain(server->tls, buffer, sizeof buffer)) > 0) {
            result = afn_tls_feed(client->tls, buffer, count);
            if (result < 0)
                return result;
        }
    }
    return 0;
}

START_TEST(engine_survives_the_failure_of_every_allocation)
{
    for (unsigned int k = 1;; k++) {
        struct end client = {.ssl = certificate_make_ssl(certificate_get_version(_i), 0)};
        struct end server = {.ssl = certificate_make_ssl(certificate_get_version(_i), 1)};
        bool has_failed;
        int result;

        fault_alloc_arm(k, false);
        result = afn_tls_new(client.ssl, &client.tls);
        require(result == 0 || client.tls == NULL);
        if (result == 0) {
            result = afn_tls_new(server.ssl, &server.tls);
            require(result == 0 || server.tls == NULL);
        }
        if (result == 0)
            result = try_with_failures(&client, &server);
        has_failed = fault_alloc_disarm();
        if (has_failed)
            require(result == -ENOMEM || result == AFN_ERR_TLS);
        else
            require_equal(result, 0);
        ERR_clear_error();
        close_ends(&client, &server);
        if (!has_failed) {
            require(k > 4);
            break;
        }
    }
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {engine_carries_bytes_both_ways, PAIRINGS},
        {engine_works_on_single_bytes, PAIRINGS},
        {engine_reads_in_pieces_as_small_as_asked, PAIRINGS},
        {engine_says_again_that_the_handshake_is_complete, PAIRINGS},
        {engine_drains_nothing_twice, PAIRINGS},
        {engine_shutdown_is_complete_when_both_said_goodbye, TLS_VERSIONS},
        {engine_reads_on_after_its_own_goodbye, TLS_VERSIONS},
        {engine_survives_key_updates, 3},
        {engine_answers_a_key_update_that_asks_for_one_without_a_write, 1},
        {engine_survives_a_renegotiation, 1},
        {engine_takes_a_retry_for_what_it_is, TLS_VERSIONS},
        {engine_fails_on_garbage, TLS_VERSIONS},
        {engine_makes_an_alert_when_it_does_not_trust_the_peer, PAIRINGS},
        {engine_reads_what_came_before_a_broken_record, PAIRINGS},
        {engine_waits_for_the_rest_of_a_record, PAIRINGS},
        {engine_ignores_a_stale_error, PAIRINGS},
        {engine_says_no_to_bio_controls_that_it_does_not_know, 1},
        {engine_refuses_null, 1},
        {engine_leaves_a_harmless_ssl_behind, 1},
        {engine_reads_all_records_also_when_openssl_reads_ahead, TLS_VERSIONS},
        {engine_survives_the_failure_of_every_allocation, TLS_VERSIONS},
        {engine_gathers_what_it_is_fed, PAIRINGS},
    };

    return harness_main("tls", cases, COUNT_OF(cases));
}
