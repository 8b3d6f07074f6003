/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* TLS on a stream: handshakes that fail, their time limit, and the hooks.  T16, T20, T47. */
#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include "harness.h"
#include "tls-link.h"

START_TEST(handshake_with_garbage_tells_a_tls_error)
{
    struct world world;
    struct link link;
    SSL *ssl = certificate_make_ssl(variant_get_version(_i), variant_is_server(_i));

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    require_equal(afn_stream_start_tls(link.stream, ssl, &tls_limits), 0);
    SSL_free(ssl);
    peer_write_text(&link.peer, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_equal(link.recorder.error, AFN_ERR_TLS);
    require_equal(link.recorder.event_count, 1);
    link_close_world(&link);
}
END_TEST

/* The queue is the thread's: what stays there is taken for the failure of somebody else's SSL.
 * Variants: in the handshake, and after it. */
START_TEST(failed_stream_leaves_nothing_in_the_queue_of_openssl)
{
    struct world world;
    struct link link;

    link_open_tls(&link, &world, _i % TLS_VARIANTS, NULL, NULL);
    if (_i >= TLS_VARIANTS)
        link_await_secured(&link);
    link.peer.is_stuck = true;
    ERR_clear_error();
    peer_write_wire(&link.peer, "GET / HTTP/1.1\r\n\r\n", 18);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_equal(link.recorder.error, AFN_ERR_TLS);
    require(afn_stream_get_tls_error(link.stream) != 0);
    require_equal(ERR_peek_error(), 0);
    link_close_world(&link);
}
END_TEST

static void note_error(struct recorder *recorder, enum event_kind kind)
{
    unsigned long *error = recorder->hook_user;

    if (kind == EVENT_CLOSED)
        *error = afn_stream_get_tls_error(recorder->stream);
}

START_TEST(handshake_that_the_peer_refuses_tells_its_alert)
{
    struct world world;
    struct link link;
    unsigned long error = 0;

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    link.recorder.hook = note_error;
    link.recorder.hook_user = &error;
    link_start_tls(&link, variant_get_version(_i), 1, &tls_limits);
    require_equal(SSL_set1_host(link.peer.ssl, "another.example"), 1);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_equal(link.recorder.error, AFN_ERR_TLS);
    require_equal(ERR_GET_LIB(error), ERR_LIB_SSL);
    require_equal(link.recorder.data.length, 0);
    link_close_world(&link);
}
END_TEST

START_TEST(handshake_with_a_peer_that_is_not_trusted_sends_the_alert)
{
    struct world world;
    struct link link;
    unsigned long error = 0;

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    link.recorder.hook = note_error;
    link.recorder.hook_user = &error;
    link_start_tls(&link, variant_get_version(_i), 0, &tls_limits);
    require_equal(SSL_set1_host(afn_stream_get_ssl(link.stream), "another.example"), 1);
    pump_until(&world, recorder_is_closed(&link.recorder) && link.peer.ssl_error != 0);
    require_story(&link.recorder, "closed(-10001)");
    require_equal(ERR_GET_REASON(error), SSL_R_CERTIFICATE_VERIFY_FAILED);
    require_equal(link.peer.ssl_error, SSL_ERROR_SSL);
    link_close_world(&link);
}
END_TEST

START_TEST(handshake_with_a_peer_that_leaves_is_truncated)
{
    struct world world;
    struct link link;

    link_open_tls(&link, &world, _i, NULL, &tls_limits);
    link.peer.is_mute = true;
    pump_idle(&world);
    require(shutdown(link.peer.fd, SHUT_WR) == 0);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "closed(-10002)");
    link_close_world(&link);
}
END_TEST

START_TEST(handshake_with_a_peer_that_resets_tells_the_reset)
{
    struct world world;
    struct link link;

    link_open_tls(&link, &world, _i, NULL, &tls_limits);
    link.peer.is_mute = true;
    pump_idle(&world);
    peer_reset(&link.peer);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "closed(-104)");
    link_close_world(&link);
}
END_TEST

/* T20 */
START_TEST(handshake_with_a_silent_peer_ends_at_its_time_limit)
{
    struct world world;
    struct link link;

    link_open_tls(&link, &world, _i, NULL, &tls_limits);
    link.peer.is_mute = true;
    pump_idle(&world);
    fault_sys_advance_clock(50 * SECOND);
    pump_idle(&world);
    require_story(&link.recorder, "");
    fault_sys_advance_clock(10 * SECOND);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_equal(link.recorder.error, AFN_ERR_HANDSHAKE_TIMEOUT);
    require_equal(link.recorder.event_count, 1);
    link_close_world(&link);
}
END_TEST

START_TEST(handshake_limit_means_nothing_once_secured)
{
    struct world world;
    struct link link;

    link_open_secured(&link, &world, _i, NULL);
    fault_sys_advance_clock(1000 * SECOND);
    pump_idle(&world);
    require_story(&link.recorder, "secured");
    link_close_world(&link);
}
END_TEST

START_TEST(handshake_is_given_up_by_close_abort_and_unref)
{
    for (int way = 0; way < 3; way++) {
        struct world world;
        struct link link;

        link_open_tls(&link, &world, _i, NULL, &tls_limits);
        if (way > 0)
            pump_wait(&world);
        require(afn_stream_write(link.stream, "never sent", 10) >= 0);
        if (way == 0)
            recorder_end(&link.recorder);
        else if (way == 1)
            recorder_abort(&link.recorder, -ECANCELED);
        else
            recorder_unref(&link.recorder);
        if (way == 2)
            link.stream = NULL;
        else
            pump_until(&world, recorder_is_closed(&link.recorder));
        pump_idle(&world);
        require(!sockets_is_open(link.fd));
        require_equal(link.recorder.error, way == 1 ? -ECANCELED : 0);
        link_close_world(&link);
    }
}
END_TEST

/* A program that was built with a newer header has more members. */
START_TEST(options_with_more_members_than_known_are_accepted)
{
    struct world world;
    struct link link;
    struct {
        struct afn_tls_options options;
        void *more[4];
    } newer = {.options = {.size = sizeof newer}};

    link_open_tls(&link, &world, _i, NULL, &newer.options);
    link_await_secured(&link);
    link_close_world(&link);
}
END_TEST

/* ---- hooks ---- */

struct hooks {
    struct link *link;
    int when; /* the handshake call at which the stream is aborted; 0 for never */
    bool fails;
    int calls;
    int failures;
    int ssl_error;
    unsigned long error;
};

static int step_handshake(SSL *ssl, void *user)
{
    struct hooks *hooks = user;
    int result;

    if (++hooks->calls == hooks->when)
        recorder_abort(&hooks->link->recorder, -ECANCELED);
    if (hooks->fails)
        return -1;
    result = SSL_do_handshake(ssl);
    if (result == 1)
        return 1;
    return SSL_get_error(ssl, result) == SSL_ERROR_WANT_READ ? 0 : -1;
}

static void note_failure(SSL *ssl, int ssl_error, void *user)
{
    struct hooks *hooks = user;

    (void)ssl;
    hooks->failures++;
    hooks->ssl_error = ssl_error;
    hooks->error = ERR_peek_error();
    if (hooks->when < 0)
        recorder_abort(&hooks->link->recorder, -ECANCELED);
}

START_TEST(handshake_hook_stands_in_for_the_handshake)
{
    struct world world;
    struct link link;
    struct hooks hooks = {.link = &link};
    struct afn_tls_options options = {.size = sizeof options,
                                      .do_handshake = step_handshake,
                                      .failed = note_failure,
                                      .user = &hooks};

    link_open_tls(&link, &world, _i, NULL, &options);
    link_await_secured(&link);
    require(hooks.calls > 1);
    require_equal(hooks.failures, 0);
    link_close_world(&link);
}
END_TEST

START_TEST(handshake_hook_may_abort)
{
    struct world world;
    struct link link;
    struct hooks hooks = {.link = &link, .when = 1};
    struct afn_tls_options options = {.size = sizeof options,
                                      .do_handshake = step_handshake,
                                      .failed = note_failure,
                                      .user = &hooks};

    link_open_tls(&link, &world, _i, NULL, &options);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "closed(-125)");
    require_equal(hooks.calls, 1);
    link_close_world(&link);
}
END_TEST

START_TEST(handshake_hook_that_fails_ends_the_stream)
{
    struct world world;
    struct link link;
    struct hooks hooks = {.link = &link, .fails = true};
    struct afn_tls_options options = {
        .size = sizeof options, .do_handshake = step_handshake, .user = &hooks};

    link_open_tls(&link, &world, _i, NULL, &options);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_equal(link.recorder.event_count, 1);
    require_equal(link.recorder.error, AFN_ERR_ENGINE);
    require_equal(hooks.calls, 1);
    link_close_world(&link);
}
END_TEST

START_TEST(failed_hook_sees_the_error_of_openssl)
{
    struct world world;
    struct link link;
    struct hooks hooks = {.link = &link, .when = _i ? -1 : 0};
    struct afn_tls_options options = {
        .size = sizeof options, .failed = note_failure, .user = &hooks};

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    link_start_tls(&link, TLS1_3_VERSION, 0, &options);
    require_equal(SSL_set1_host(afn_stream_get_ssl(link.stream), "another.example"), 1);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_equal(hooks.failures, 1);
    require_equal(hooks.ssl_error, SSL_ERROR_SSL);
    require_equal(ERR_GET_REASON(hooks.error), SSL_R_CERTIFICATE_VERIFY_FAILED);
    require_equal(link.recorder.error, _i ? -ECANCELED : AFN_ERR_TLS);
    link_close_world(&link);
}
END_TEST

START_TEST(failed_hook_sees_an_error_after_the_handshake)
{
    struct world world;
    struct link link;
    struct hooks hooks = {.link = &link, .when = _i ? -1 : 0};
    struct afn_tls_options options = {
        .size = sizeof options, .failed = note_failure, .user = &hooks};

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    link_start_tls(&link, TLS1_3_VERSION, 1, &options);
    link_await_secured(&link);
    peer_write_wire(&link.peer, "\x17\x03\x03\x00\x20garbage garbage garbage garbage garbage", 44);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_equal(hooks.failures, 1);
    require_equal(link.recorder.error, _i ? -ECANCELED : AFN_ERR_TLS);
    link_close_world(&link);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {handshake_with_garbage_tells_a_tls_error, TLS_VARIANTS},
        {failed_stream_leaves_nothing_in_the_queue_of_openssl, 2 * TLS_VARIANTS},
        {handshake_that_the_peer_refuses_tells_its_alert, TLS_VERSIONS},
        {handshake_with_a_peer_that_is_not_trusted_sends_the_alert, TLS_VERSIONS},
        {handshake_with_a_peer_that_leaves_is_truncated, TLS_VARIANTS},
        {handshake_with_a_peer_that_resets_tells_the_reset, TLS_VARIANTS},
        {handshake_with_a_silent_peer_ends_at_its_time_limit, TLS_VARIANTS},
        {handshake_limit_means_nothing_once_secured, TLS_VARIANTS},
        {handshake_is_given_up_by_close_abort_and_unref, TLS_VARIANTS},
        {handshake_hook_stands_in_for_the_handshake, TLS_VARIANTS},
        {handshake_hook_may_abort, TLS_VARIANTS},
        {handshake_hook_that_fails_ends_the_stream, TLS_VARIANTS},
        {failed_hook_sees_the_error_of_openssl, 2},
        {failed_hook_sees_an_error_after_the_handshake, 2},
        {options_with_more_members_than_known_are_accepted, TLS_VARIANTS},
    };

    return harness_main("stream-tls-handshake", cases, COUNT_OF(cases));
}
