/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/*
 * Kernel TLS, with an ordinary OpenSSL as the peer.  Where the kernel has none, the same tests see
 * that the connection is as good without; AFN_TEST_KTLS=1 says that it must have it.
 */
#include <errno.h>
#include <openssl/opensslv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certificate.h"
#include "harness.h"
#include "sys.h"
#include "world.h"

enum mode { MODE_OFF, MODE_SEND, MODE_BOTH, MODES };

static const struct {
    const char *name;
    const char *tls_two; /* of TLS 1.2 */
    const char *tls_three;
} ciphers[] = {
    {"AES-128-GCM", "ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256"},
    {"AES-256-GCM", "ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_AES_256_GCM_SHA384"},
    {"CHACHA20-POLY1305", "ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_CHACHA20_POLY1305_SHA256"},
};

/* What a test runs with, worked out of its variant. */
struct setting {
    int version;
    int is_server;
    size_t cipher;
    enum mode mode;
};

#define ROLES 2
#define SETTINGS (TLS_VERSIONS * ROLES * (int)COUNT_OF(ciphers) * MODES)
/* With one cipher, and the kernel wanted. */
#define SHORT_SETTINGS (TLS_VERSIONS * ROLES * 2)

static struct setting get_setting(int variant)
{
    struct setting setting;

    setting.version = certificate_get_version(variant % TLS_VERSIONS);
    variant /= TLS_VERSIONS;
    setting.is_server = variant % ROLES;
    variant /= ROLES;
    setting.mode = (enum mode)(variant % MODES);
    setting.cipher = (size_t)(variant / MODES);
    return setting;
}

static struct setting get_short_setting(int variant)
{
    struct setting setting = get_setting(variant % (TLS_VERSIONS * ROLES));

    setting.mode = variant < TLS_VERSIONS * ROLES ? MODE_SEND : MODE_BOTH;
    return setting;
}

static bool has_kernel_tls(void)
{
    static int result = -1;
    int fds[2];

    if (result < 0) {
        sockets_make_pair(PAIR_TCP, fds);
        result = afn__sys_enable_tls(fds[0]) == 0;
        afn__sys_close(fds[0]);
        afn__sys_close(fds[1]);
    }
    return result > 0;
}

/* What OpenSSL and Linux are known to do: the table of aiofastnet(7). */
static unsigned int expect_directions(const struct setting *setting)
{
    bool receives = setting->version == TLS1_2_VERSION;

#if OPENSSL_VERSION_NUMBER >= 0x30200000L
    receives = true;
#endif
    if (setting->mode == MODE_OFF || !has_kernel_tls() || !afn_has_ktls())
        return 0;
    return AFN_KTLS_SEND | (receives && setting->mode == MODE_BOTH ? AFN_KTLS_RECEIVE : 0);
}

static void set_cipher(SSL *ssl, const struct setting *setting)
{
    if (setting->version == TLS1_2_VERSION)
        require_equal(SSL_set_cipher_list(ssl, ciphers[setting->cipher].tls_two), 1);
    else
        require_equal(SSL_set_ciphersuites(ssl, ciphers[setting->cipher].tls_three), 1);
}

static void secure(struct link *link, const struct setting *setting)
{
    struct afn_tls_options options = {.size = sizeof(options)};
    SSL *ssl = certificate_make_ssl(setting->version, setting->is_server);

    if (setting->mode == MODE_BOTH)
        options.flags = AFN_TLS_KTLS_RX;
    if (setting->mode != MODE_OFF)
        SSL_set_options(ssl, SSL_OP_ENABLE_KTLS);
    set_cipher(ssl, setting);
    require_equal(afn_stream_start_tls(link->stream, ssl, &options), 0);
    SSL_free(ssl);
    peer_start_tls(&link->peer, setting->version, !setting->is_server);
    pump_until(link->world, link->recorder.counts[EVENT_SECURED] == 1 && link->peer.is_secured);
}

static void open_all(struct world *world, struct link *link, const struct setting *setting)
{
    world_open(world);
    link_open(link, world, PAIR_TCP, NULL);
    secure(link, setting);
}

static void close_all(struct world *world, struct link *link)
{
    link_close(link);
    world_close(world);
}

/* A line of /proc/net/tls_stat, or 0. */
static long read_statistic(const char *name)
{
    FILE *file = fopen("/proc/net/tls_stat", "r");
    char word[64];
    long value, result = 0;

    while (file != NULL && fscanf(file, "%63s %ld", word, &value) == 2)
        if (strcmp(word, name) == 0)
            result = value;
    if (file != NULL)
        fclose(file);
    return result;
}

START_TEST(kernel_is_there_where_it_must_be)
{
    const char *wanted = getenv("AFN_TEST_KTLS");

    if (!has_kernel_tls())
        fprintf(stderr, "# the kernel has no TLS: its tests see ordinary TLS only\n");
    require(wanted == NULL || strcmp(wanted, "1") != 0 || has_kernel_tls());
}
END_TEST

START_TEST(directions_are_those_that_kernel_and_openssl_are_known_to_do)
{
    struct setting setting = get_setting(_i);
    long sending = read_statistic("TlsTxSw"), receiving = read_statistic("TlsRxSw");
    unsigned int expected = expect_directions(&setting);
    struct world world;
    struct link link;

    open_all(&world, &link, &setting);
    require_equal(afn_stream_get_ktls(link.stream), expected);
    require_equal(read_statistic("TlsTxSw") - sending, (expected & AFN_KTLS_SEND) != 0);
    require_equal(read_statistic("TlsRxSw") - receiving, (expected & AFN_KTLS_RECEIVE) != 0);
    require((afn_stream_get_ktls_reason(link.stream) != NULL) ==
            (setting.mode != MODE_OFF && !(expected & AFN_KTLS_SEND)));
    close_all(&world, &link);
}
END_TEST

START_TEST(bytes_are_the_same_in_both_directions)
{
    static const size_t lengths[] = {1, 2, 1000, 16384, 16385, 100000, 4 << 20};
    struct setting setting = get_setting(_i);
    struct world world;
    struct link link;
    struct bytes expected = {0};

    open_all(&world, &link, &setting);
    link.recorder.echoes = true;
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        struct bytes sent = {0};

        bytes_fill(&sent, lengths[i], (unsigned int)i);
        bytes_append(&expected, sent.data, sent.length);
        peer_write(&link.peer, sent.data, sent.length);
        pump_until(&world, link.peer.received.length >= expected.length);
        bytes_free(&sent);
    }
    require_same(&link.peer.received, &expected);
    bytes_free(&expected);
    close_all(&world, &link);
}
END_TEST

START_TEST(close_flushes_and_says_goodbye)
{
    struct setting setting = get_short_setting(_i);
    struct world world;
    struct link link;
    struct bytes sent = {0};

    open_all(&world, &link, &setting);
    link.peer.is_polite = true;
    bytes_fill(&sent, 3 << 20, 3);
    require(afn_stream_write(link.stream, sent.data, sent.length) >= 0);
    recorder_end(&link.recorder);
    pump_until(&world, recorder_is_closed(&link.recorder));
    pump_until(&world, link.peer.is_notified);
    require_equal(link.recorder.error, 0);
    require_same(&link.peer.received, &sent);
    bytes_free(&sent);
    close_all(&world, &link);
}
END_TEST

START_TEST(goodbye_of_the_peer_is_a_proper_end)
{
    struct setting setting = get_short_setting(_i);
    struct world world;
    struct link link;

    open_all(&world, &link, &setting);
    peer_write_text(&link.peer, "last words");
    peer_shut_down_tls(&link.peer);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_content(&link.recorder.data, "last words");
    require_equal(link.recorder.counts[EVENT_EOF], 1);
    require_equal(link.recorder.error, 0);
    close_all(&world, &link);
}
END_TEST

START_TEST(end_without_a_goodbye_is_a_truncation)
{
    struct setting setting = get_short_setting(_i);
    struct world world;
    struct link link;

    open_all(&world, &link, &setting);
    peer_write_text(&link.peer, "last words");
    link.peer.ends = true;
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_content(&link.recorder.data, "last words");
    require_equal(link.recorder.error, AFN_ERR_TRUNCATED);
    close_all(&world, &link);
}
END_TEST

START_TEST(peer_that_does_not_read_holds_the_writer_back)
{
    struct setting setting = get_short_setting(_i);
    struct world world;
    struct link link;
    struct bytes sent = {0};

    open_all(&world, &link, &setting);
    link.peer.is_deaf = true;
    bytes_fill(&sent, 16 << 20, 4);
    require_equal(afn_stream_write(link.stream, sent.data, sent.length), 1);
    pump_idle(&world);
    require(afn_stream_get_write_buffer_size(link.stream) > 0);
    require_equal(link.recorder.counts[EVENT_WRITABLE], 0);
    link.peer.is_deaf = false;
    pump_until(&world, link.peer.received.length >= sent.length);
    require_same(&link.peer.received, &sent);
    pump_idle(&world);
    require_equal(link.recorder.counts[EVENT_WRITABLE], 1);
    bytes_free(&sent);
    close_all(&world, &link);
}
END_TEST

/* The kernel of the tests cannot change its keys, so the peer's request for ours has no answer:
 * both directions must go on all the same. */
START_TEST(key_update_of_the_peer_breaks_nothing)
{
    struct setting setting = {TLS1_3_VERSION, _i % 2, 0, MODE_SEND};
    int type = _i < 2 ? SSL_KEY_UPDATE_NOT_REQUESTED : SSL_KEY_UPDATE_REQUESTED;
    struct world world;
    struct link link;

    open_all(&world, &link, &setting);
    pump_idle(&world);
    peer_update_key(&link.peer, type);
    peer_write_text(&link.peer, "under the new key");
    pump_until(&world, link.recorder.data.length >= 17);
    require_content(&link.recorder.data, "under the new key");
    require_equal(afn_stream_write(link.stream, "answer", 6), 0);
    pump_until(&world, link.peer.received.length >= 6);
    require_content(&link.peer.received, "answer");
    peer_update_key(&link.peer, type);
    peer_write_text(&link.peer, "again");
    pump_until(&world, link.recorder.data.length >= 22);
    link.peer.is_polite = true;
    recorder_end(&link.recorder);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_equal(link.recorder.error, 0);
    close_all(&world, &link);
}
END_TEST

START_TEST(abort_with_much_to_send_leaves_nothing)
{
    struct setting setting = get_short_setting(_i);
    struct world world;
    struct link link;
    struct bytes sent = {0};

    open_all(&world, &link, &setting);
    link.peer.is_deaf = true;
    bytes_fill(&sent, 8 << 20, 5);
    require_equal(afn_stream_write(link.stream, sent.data, sent.length), 1);
    recorder_abort(&link.recorder, 0);
    pump_until(&world, recorder_is_closed(&link.recorder));
    bytes_free(&sent);
    close_all(&world, &link);
}
END_TEST

START_TEST(what_was_written_in_the_clear_comes_before_the_handshake)
{
    struct setting setting = get_short_setting(_i);
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    require_equal(afn_stream_write(link.stream, "clear", 5), 0);
    pump_until(&world, link.peer.received.length == 5);
    require_content(&link.peer.received, "clear");
    bytes_remove_front(&link.peer.received, 5);
    secure(&link, &setting);
    require_equal(afn_stream_get_ktls(link.stream), expect_directions(&setting));
    require_equal(afn_stream_write(link.stream, "secret", 6), 0);
    pump_until(&world, link.peer.received.length == 6);
    require_content(&link.peer.received, "secret");
    close_all(&world, &link);
}
END_TEST

START_TEST(unix_socket_has_ordinary_tls)
{
    struct setting setting = get_short_setting(_i);
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, NULL);
    secure(&link, &setting);
    require_equal(afn_stream_get_ktls(link.stream), 0);
    require(afn_stream_get_ktls_reason(link.stream) != NULL);
    require_equal(afn_stream_write(link.stream, "secret", 6), 0);
    pump_until(&world, link.peer.received.length == 6);
    close_all(&world, &link);
}
END_TEST

START_TEST(unknown_flags_are_refused)
{
    struct afn_tls_options options = {.size = sizeof(options), .flags = ~AFN_TLS_KTLS_RX};
    struct world world;
    struct link link;
    SSL *ssl = certificate_make_ssl(TLS1_3_VERSION, 1);

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    require_equal(afn_stream_start_tls(link.stream, ssl, &options), -EINVAL);
    SSL_free(ssl);
    close_all(&world, &link);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {kernel_is_there_where_it_must_be, 1},
        {directions_are_those_that_kernel_and_openssl_are_known_to_do, SETTINGS},
        {bytes_are_the_same_in_both_directions, SETTINGS},
        {close_flushes_and_says_goodbye, SHORT_SETTINGS},
        {goodbye_of_the_peer_is_a_proper_end, SHORT_SETTINGS},
        {end_without_a_goodbye_is_a_truncation, SHORT_SETTINGS},
        {peer_that_does_not_read_holds_the_writer_back, SHORT_SETTINGS},
        {key_update_of_the_peer_breaks_nothing, 4},
        {abort_with_much_to_send_leaves_nothing, SHORT_SETTINGS},
        {what_was_written_in_the_clear_comes_before_the_handshake, SHORT_SETTINGS},
        {unix_socket_has_ordinary_tls, SHORT_SETTINGS},
        {unknown_flags_are_refused, 1},
    };

    return harness_main("stream-ktls", cases, COUNT_OF(cases));
}
