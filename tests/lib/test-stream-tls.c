/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* TLS on a stream: the handshake and the bytes. */
#include <errno.h>
#include <linux/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "harness.h"
#include "tls-link.h"

START_TEST(tls_handshake_ends_with_secured)
{
    struct world world;
    struct link link;

    link_open_secured(&link, &world, _i, NULL);
    require_story(&link.recorder, "secured");
    require(SSL_is_init_finished(afn_stream_get_ssl(link.stream)));
    require_equal(SSL_version(afn_stream_get_ssl(link.stream)), variant_get_version(_i));
    require_equal(afn_stream_get_tls_error(link.stream), 0);
    link_close_world(&link);
}
END_TEST

START_TEST(tls_echoes)
{
    struct world world;
    struct link link;

    link_open_secured(&link, &world, _i, NULL);
    link.recorder.echoes = true;
    peer_write_text(&link.peer, "hello");
    pump_until(&world, link.peer.received.length == 5);
    require_content(&link.peer.received, "hello");
    require_story(&link.recorder, "secured data(5)");
    link_close_world(&link);
}
END_TEST

START_TEST(tls_needs_one_receive_and_one_send_for_an_echo)
{
    struct world world;
    struct link link;

    link_open_secured(&link, &world, _i, NULL);
    link.recorder.echoes = true;
    fault_sys_clear_counts();
    for (size_t i = 1; i <= 10; i++) {
        peer_write_text(&link.peer, "0123456789");
        pump_until(&world, link.peer.received.length == i * 10);
        pump_idle(&world);
    }
    require_equal(fault_sys_count(FAULT_RECV), 10);
    require_equal(fault_sys_count(FAULT_SEND), 10);
    link_close_world(&link);
}
END_TEST

/* What OpenSSL says about each header of a record: [0] read, [1] written. */
static unsigned int headers[2];

static void on_message(int is_write, int version, int type, const void *data, size_t length,
                       SSL *ssl, void *user)
{
    (void)version, (void)data, (void)length, (void)ssl, (void)user;
    if (type == SSL3_RT_HEADER)
        headers[is_write]++;
}

static uint64_t ask_bytes_received(int fd)
{
    struct tcp_info info = {0};
    socklen_t length = sizeof info;

    require_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length), 0);
    return info.tcpi_bytes_received;
}

START_TEST(tls_counts_bytes_of_the_wire_and_records)
{
    struct world world;
    struct link link;
    struct bytes data = {0};
    struct afn_stream_stats stats;

    headers[0] = headers[1] = 0;
    link_open_tls(&link, &world, _i, NULL, NULL);
    SSL_set_msg_callback(afn_stream_get_ssl(link.stream), on_message);
    bytes_fill(&data, 100000, 1);
    require(afn_stream_write(link.stream, data.data, data.length) >= 0);
    peer_write(&link.peer, data.data, 50000);
    pump_until(&world, link.peer.received.length == data.length);
    pump_until(&world, link.recorder.data.length == 50000);
    pump_idle(&world);
    require_equal(afn_stream_get_stats(link.stream, &stats, sizeof stats), 0);
    require_equal(stats.bytes_received, 50000);
    require_equal(stats.bytes_sent, 100000);
    require_equal(stats.wire_bytes_received, ask_bytes_received(link.fd));
    require_equal(stats.wire_bytes_sent, ask_bytes_received(link.peer.fd));
    require_equal(stats.records_received, headers[0]);
    require_equal(stats.records_sent, headers[1]);
    require(headers[0] >= 4 && headers[1] >= 7);
    require_equal(stats.receive_calls, fault_sys_count(FAULT_RECV));
    require_equal(stats.send_calls, fault_sys_count(FAULT_SEND));
    bytes_free(&data);
    link_close_world(&link);
}
END_TEST

START_TEST(tls_carries_much_both_ways_through_small_buffers)
{
    struct world world;
    struct link link;
    struct bytes up = {0};
    struct bytes down = {0};

    world_open(&world);
    /* Not TCP: with windows as small as these it waits for its timers. */
    link_open(&link, &world, PAIR_UNIX, NULL);
    link_secure(&link, variant_get_version(_i), variant_is_server(_i));
    sockets_shrink(link.fd);
    sockets_shrink(link.peer.fd);
    bytes_fill(&up, 3000000, 30);
    bytes_fill(&down, 3000000, 31);
    peer_write(&link.peer, up.data, up.length);
    require_equal(afn_stream_write(link.stream, down.data, down.length), 1);
    pump_until(&world,
               link.recorder.data.length >= up.length && link.peer.received.length >= down.length);
    require_same(&link.recorder.data, &up);
    require_same(&link.peer.received, &down);
    require_equal(link.recorder.counts[EVENT_WRITABLE], 1);
    require_equal(afn_stream_get_write_buffer_size(link.stream), 0);
    bytes_free(&up);
    bytes_free(&down);
    link_close_world(&link);
}
END_TEST

START_TEST(tls_delivers_several_records_of_one_segment_together)
{
    struct world world;
    struct link link;

    link_open_secured(&link, &world, _i, NULL);
    link.peer.is_mute = true;
    for (int i = 0; i < 5; i++)
        peer_write_text(&link.peer, "0123456789");
    link.peer.is_mute = false;
    pump_until(&world, link.recorder.data.length == 50);
    require_equal(link.recorder.counts[EVENT_DATA], 1);
    link_close_world(&link);
}
END_TEST

START_TEST(tls_fills_small_buffers_of_the_program)
{
    struct world world;
    struct link link;
    struct bytes sent = {0};

    link_open_secured(&link, &world, _i, &recorder_buffered_handler);
    link.recorder.buffer_size = 100;
    bytes_fill(&sent, 50000, 32);
    link.peer.is_mute = true;
    for (size_t done = 0; done < sent.length; done += 2500)
        peer_write(&link.peer, sent.data + done, 2500);
    peer_shut_down_tls(&link.peer);
    link.peer.is_mute = false;
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_same(&link.recorder.data, &sent);
    require_story(&link.recorder, "secured data(50000) eof closed(0)");
    bytes_free(&sent);
    link_close_world(&link);
}
END_TEST

START_TEST(tls_that_arrives_in_single_bytes_works)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, NULL);
    fault_sys_limit(FAULT_RECV, 1);
    fault_sys_limit(FAULT_SEND, 1);
    link_secure(&link, variant_get_version(_i), variant_is_server(_i));
    link.recorder.echoes = true;
    peer_write_text(&link.peer, "hello");
    pump_until(&world, link.peer.received.length == 5);
    require_content(&link.peer.received, "hello");
    link_close_world(&link);
}
END_TEST

START_TEST(tls_queues_what_is_written_before_it_is_secured)
{
    struct world world;
    struct link link;

    link_open_tls(&link, &world, _i, NULL, NULL);
    require_equal(afn_stream_write(link.stream, "early ", 6), 0);
    require_equal(afn_stream_write(link.stream, "bird", 4), 0);
    require_equal(afn_stream_get_write_buffer_size(link.stream), 10);
    require_equal(afn_stream_write_eof(link.stream), 0);
    pump_until(&world, link.peer.is_notified);
    require_content(&link.peer.received, "early bird");
    link_close_world(&link);
}
END_TEST

static void write_secured(struct recorder *recorder, enum event_kind kind)
{
    if (kind == EVENT_SECURED)
        require_equal(afn_stream_write(recorder->stream, "welcome", 7), 0);
}

START_TEST(tls_writes_from_the_secured_callback)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    link.recorder.hook = write_secured;
    link_start_tls(&link, variant_get_version(_i), variant_is_server(_i), NULL);
    require_equal(afn_stream_write(link.stream, "early ", 6), 0);
    pump_until(&world, link.peer.received.length == 13);
    require_content(&link.peer.received, "early welcome");
    link_close_world(&link);
}
END_TEST

/* T28: a writer that waits for an empty buffer waits for the kernel. */
START_TEST(tls_counts_what_is_encrypted_and_not_sent)
{
    struct world world;
    struct link link;

    link_open_secured(&link, &world, _i, NULL);
    require_equal(afn_stream_set_write_limits(link.stream, 0, 0), 0);
    fault_sys_fail(FAULT_SEND, 0, 1, -EAGAIN);
    require_equal(afn_stream_write(link.stream, "x", 1), 1);
    require(afn_stream_get_write_buffer_size(link.stream) > 1);
    require_equal(link.recorder.counts[EVENT_WRITABLE], 0);
    pump_until(&world, link.recorder.counts[EVENT_WRITABLE] == 1);
    require_equal(afn_stream_get_write_buffer_size(link.stream), 0);
    pump_until(&world, link.peer.received.length == 1);
    link_close_world(&link);
}
END_TEST

/* As a program does that reads a line, answers it, and goes on with TLS. */
static void upgrade(struct recorder *recorder, enum event_kind kind)
{
    struct link *link = recorder->hook_user;

    if (kind != EVENT_DATA || recorder->data.length != 9)
        return;
    require_equal(afn_stream_write(recorder->stream, "220 ready\n", 10), 0);
    link_start_tls(link, TLS1_3_VERSION, 1, NULL);
    link->peer.is_stuck = true;
}

START_TEST(tls_starts_in_the_middle_of_a_stream)
{
    struct world world;
    struct link link;
    unsigned char answer[16];

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    link.recorder.hook = upgrade;
    link.recorder.hook_user = &link;
    require(send(link.peer.fd, "STARTTLS\n", 9, 0) == 9);
    link.peer.is_deaf = true;
    pump_idle(&world);
    require_equal(recv(link.peer.fd, answer, sizeof answer, 0), 10);
    require(memcmp(answer, "220 ready\n", 10) == 0);
    link.peer.is_deaf = link.peer.is_stuck = false;
    pump_until(&world, link.recorder.counts[EVENT_SECURED] == 1);
    peer_write_text(&link.peer, "secret");
    pump_until(&world, link.recorder.data.length == 15);
    require_content(&link.recorder.data, "STARTTLS\nsecret");
    link_close_world(&link);
}
END_TEST

START_TEST(tls_starts_behind_clear_bytes_that_still_wait)
{
    struct world world;
    struct link link;
    struct bytes clear = {0};
    struct bytes actual = {0};

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    sockets_shrink(link.fd);
    bytes_fill(&clear, 3000000, 33);
    require_equal(afn_stream_write(link.stream, clear.data, clear.length), 1);
    link_start_tls(&link, variant_get_version(_i), variant_is_server(_i), NULL);
    require_equal(afn_stream_write(link.stream, "secret", 6), 1);
    /* The peer reads exactly the clear bytes, and only then speaks TLS. */
    link.peer.is_deaf = link.peer.is_stuck = true;
    while (actual.length < clear.length) {
        unsigned char buffer[65536];
        size_t left = clear.length - actual.length;
        ssize_t count = recv(link.peer.fd, buffer, left < sizeof buffer ? left : sizeof buffer, 0);

        if (count > 0)
            bytes_append(&actual, buffer, (size_t)count);
        pump_idle(&world);
    }
    require_same(&actual, &clear);
    link.peer.is_deaf = link.peer.is_stuck = false;
    pump_until(&world, link.peer.received.length == 6);
    require_content(&link.peer.received, "secret");
    bytes_free(&clear);
    bytes_free(&actual);
    link_close_world(&link);
}
END_TEST

/* T26 for C: the program has read the peer's first flight already. */
START_TEST(tls_takes_what_the_program_had_received)
{
    struct world world;
    struct link link;
    struct afn_tls_options options = {.size = sizeof options};
    unsigned char *hello = malloc(4000);
    size_t count;
    SSL *ssl;

    require(hello != NULL);
    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    peer_start_tls(&link.peer, variant_get_version(_i), 0);
    link.peer.is_mute = true;
    peer_step(&link.peer);
    count = link.peer.outgoing.length;
    require(count > 0 && count < 4000);
    memcpy(hello, link.peer.outgoing.data, count);
    bytes_remove_front(&link.peer.outgoing, count);
    link.peer.is_mute = false;
    options.received = hello;
    options.received_length = count;
    ssl = certificate_make_ssl(variant_get_version(_i), 1);
    require_equal(afn_stream_start_tls(link.stream, ssl, &options), 0);
    SSL_free(ssl);
    memset(hello, 0, count);
    free(hello);
    pump_until(&world, link.recorder.counts[EVENT_SECURED] == 1 && link.peer.is_secured);
    peer_write_text(&link.peer, "hello");
    pump_until(&world, link.recorder.data.length == 5);
    link_close_world(&link);
}
END_TEST

START_TEST(tls_refuses_bad_arguments_and_wrong_times)
{
    struct world world;
    struct link link;
    struct afn_tls_options options = {.size = sizeof options, .received_length = 5};
    SSL *ssl = certificate_make_ssl(TLS1_3_VERSION, 1);
    BIO *bio = SSL_get_rbio(ssl);

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, NULL);
    require(afn_stream_get_ssl(link.stream) == NULL);
    require_equal(afn_stream_get_tls_error(link.stream), 0);
    require_equal(afn_stream_start_tls(link.stream, NULL, NULL), -EINVAL);
    require_equal(afn_stream_start_tls(link.stream, ssl, &options), -EINVAL);
    options = (struct afn_tls_options){.size = 0};
    require_equal(afn_stream_start_tls(link.stream, ssl, &options), -EINVAL);
    require(SSL_get_rbio(ssl) == bio);
    link_secure(&link, TLS1_3_VERSION, 1);
    require_equal(afn_stream_start_tls(link.stream, ssl, NULL), -EBUSY);
    recorder_abort(&link.recorder, 0);
    require(afn_stream_start_tls(link.stream, ssl, NULL) < 0);
    pump_until(&world, recorder_is_closed(&link.recorder));
    link_close_world(&link);
    SSL_free(ssl);
}
END_TEST

START_TEST(tls_on_a_stream_that_is_closing_is_refused)
{
    struct world world;
    struct link link;
    SSL *ssl = certificate_make_ssl(TLS1_3_VERSION, 1);

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, NULL);
    recorder_end(&link.recorder);
    require_equal(afn_stream_start_tls(link.stream, ssl, NULL), -EPIPE);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_equal(afn_stream_start_tls(link.stream, ssl, NULL), -EPIPE);
    link_close_world(&link);
    SSL_free(ssl);
}
END_TEST

/* T19 */
static void pause_on_data(struct recorder *recorder, enum event_kind kind)
{
    if (kind == EVENT_DATA)
        recorder_pause(recorder);
}

START_TEST(tls_paused_with_decrypted_bytes_waiting_delivers_them_after_resume)
{
    struct world world;
    struct link link;
    struct bytes sent = {0};

    link_open_secured(&link, &world, _i, &recorder_buffered_handler);
    link.recorder.buffer_size = 1000;
    link.recorder.hook = pause_on_data;
    bytes_fill(&sent, 10500, 34);
    link.peer.is_mute = true;
    peer_write(&link.peer, sent.data, 5000);
    peer_write(&link.peer, sent.data + 5000, 5500);
    peer_shut_down_tls(&link.peer);
    link.peer.ends = true;
    link.peer.is_mute = false;
    for (unsigned int i = 1; i <= 11; i++) {
        pump_idle(&world);
        require_equal(link.recorder.counts[EVENT_DATA], i);
        require(!pump_is_ready(&world));
        recorder_resume(&link.recorder);
        require_equal(link.recorder.counts[EVENT_DATA], i);
        require(pump_is_ready(&world));
    }
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_same(&link.recorder.data, &sent);
    require_story(&link.recorder, "secured data(10500) eof closed(0)");
    bytes_free(&sent);
    link_close_world(&link);
}
END_TEST

START_TEST(tls_paused_in_the_last_data_callback_tells_the_end_after_resume)
{
    struct world world;
    struct link link;

    link_open_secured(&link, &world, _i, NULL);
    link.recorder.hook = pause_on_data;
    link.peer.is_mute = true;
    peer_write_text(&link.peer, "last");
    peer_shut_down_tls(&link.peer);
    link.peer.ends = true;
    link.peer.is_mute = false;
    pump_idle(&world);
    require_story(&link.recorder, "secured data(4)");
    recorder_resume(&link.recorder);
    require_story(&link.recorder, "secured data(4)");
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "secured data(4) eof closed(0)");
    link_close_world(&link);
}
END_TEST

START_TEST(tls_paused_before_the_handshake_is_secured_and_delivers_later)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    recorder_pause(&link.recorder);
    link_start_tls(&link, variant_get_version(_i), variant_is_server(_i), NULL);
    peer_write_text(&link.peer, "hello");
    pump_until(&world, link.recorder.counts[EVENT_SECURED] == 1);
    pump_idle(&world);
    require_story(&link.recorder, "secured");
    recorder_resume(&link.recorder);
    pump_until(&world, link.recorder.data.length == 5);
    link_close_world(&link);
}
END_TEST

/* T9 */
START_TEST(tls_survives_key_updates_of_the_peer)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    link_secure(&link, TLS1_3_VERSION, _i);
    link.recorder.echoes = true;
    for (size_t i = 1; i <= 4; i++) {
        peer_update_key(&link.peer,
                        i % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
        pump_idle(&world);
        peer_write_text(&link.peer, "0123456789");
        pump_until(&world, link.peer.received.length == i * 10);
    }
    require_equal(link.peer.ssl_error, 0);
    link_close_world(&link);
}
END_TEST

START_TEST(tls_survives_key_updates_of_its_own)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    link_secure(&link, TLS1_3_VERSION, _i);
    for (size_t i = 1; i <= 4; i++) {
        require_equal(
            SSL_key_update(afn_stream_get_ssl(link.stream),
                           i % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED),
            1);
        require_equal(afn_stream_write(link.stream, "0123456789", 10), 0);
        peer_write_text(&link.peer, "9876543210");
        pump_until(&world,
                   link.peer.received.length == i * 10 && link.recorder.data.length == i * 10);
    }
    link_close_world(&link);
}
END_TEST

/* T9: the write waits for bytes of the peer, and nothing but those comes. */
START_TEST(tls_writes_that_wait_for_a_renegotiation_leave_after_it)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    link_secure(&link, TLS1_2_VERSION, 0);
    require_equal(SSL_renegotiate(link.peer.ssl), 1);
    require_equal(SSL_do_handshake(link.peer.ssl), 1);
    link.peer.is_deaf = true;
    pump_idle(&world);
    require_equal(afn_stream_write(link.stream, "later", 5), 0);
    require_equal(afn_stream_get_write_buffer_size(link.stream), 5);
    link.peer.is_deaf = false;
    pump_until(&world, link.peer.received.length == 5);
    require_content(&link.peer.received, "later");
    link_close_world(&link);
}
END_TEST

/* T9: a read makes what the peer waits for, and no write comes that would send it. */
START_TEST(tls_answers_a_renegotiation_without_a_write)
{
    struct world world;
    struct link link;
    char before[64], after[64];
    size_t length;

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    link_secure(&link, TLS1_2_VERSION, 0);
    length = SSL_get_peer_finished(link.peer.ssl, before, sizeof before);
    require_equal(SSL_renegotiate(link.peer.ssl), 1);
    require_equal(SSL_do_handshake(link.peer.ssl), 1);
    pump_idle(&world);
    require_equal(SSL_get_peer_finished(link.peer.ssl, after, sizeof after), length);
    require(memcmp(before, after, length) != 0);
    require_equal(link.peer.ssl_error, 0);
    link_close_world(&link);
}
END_TEST

START_TEST(tls_reads_all_records_also_when_openssl_reads_ahead)
{
    struct world world;
    struct link link;
    SSL *ssl = certificate_make_ssl(variant_get_version(_i), variant_is_server(_i));

    SSL_set_read_ahead(ssl, 1);
    world_open(&world);
    link_open(&link, &world, PAIR_TCP, &recorder_buffered_handler);
    require_equal(afn_stream_start_tls(link.stream, ssl, NULL), 0);
    SSL_free(ssl);
    peer_start_tls(&link.peer, variant_get_version(_i), !variant_is_server(_i));
    pump_until(&world, link.recorder.counts[EVENT_SECURED] == 1 && link.peer.is_secured);
    link.recorder.buffer_size = 10;
    link.peer.is_mute = true;
    for (int i = 0; i < 5; i++)
        peer_write_text(&link.peer, "0123456789");
    link.peer.is_mute = false;
    pump_until(&world, link.recorder.data.length == 50);
    link_close_world(&link);
}
END_TEST

/* Two streams that write to one another's connections share nothing that could mix them up. */
static void write_to_other(struct recorder *recorder, enum event_kind kind)
{
    struct link *other = recorder->hook_user;

    if (kind != EVENT_DATA)
        return;
    require(afn_stream_write(recorder->stream, "own", 3) >= 0);
    require(afn_stream_write(other->stream, "other", 5) >= 0);
    require(afn_stream_write(recorder->stream, "own", 3) >= 0);
}

START_TEST(tls_streams_do_not_mix_their_bytes)
{
    struct world world;
    struct link one, two;

    world_open(&world);
    link_open(&one, &world, PAIR_TCP, NULL);
    link_open(&two, &world, PAIR_TCP, NULL);
    link_secure(&one, variant_get_version(_i), variant_is_server(_i));
    link_secure(&two, variant_get_version(_i), variant_is_server(_i));
    one.recorder.hook = two.recorder.hook = write_to_other;
    one.recorder.hook_user = &two;
    two.recorder.hook_user = &one;
    peer_write_text(&one.peer, "x");
    pump_until(&world, one.peer.received.length == 6 && two.peer.received.length == 5);
    peer_write_text(&two.peer, "x");
    pump_until(&world, one.peer.received.length == 11 && two.peer.received.length == 11);
    require_content(&one.peer.received, "ownownother");
    require_content(&two.peer.received, "otherownown");
    link_close(&one);
    link_close_world(&two);
}
END_TEST

/* The peer's calls clear the queue of errors: the entry is put there behind them. */
static void dispatch_with_error(struct link *link)
{
    while (peer_step(&link->peer))
        continue;
    ERR_raise(ERR_LIB_USER, 1);
    if (pump_is_ready(link->world))
        pump_dispatch(link->world);
    ERR_clear_error();
}

/* T8: in small pieces, so that most calls want more, which is where an entry is looked for. */
START_TEST(tls_ignores_a_stale_error)
{
    struct world world;
    struct link link;

    link_open_tls(&link, &world, _i, NULL, NULL);
    fault_sys_limit(FAULT_RECV, 50);
    while (link.recorder.counts[EVENT_SECURED] == 0 || !link.peer.is_secured)
        dispatch_with_error(&link);
    link.recorder.echoes = true;
    peer_write_text(&link.peer, "0123456789012345678901234567890123456789");
    while (link.peer.received.length < 40)
        dispatch_with_error(&link);
    ERR_raise(ERR_LIB_USER, 1);
    require_equal(afn_stream_write(link.stream, "hello", 5), 0);
    while (link.peer.received.length < 45)
        dispatch_with_error(&link);
    require_equal(link.recorder.counts[EVENT_CLOSED], 0);
    link_close_world(&link);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {tls_handshake_ends_with_secured, TLS_VARIANTS},
        {tls_echoes, TLS_VARIANTS},
        {tls_needs_one_receive_and_one_send_for_an_echo, TLS_VARIANTS},
        {tls_counts_bytes_of_the_wire_and_records, TLS_VARIANTS},
        {tls_carries_much_both_ways_through_small_buffers, TLS_VARIANTS},
        {tls_delivers_several_records_of_one_segment_together, TLS_VARIANTS},
        {tls_fills_small_buffers_of_the_program, TLS_VARIANTS},
        {tls_that_arrives_in_single_bytes_works, TLS_VARIANTS},
        {tls_queues_what_is_written_before_it_is_secured, TLS_VARIANTS},
        {tls_answers_a_renegotiation_without_a_write, 1},
        {tls_counts_what_is_encrypted_and_not_sent, TLS_VARIANTS},
        {tls_writes_from_the_secured_callback, TLS_VARIANTS},
        {tls_starts_in_the_middle_of_a_stream, 1},
        {tls_starts_behind_clear_bytes_that_still_wait, TLS_VARIANTS},
        {tls_takes_what_the_program_had_received, TLS_VERSIONS},
        {tls_refuses_bad_arguments_and_wrong_times, 1},
        {tls_on_a_stream_that_is_closing_is_refused, 1},
        {tls_paused_with_decrypted_bytes_waiting_delivers_them_after_resume, TLS_VARIANTS},
        {tls_paused_in_the_last_data_callback_tells_the_end_after_resume, TLS_VARIANTS},
        {tls_paused_before_the_handshake_is_secured_and_delivers_later, TLS_VARIANTS},
        {tls_survives_key_updates_of_the_peer, 2},
        {tls_survives_key_updates_of_its_own, 2},
        {tls_writes_that_wait_for_a_renegotiation_leave_after_it, 1},
        {tls_reads_all_records_also_when_openssl_reads_ahead, TLS_VARIANTS},
        {tls_streams_do_not_mix_their_bytes, TLS_VARIANTS},
        {tls_ignores_a_stale_error, TLS_VARIANTS},
    };

    return harness_main("stream-tls", cases, COUNT_OF(cases));
}
