/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* Kernel TLS.  AFN_TEST_KTLS=1 says that the kernel must have it. */
#include <errno.h>
#include <stdio.h>

#include "harness.h"
#include "ktls-link.h"
#include "tls-link.h"

START_TEST(kernel_is_there_where_it_must_be)
{
    if (!ktls_is_there())
        fprintf(stderr, "# the kernel has no TLS: its tests see ordinary TLS only\n");
    require(!ktls_must_be_there() || (ktls_is_there() && afn_has_ktls()));
}
END_TEST

START_TEST(directions_are_those_that_kernel_and_openssl_are_known_to_do)
{
    struct ktls_setting setting = ktls_get_setting(_i);
    long sending = ktls_read_statistic("TlsTxSw"), receiving = ktls_read_statistic("TlsRxSw");
    unsigned int expected = ktls_expect(&setting);
    struct world world;
    struct link link;

    link_open_ktls(&link, &world, &setting);
    require_equal(afn_stream_get_ktls(link.stream), expected);
    ktls_require_growth("TlsTxSw", sending, (expected & AFN_KTLS_SEND) != 0);
    ktls_require_growth("TlsRxSw", receiving, (expected & AFN_KTLS_RECEIVE) != 0);
    require((afn_stream_get_ktls_reason(link.stream) != NULL) ==
            (setting.mode != KTLS_OFF && !(expected & AFN_KTLS_SEND)));
    link_close_world(&link);
}
END_TEST

static void require_echo(struct link *link, const size_t *lengths, size_t count)
{
    struct bytes expected = {0};

    link->recorder.echoes = true;
    for (size_t i = 0; i < count; i++) {
        struct bytes sent = {0};

        bytes_fill(&sent, lengths[i], (unsigned int)i);
        bytes_append(&expected, sent.data, sent.length);
        peer_write(&link->peer, sent.data, sent.length);
        pump_until(link->world, link->peer.received.length >= expected.length);
        bytes_free(&sent);
    }
    require_same(&link->peer.received, &expected);
    bytes_free(&expected);
}

START_TEST(bytes_are_the_same_in_both_directions)
{
    static const size_t lengths[] = {1, 2, 1000, 16384, 16385, 100000, 1 << 20};
    struct ktls_setting setting = ktls_get_setting(_i);
    struct world world;
    struct link link;

    link_open_ktls(&link, &world, &setting);
    require_echo(&link, lengths, COUNT_OF(lengths));
    link_close_world(&link);
}
END_TEST

START_TEST(many_bytes_are_the_same_in_both_directions)
{
    static const size_t length = 4 << 20;
    struct ktls_setting setting = ktls_get_short_setting(_i);
    struct world world;
    struct link link;

    link_open_ktls(&link, &world, &setting);
    require_echo(&link, &length, 1);
    link_close_world(&link);
}
END_TEST

START_TEST(peer_that_does_not_read_holds_the_writer_back)
{
    struct ktls_setting setting = ktls_get_short_setting(_i);
    struct world world;
    struct link link;
    struct bytes sent = {0};

    link_open_ktls(&link, &world, &setting);
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
    link_close_world(&link);
}
END_TEST

START_TEST(what_was_written_in_the_clear_comes_before_the_handshake)
{
    struct ktls_setting setting = ktls_get_short_setting(_i);
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    require_equal(afn_stream_write(link.stream, "clear", 5), 0);
    pump_until(&world, link.peer.received.length == 5);
    require_content(&link.peer.received, "clear");
    bytes_remove_front(&link.peer.received, 5);
    link_start_ktls(&link, &setting);
    link_await_secured(&link);
    require_equal(afn_stream_get_ktls(link.stream), ktls_expect(&setting));
    require_equal(afn_stream_write(link.stream, "secret", 6), 0);
    pump_until(&world, link.peer.received.length == 6);
    require_content(&link.peer.received, "secret");
    link_close_world(&link);
}
END_TEST

START_TEST(unix_socket_has_ordinary_tls)
{
    struct ktls_setting setting = ktls_get_short_setting(_i);
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, NULL);
    link_start_ktls(&link, &setting);
    link_await_secured(&link);
    require_equal(afn_stream_get_ktls(link.stream), 0);
    require(afn_stream_get_ktls_reason(link.stream) != NULL);
    require_equal(afn_stream_write(link.stream, "secret", 6), 0);
    pump_until(&world, link.peer.received.length == 6);
    link_close_world(&link);
}
END_TEST

/* T43: with OpenSSL's SSL_OP_ENABLE_KTLS_TX_ZEROCOPY_SENDFILE, a file that changes while it is sent
 * would break its records: that is for the program to allow. */
START_TEST(zero_copy_is_never_switched_on)
{
    static const uint64_t zero_copy = UINT64_C(1) << 34; /* OpenSSL 3.0 has no name for it */
    struct ktls_setting setting = ktls_get_short_setting(_i);
    struct world world;
    struct link link;

    link_open_ktls(&link, &world, &setting);
    require_equal(SSL_get_options(afn_stream_get_ssl(link.stream)) & zero_copy, 0);
    link_close_world(&link);
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
    link_close_world(&link);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {kernel_is_there_where_it_must_be, 1},
        {directions_are_those_that_kernel_and_openssl_are_known_to_do, KTLS_SETTINGS},
        {bytes_are_the_same_in_both_directions, KTLS_SETTINGS},
        {many_bytes_are_the_same_in_both_directions, KTLS_SHORT_SETTINGS},
        {peer_that_does_not_read_holds_the_writer_back, KTLS_SHORT_SETTINGS},
        {what_was_written_in_the_clear_comes_before_the_handshake, KTLS_SHORT_SETTINGS},
        {unix_socket_has_ordinary_tls, KTLS_SHORT_SETTINGS},
        {zero_copy_is_never_switched_on, KTLS_SHORT_SETTINGS},
        {unknown_flags_are_refused, 1},
    };

    return harness_main("stream-ktls", cases, COUNT_OF(cases));
}
