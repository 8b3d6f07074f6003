/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* TLS on a stream: how it ends.  T14, T16-T18, T22, T47, T48. */
#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include "fault-alloc.h"
#include "harness.h"
#include "tls-link.h"

static struct world world;
static struct link subject;

static void open_subject(int variant)
{
    link_open_secured(&subject, &world, variant, NULL);
}

static void await_closed(void)
{
    pump_until(&world, recorder_is_closed(&subject.recorder));
}

/* Closes the stream and waits for its goodbye. */
static void say_goodbye(void)
{
    recorder_end(&subject.recorder);
    pump_until(&world, subject.peer.is_notified);
}

/* Waits for the end of the stream, and of the test. */
static void finish(const char *story)
{
    await_closed();
    require_story(&subject.recorder, story);
    link_close_world(&subject);
}

/* ---- the peer ends ---- */

START_TEST(close_notify_of_the_peer_is_the_end)
{
    open_subject(_i);
    peer_write_text(&subject.peer, "bye");
    peer_shut_down_tls(&subject.peer);
    await_closed();
    require_story(&subject.recorder, "secured data(3) eof closed(0)");
    /* It was answered. */
    pump_until(&world, subject.peer.has_eof);
    require(subject.peer.is_notified);
    link_close_world(&subject);
}
END_TEST

START_TEST(close_notify_of_the_peer_leaves_the_other_direction_open)
{
    open_subject(_i);
    subject.recorder.keeps_open = true;
    peer_shut_down_tls(&subject.peer);
    pump_until(&world, subject.recorder.counts[EVENT_EOF] == 1);
    pump_idle(&world);
    require(!recorder_is_closed(&subject.recorder));
    require_equal(afn_stream_write(subject.stream, "answer", 6), 0);
    pump_until(&world, subject.peer.received.length == 6);
    recorder_end(&subject.recorder);
    pump_until(&world, recorder_is_closed(&subject.recorder) && subject.peer.is_notified);
    require_story(&subject.recorder, "secured eof closed(0)");
    link_close_world(&subject);
}
END_TEST

/* T18 */
START_TEST(bytes_after_close_notify_are_ignored)
{
    open_subject(_i);
    subject.recorder.keeps_open = true;
    peer_shut_down_tls(&subject.peer);
    peer_write_wire(&subject.peer, "garbage, not a record at all", 28);
    pump_until(&world, subject.recorder.counts[EVENT_EOF] == 1);
    pump_idle(&world);
    require_equal(afn_stream_write(subject.stream, "answer", 6), 0);
    pump_until(&world, subject.peer.received.length == 6);
    recorder_end(&subject.recorder);
    finish("secured eof closed(0)");
}
END_TEST

START_TEST(end_without_close_notify_is_truncated_after_the_data)
{
    open_subject(_i);
    subject.peer.is_mute = true;
    peer_write_text(&subject.peer, "last words");
    require(send(subject.peer.fd, subject.peer.outgoing.data, subject.peer.outgoing.length, 0) > 0);
    require(shutdown(subject.peer.fd, SHUT_WR) == 0);
    await_closed();
    require_content(&subject.recorder.data, "last words");
    require_equal(subject.recorder.error, AFN_ERR_TRUNCATED);
    link_close_world(&subject);
}
END_TEST

START_TEST(reset_is_told_after_the_data)
{
    open_subject(_i);
    subject.peer.is_mute = true;
    peer_write_text(&subject.peer, "last words");
    require(send(subject.peer.fd, subject.peer.outgoing.data, subject.peer.outgoing.length, 0) > 0);
    peer_reset(&subject.peer);
    finish("secured data(10) closed(-104)");
}
END_TEST

START_TEST(broken_record_is_told_after_the_data_before_it)
{
    open_subject(_i);
    subject.peer.is_mute = true;
    peer_write_text(&subject.peer, "good");
    peer_write_text(&subject.peer, "bad");
    subject.peer.outgoing.data[subject.peer.outgoing.length - 1] ^= 1;
    subject.peer.is_mute = false;
    pump_until(&world, recorder_is_closed(&subject.recorder) && subject.peer.ssl_error != 0);
    require_story(&subject.recorder, "secured data(4) closed(-10001)");
    link_close_world(&subject);
}
END_TEST

/* ---- the stream ends ---- */

START_TEST(write_eof_is_close_notify)
{
    open_subject(_i);
    require_equal(afn_stream_write(subject.stream, "bye", 3), 0);
    require_equal(afn_stream_write_eof(subject.stream), 0);
    require_equal(afn_stream_write_eof(subject.stream), 0);
    require_equal(afn_stream_write(subject.stream, "x", 1), -EPIPE);
    pump_until(&world, subject.peer.is_notified);
    require_content(&subject.peer.received, "bye");
    require(!subject.peer.has_eof);
    peer_write_text(&subject.peer, "answer");
    peer_shut_down_tls(&subject.peer);
    finish("secured data(6) eof closed(0)");
}
END_TEST

/* T17 */
START_TEST(close_flushes_and_exchanges_close_notify)
{
    struct bytes sent = {0};

    open_subject(_i);
    sockets_shrink(subject.fd);
    bytes_fill(&sent, 2000000, 40);
    require_equal(afn_stream_write(subject.stream, sent.data, sent.length), 1);
    say_goodbye();
    require_same(&subject.peer.received, &sent);
    pump_idle(&world);
    /* Not before the answer. */
    require(!recorder_is_closed(&subject.recorder));
    peer_shut_down_tls(&subject.peer);
    pump_until(&world, recorder_is_closed(&subject.recorder) && subject.peer.has_eof);
    require_equal(subject.recorder.error, 0);
    bytes_free(&sent);
    link_close_world(&subject);
}
END_TEST

/* T9: close_notify cannot be said in the middle of a handshake, the second one included. */
static void begin_renegotiation(void)
{
    world_open(&world);
    link_open(&subject, &world, PAIR_TCP, NULL);
    link_start_tls(&subject, TLS1_2_VERSION, 0, &tls_limits);
    link_await_secured(&subject);
    require_equal(SSL_renegotiate(subject.peer.ssl), 1);
    require_equal(SSL_do_handshake(subject.peer.ssl), 1);
    subject.peer.is_deaf = true;
    pump_idle(&world);
}

START_TEST(close_during_a_renegotiation_comes_after_it)
{
    begin_renegotiation();
    require_equal(afn_stream_write(subject.stream, "bye", 3), 0);
    recorder_end(&subject.recorder);
    pump_idle(&world);
    require(!recorder_is_closed(&subject.recorder));
    subject.peer.is_deaf = false;
    subject.peer.is_polite = true;
    pump_until(&world, recorder_is_closed(&subject.recorder) && subject.peer.is_notified);
    require_content(&subject.peer.received, "bye");
    require_story(&subject.recorder, "secured closed(0)");
    link_close_world(&subject);
}
END_TEST

START_TEST(write_eof_during_a_renegotiation_comes_after_it)
{
    begin_renegotiation();
    require_equal(afn_stream_write_eof(subject.stream), 0);
    pump_idle(&world);
    subject.peer.is_deaf = false;
    pump_until(&world, subject.peer.is_notified);
    peer_write_text(&subject.peer, "answer");
    pump_until(&world, subject.recorder.data.length == 6);
    link_close_world(&subject);
}
END_TEST

#define TIMERS 17

START_TEST(close_without_memory_for_its_time_limit_ends_at_once)
{
    static struct link links[TIMERS];
    struct afn_tls_options options = {.size = sizeof options, .shutdown_timeout = MINUTE};
    unsigned int lost = 0;

    world_open(&world);
    for (size_t i = 0; i < TIMERS; i++) {
        link_open(&links[i], &world, PAIR_TCP, NULL);
        link_start_tls(&links[i], variant_get_version(_i), variant_is_server(_i), &options);
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
    open_subject(_i);
    recorder_end(&subject.recorder);
    recorder_unref(&subject.recorder);
    subject.stream = NULL;
    pump_until(&world, subject.peer.is_notified);
    fault_sys_advance_clock(29 * SECOND);
    pump_idle(&world);
    require(!recorder_is_closed(&subject.recorder));
    fault_sys_advance_clock(2 * SECOND);
    finish("secured closed(0)");
}
END_TEST

START_TEST(close_with_a_peer_that_does_not_read_ends_at_its_time_limit)
{
    struct bytes sent = {0};

    open_subject(_i);
    subject.peer.is_deaf = true;
    bytes_fill(&sent, 16 << 20, 41);
    require_equal(afn_stream_write(subject.stream, sent.data, sent.length), 1);
    recorder_end(&subject.recorder);
    pump_idle(&world);
    require(!recorder_is_closed(&subject.recorder));
    fault_sys_advance_clock(31 * SECOND);
    await_closed();
    require_equal(subject.recorder.error, AFN_ERR_SHUTDOWN_TIMEOUT);
    bytes_free(&sent);
    link_close_world(&subject);
}
END_TEST

START_TEST(close_with_a_peer_that_floods_ends_at_its_time_limit)
{
    struct bytes flood = {0};

    open_subject(_i);
    bytes_fill(&flood, 1000000, 42);
    recorder_end(&subject.recorder);
    for (int i = 0; i < 10; i++) {
        peer_write(&subject.peer, flood.data, flood.length);
        pump_until(&world, subject.peer.outgoing.length == 0);
        require(!recorder_is_closed(&subject.recorder));
    }
    fault_sys_advance_clock(31 * SECOND);
    peer_write(&subject.peer, flood.data, flood.length);
    bytes_free(&flood);
    finish("secured closed(0)");
}
END_TEST

START_TEST(close_with_a_peer_that_leaves_without_an_answer_is_no_error)
{
    for (int is_reset = 0; is_reset < 2; is_reset++) {
        open_subject(_i);
        say_goodbye();
        if (is_reset)
            peer_reset(&subject.peer);
        else
            subject.peer.ends = true;
        finish("secured closed(0)");
    }
}
END_TEST

START_TEST(close_notify_that_cannot_be_sent_is_no_error)
{
    open_subject(_i);
    fault_sys_fail(FAULT_SEND, 0, 1, -EPIPE);
    recorder_end(&subject.recorder);
    finish("secured closed(0)");
}
END_TEST

START_TEST(close_reads_and_drops_what_the_peer_still_sends)
{
    open_subject(_i);
    subject.peer.is_mute = true;
    peer_write_text(&subject.peer, "too late");
    peer_shut_down_tls(&subject.peer);
    subject.peer.is_mute = false;
    recorder_end(&subject.recorder);
    finish("secured closed(0)");
}
END_TEST

START_TEST(close_of_a_paused_stream_is_answered)
{
    open_subject(_i);
    recorder_pause(&subject.recorder);
    peer_write_text(&subject.peer, "unread");
    pump_idle(&world);
    say_goodbye();
    peer_shut_down_tls(&subject.peer);
    finish("secured closed(0)");
}
END_TEST

START_TEST(abort_during_the_shutdown_ends_it)
{
    open_subject(_i);
    say_goodbye();
    recorder_abort(&subject.recorder, -ECANCELED);
    finish("secured closed(-125)");
}
END_TEST

/* T48: not even a goodbye. */
START_TEST(last_reference_sends_nothing)
{
    open_subject(_i);
    fault_sys_clear_counts();
    recorder_unref(&subject.recorder);
    subject.stream = NULL;
    require_equal(fault_sys_count(FAULT_SEND) + fault_sys_count(FAULT_SHUTDOWN), 0);
    pump_until(&world, subject.peer.has_eof || subject.peer.error != 0);
    require(!subject.peer.is_notified);
    link_close_world(&subject);
}
END_TEST

/* T14: unread TLS 1.3 tickets must not turn the end into a reset that destroys the data. */
START_TEST(close_right_after_the_data_loses_nothing)
{
    struct bytes sent = {0};

    link_open_tls(&subject, &world, _i, NULL, &tls_limits);
    bytes_fill(&sent, 4096, 43);
    require(afn_stream_write(subject.stream, sent.data, sent.length) >= 0);
    recorder_pause(&subject.recorder);
    pump_until(&world, subject.recorder.counts[EVENT_SECURED] == 1);
    say_goodbye();
    peer_shut_down_tls(&subject.peer);
    pump_until(&world, recorder_is_closed(&subject.recorder) && subject.peer.has_eof);
    require_same(&subject.peer.received, &sent);
    require_equal(subject.peer.error, 0);
    bytes_free(&sent);
    link_close_world(&subject);
}
END_TEST

/* The SSL that the program has seen stays whole while it holds the stream. */
START_TEST(ssl_is_valid_as_long_as_the_stream)
{
    const SSL *ssl;

    open_subject(_i);
    ssl = afn_stream_get_ssl(subject.stream);
    recorder_abort(&subject.recorder, 0);
    await_closed();
    require_equal(SSL_version(ssl), variant_get_version(_i));
    require(afn_stream_get_ssl(subject.stream) == ssl);
    link_close_world(&subject);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {close_notify_of_the_peer_is_the_end, TLS_VARIANTS},
        {close_notify_of_the_peer_leaves_the_other_direction_open, TLS_VARIANTS},
        {bytes_after_close_notify_are_ignored, TLS_VARIANTS},
        {end_without_close_notify_is_truncated_after_the_data, TLS_VARIANTS},
        {reset_is_told_after_the_data, TLS_VARIANTS},
        {broken_record_is_told_after_the_data_before_it, TLS_VARIANTS},
        {write_eof_is_close_notify, TLS_VARIANTS},
        {close_flushes_and_exchanges_close_notify, TLS_VARIANTS},
        {close_without_an_answer_ends_at_its_time_limit, TLS_VARIANTS},
        {close_with_a_peer_that_does_not_read_ends_at_its_time_limit, TLS_VARIANTS},
        {close_with_a_peer_that_floods_ends_at_its_time_limit, TLS_VARIANTS},
        {close_with_a_peer_that_leaves_without_an_answer_is_no_error, TLS_VARIANTS},
        {close_notify_that_cannot_be_sent_is_no_error, TLS_VARIANTS},
        {close_reads_and_drops_what_the_peer_still_sends, TLS_VARIANTS},
        {close_of_a_paused_stream_is_answered, TLS_VARIANTS},
        {abort_during_the_shutdown_ends_it, TLS_VARIANTS},
        {last_reference_sends_nothing, TLS_VARIANTS},
        {close_right_after_the_data_loses_nothing, TLS_VERSIONS},
        {ssl_is_valid_as_long_as_the_stream, TLS_VARIANTS},
        {close_during_a_renegotiation_comes_after_it, 1},
        {write_eof_during_a_renegotiation_comes_after_it, 1},
        {close_without_memory_for_its_time_limit_ends_at_once, TLS_VARIANTS},
    };

    return harness_main("stream-tls-close", cases, COUNT_OF(cases));
}
