/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* TLS on a stream: how it ends.  T14, T16-T18, T22, T47. */
#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include "certificate.h"
#include "fault-alloc.h"
#include "fault-sys.h"
#include "harness.h"
#include "world.h"

/* Variants: version and role. */
#define VARIANTS (TLS_VERSIONS * 2)

static int get_version(int variant)
{
    return certificate_get_version(variant % TLS_VERSIONS);
}

static int get_role(int variant)
{
    return variant / TLS_VERSIONS;
}

static const struct afn_tls_options limited = {
    .size = sizeof limited,
    .handshake_timeout = 60 * SECOND,
    .shutdown_timeout = 30 * SECOND,
};

static void open_secure(struct link *link, struct world *world, int variant)
{
    world_open(world);
    link_open(link, world, PAIR_TCP, NULL);
    link_start_tls(link, get_version(variant), get_role(variant), &limited);
    pump_until(world, link->recorder.counts[EVENT_SECURED] == 1 && link->peer.is_secured);
    pump_idle(world);
}

static void close_all(struct link *link, struct world *world)
{
    link_close(link);
    world_close(world);
}

/* ---- the peer ends ---- */

START_TEST(close_notify_of_the_peer_is_the_end)
{
    struct world world;
    struct link link;

    open_secure(&link, &world, _i);
    peer_write_text(&link.peer, "bye");
    peer_shut_down_tls(&link.peer);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "secured data(3) eof closed(0)");
    /* It was answered. */
    pump_until(&world, link.peer.has_eof);
    require(link.peer.is_notified);
    close_all(&link, &world);
}
END_TEST

START_TEST(close_notify_of_the_peer_leaves_the_other_direction_open)
{
    struct world world;
    struct link link;

    open_secure(&link, &world, _i);
    link.recorder.keeps_open = true;
    peer_shut_down_tls(&link.peer);
    pump_until(&world, link.recorder.counts[EVENT_EOF] == 1);
    pump_idle(&world);
    require(!recorder_is_closed(&link.recorder));
    require_equal(afn_stream_write(link.stream, "answer", 6), 0);
    pump_until(&world, link.peer.received.length == 6);
    recorder_end(&link.recorder);
    pump_until(&world, recorder_is_closed(&link.recorder) && link.peer.is_notified);
    require_story(&link.recorder, "secured eof closed(0)");
    close_all(&link, &world);
}
END_TEST

/* T18 */
START_TEST(bytes_after_close_notify_are_ignored)
{
    struct world world;
    struct link link;

    open_secure(&link, &world, _i);
    link.recorder.keeps_open = true;
    peer_shut_down_tls(&link.peer);
    peer_write_wire(&link.peer, "garbage, not a record at all", 28);
    pump_until(&world, link.recorder.counts[EVENT_EOF] == 1);
    pump_idle(&world);
    require_equal(afn_stream_write(link.stream, "answer", 6), 0);
    pump_until(&world, link.peer.received.length == 6);
    recorder_end(&link.recorder);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "secured eof closed(0)");
    close_all(&link, &world);
}
END_TEST

START_TEST(end_without_close_notify_is_truncated_after_the_data)
{
    struct world world;
    struct link link;

    open_secure(&link, &world, _i);
    link.peer.is_mute = true;
    peer_write_text(&link.peer, "last words");
    require(send(link.peer.fd, link.peer.outgoing.data, link.peer.outgoing.length, 0) > 0);
    require(shutdown(link.peer.fd, SHUT_WR) == 0);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_content(&link.recorder.data, "last words");
    require_equal(link.recorder.error, AFN_ERR_TRUNCATED);
    close_all(&link, &world);
}
END_TEST

START_TEST(reset_is_told_after_the_data)
{
    struct world world;
    struct link link;

    open_secure(&link, &world, _i);
    link.peer.is_mute = true;
    peer_write_text(&link.peer, "last words");
    require(send(link.peer.fd, link.peer.outgoing.data, link.peer.outgoing.length, 0) > 0);
    peer_reset(&link.peer);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "secured data(10) closed(-104)");
    close_all(&link, &world);
}
END_TEST

START_TEST(broken_record_is_told_after_the_data_before_it)
{
    struct world world;
    struct link link;

    open_secure(&link, &world, _i);
    link.peer.is_mute = true;
    peer_write_text(&link.peer, "good");
    peer_write_text(&link.peer, "bad");
    link.peer.outgoing.data[link.peer.outgoing.length - 1] ^= 1;
    link.peer.is_mute = false;
    pump_until(&world, recorder_is_closed(&link.recorder) && link.peer.ssl_error != 0);
    require_story(&link.recorder, "secured data(4) closed(-10001)");
    close_all(&link, &world);
}
END_TEST

/* ---- the stream ends ---- */

START_TEST(write_eof_is_close_notify)
{
    struct world world;
    struct link link;

    open_secure(&link, &world, _i);
    require_equal(afn_stream_write(link.stream, "bye", 3), 0);
    require_equal(afn_stream_write_eof(link.stream), 0);
    require_equal(afn_stream_write_eof(link.stream), 0);
    require_equal(afn_stream_write(link.stream, "x", 1), -EPIPE);
    pump_until(&world, link.peer.is_notified);
    require_content(&link.peer.received, "bye");
    require(!link.peer.has_eof);
    peer_write_text(&link.peer, "answer");
    peer_shut_down_tls(&link.peer);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "secured data(6) eof closed(0)");
    close_all(&link, &world);
}
END_TEST

/* T17 */
START_TEST(close_flushes_and_exchanges_close_notify)
{
    struct world world;
    struct link link;
    struct bytes sent = {0};

    open_secure(&link, &world, _i);
    sockets_shrink(link.fd);
    bytes_fill(&sent, 2000000, 40);
    require_equal(afn_stream_write(link.stream, sent.data, sent.length), 1);
    recorder_end(&link.recorder);
    pump_until(&world, link.peer.is_notified);
    require_same(&link.peer.received, &sent);
    pump_idle(&world);
    /* Not before the answer. */
    require(!recorder_is_closed(&link.recorder));
    peer_shut_down_tls(&link.peer);
    pump_until(&world, recorder_is_closed(&link.recorder) && link.peer.has_eof);
    require_equal(link.recorder.error, 0);
    bytes_free(&sent);
    close_all(&link, &world);
}
END_TEST

/* T9: close_notify cannot be said in the middle of a handshake, the second one included. */
static void begin_renegotiation(struct link *link, struct world *world)
{
    world_open(world);
    link_open(link, world, PAIR_TCP, NULL);
    link_start_tls(link, TLS1_2_VERSION, 0, &limited);
    pump_until(world, link->recorder.counts[EVENT_SECURED] == 1 && link->peer.is_secured);
    require_equal(SSL_renegotiate(link->peer.ssl), 1);
    require_equal(SSL_do_handshake(link->peer.ssl), 1);
    link->peer.is_deaf = true;
    pump_idle(world);
}

START_TEST(close_during_a_renegotiation_comes_after_it)
{
    struct world world;
    struct link link;

    begin_renegotiation(&link, &world);
    require_equal(afn_stream_write(link.stream, "bye", 3), 0);
    recorder_end(&link.recorder);
    pump_idle(&world);
    require(!recorder_is_closed(&link.recorder));
    link.peer.is_deaf = false;
    link.peer.is_polite = true;
    pump_until(&world, recorder_is_closed(&link.recorder) && link.peer.is_notified);
    require_content(&link.peer.received, "bye");
    require_story(&link.recorder, "secured closed(0)");
    close_all(&link, &world);
}
END_TEST

START_TEST(write_eof_during_a_renegotiation_comes_after_it)
{
    struct world world;
    struct link link;

    begin_renegotiation(&link, &world);
    require_equal(afn_stream_write_eof(link.stream), 0);
    pump_idle(&world);
    link.peer.is_deaf = false;
    pump_until(&world, link.peer.is_notified);
    peer_write_text(&link.peer, "answer");
    pump_until(&world, link.recorder.data.length == 6);
    close_all(&link, &world);
}
END_TEST

#define TIMERS 17

START_TEST(close_without_memory_for_its_time_limit_ends_at_once)
{
    struct world world;
    static struct link links[TIMERS];
    struct afn_tls_options options = {.size = sizeof options, .shutdown_timeout = MINUTE};
    unsigned int lost = 0;

    world_open(&world);
    for (size_t i = 0; i < TIMERS; i++) {
        link_open(&links[i], &world, PAIR_TCP, NULL);
        link_start_tls(&links[i], get_version(_i), get_role(_i), &options);
        pump_until(&world, links[i].recorder.counts[EVENT_SECURED] == 1);
    }
    pump_idle(&world);
    /* The heap of timers grows now and then. */
    fault_alloc_arm(1, true);
    for (size_t i = 0; i < TIMERS; i++)
        recorder_end(&links[i].recorder);
    require(fault_alloc_disarm());
    pump_idle(&world);
    for (size_t i = 0; i < TIMERS; i++)
        lost += links[i].recorder.error == -ENOMEM;
    require(lost > 0);
    fault_sys_advance_clock(2 * MINUTE);
    for (size_t i = 0; i < TIMERS; i++) {
        pump_until(&world, recorder_is_closed(&links[i].recorder));
        link_close(&links[i]);
    }
    world_close(&world);
}
END_TEST

START_TEST(close_without_an_answer_ends_at_its_time_limit)
{
    struct world world;
    struct link link;

    open_secure(&link, &world, _i);
    recorder_end(&link.recorder);
    recorder_unref(&link.recorder);
    link.stream = NULL;
    pump_until(&world, link.peer.is_notified);
    fault_sys_advance_clock(29 * SECOND);
    pump_idle(&world);
    require(!recorder_is_closed(&link.recorder));
    fault_sys_advance_clock(2 * SECOND);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "secured closed(0)");
    close_all(&link, &world);
}
END_TEST

START_TEST(close_with_a_peer_that_does_not_read_ends_at_its_time_limit)
{
    struct world world;
    struct link link;
    struct bytes sent = {0};

    open_secure(&link, &world, _i);
    link.peer.is_deaf = true;
    bytes_fill(&sent, 16 << 20, 41);
    require_equal(afn_stream_write(link.stream, sent.data, sent.length), 1);
    recorder_end(&link.recorder);
    pump_idle(&world);
    require(!recorder_is_closed(&link.recorder));
    fault_sys_advance_clock(31 * SECOND);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_equal(link.recorder.error, AFN_ERR_SHUTDOWN_TIMEOUT);
    bytes_free(&sent);
    close_all(&link, &world);
}
END_TEST

START_TEST(close_with_a_peer_that_floods_ends_at_its_time_limit)
{
    struct world world;
    struct link link;
    struct bytes flood = {0};

    open_secure(&link, &world, _i);
    bytes_fill(&flood, 1000000, 42);
    recorder_end(&link.recorder);
    for (int i = 0; i < 10; i++) {
        peer_write(&link.peer, flood.data, flood.length);
        pump_until(&world, link.peer.outgoing.length == 0);
        require(!recorder_is_closed(&link.recorder));
    }
    fault_sys_advance_clock(31 * SECOND);
    peer_write(&link.peer, flood.data, flood.length);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "secured closed(0)");
    bytes_free(&flood);
    close_all(&link, &world);
}
END_TEST

START_TEST(close_with_a_peer_that_leaves_without_an_answer_is_no_error)
{
    for (int is_reset = 0; is_reset < 2; is_reset++) {
        struct world world;
        struct link link;

        open_secure(&link, &world, _i);
        recorder_end(&link.recorder);
        pump_until(&world, link.peer.is_notified);
        if (is_reset)
            peer_reset(&link.peer);
        else
            link.peer.ends = true;
        pump_until(&world, recorder_is_closed(&link.recorder));
        require_story(&link.recorder, "secured closed(0)");
        close_all(&link, &world);
    }
}
END_TEST

START_TEST(close_notify_that_cannot_be_sent_is_no_error)
{
    struct world world;
    struct link link;

    open_secure(&link, &world, _i);
    fault_sys_fail(FAULT_SEND, 0, 1, -EPIPE);
    recorder_end(&link.recorder);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "secured closed(0)");
    close_all(&link, &world);
}
END_TEST

START_TEST(close_reads_and_drops_what_the_peer_still_sends)
{
    struct world world;
    struct link link;

    open_secure(&link, &world, _i);
    link.peer.is_mute = true;
    peer_write_text(&link.peer, "too late");
    peer_shut_down_tls(&link.peer);
    link.peer.is_mute = false;
    recorder_end(&link.recorder);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "secured closed(0)");
    close_all(&link, &world);
}
END_TEST

START_TEST(close_of_a_paused_stream_is_answered)
{
    struct world world;
    struct link link;

    open_secure(&link, &world, _i);
    recorder_pause(&link.recorder);
    peer_write_text(&link.peer, "unread");
    pump_idle(&world);
    recorder_end(&link.recorder);
    pump_until(&world, link.peer.is_notified);
    peer_shut_down_tls(&link.peer);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "secured closed(0)");
    close_all(&link, &world);
}
END_TEST

START_TEST(abort_during_the_shutdown_ends_it)
{
    struct world world;
    struct link link;

    open_secure(&link, &world, _i);
    recorder_end(&link.recorder);
    pump_until(&world, link.peer.is_notified);
    recorder_abort(&link.recorder, -ECANCELED);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "secured closed(-125)");
    close_all(&link, &world);
}
END_TEST

/* T14: unread TLS 1.3 tickets must not turn the end into a reset that destroys the data. */
START_TEST(close_right_after_the_data_loses_nothing)
{
    struct world world;
    struct link link;
    struct bytes sent = {0};

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    link_start_tls(&link, get_version(_i), 0, &limited);
    bytes_fill(&sent, 4096, 43);
    require(afn_stream_write(link.stream, sent.data, sent.length) >= 0);
    recorder_pause(&link.recorder);
    pump_until(&world, link.recorder.counts[EVENT_SECURED] == 1);
    recorder_end(&link.recorder);
    pump_until(&world, link.peer.is_notified);
    peer_shut_down_tls(&link.peer);
    pump_until(&world, recorder_is_closed(&link.recorder) && link.peer.has_eof);
    require_same(&link.peer.received, &sent);
    require_equal(link.peer.error, 0);
    bytes_free(&sent);
    close_all(&link, &world);
}
END_TEST

/* The SSL that the program has seen stays whole while it holds the stream. */
START_TEST(ssl_is_valid_as_long_as_the_stream)
{
    struct world world;
    struct link link;
    const SSL *ssl;

    open_secure(&link, &world, _i);
    ssl = afn_stream_get_ssl(link.stream);
    recorder_abort(&link.recorder, 0);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_equal(SSL_version(ssl), get_version(_i));
    require(afn_stream_get_ssl(link.stream) == ssl);
    close_all(&link, &world);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {close_notify_of_the_peer_is_the_end, VARIANTS},
        {close_notify_of_the_peer_leaves_the_other_direction_open, VARIANTS},
        {bytes_after_close_notify_are_ignored, VARIANTS},
        {end_without_close_notify_is_truncated_after_the_data, VARIANTS},
        {reset_is_told_after_the_data, VARIANTS},
        {broken_record_is_told_after_the_data_before_it, VARIANTS},
        {write_eof_is_close_notify, VARIANTS},
        {close_flushes_and_exchanges_close_notify, VARIANTS},
        {close_without_an_answer_ends_at_its_time_limit, VARIANTS},
        {close_with_a_peer_that_does_not_read_ends_at_its_time_limit, VARIANTS},
        {close_with_a_peer_that_floods_ends_at_its_time_limit, VARIANTS},
        {close_with_a_peer_that_leaves_without_an_answer_is_no_error, VARIANTS},
        {close_notify_that_cannot_be_sent_is_no_error, VARIANTS},
        {close_reads_and_drops_what_the_peer_still_sends, VARIANTS},
        {close_of_a_paused_stream_is_answered, VARIANTS},
        {abort_during_the_shutdown_ends_it, VARIANTS},
        {close_right_after_the_data_loses_nothing, TLS_VERSIONS},
        {ssl_is_valid_as_long_as_the_stream, VARIANTS},
        {close_during_a_renegotiation_comes_after_it, 1},
        {write_eof_during_a_renegotiation_comes_after_it, 1},
        {close_without_memory_for_its_time_limit_ends_at_once, VARIANTS},
    };

    return harness_main("stream-tls-close", cases, COUNT_OF(cases));
}
