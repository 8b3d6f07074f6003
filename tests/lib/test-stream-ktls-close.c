/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* How connections end that have kernel TLS. */
#include <aiofastnet/error.h>

#include "harness.h"
#include "ktls-link.h"
#include "tls-link.h"

START_TEST(close_flushes_and_says_goodbye)
{
    struct ktls_setting setting = ktls_get_short_setting(_i);
    struct world world;
    struct link link;
    struct bytes sent = {0};

    link_open_ktls(&link, &world, &setting);
    link.peer.is_polite = true;
    bytes_fill(&sent, 3 << 20, 3);
    require(afn_stream_write(link.stream, sent.data, sent.length) >= 0);
    recorder_end(&link.recorder);
    pump_until(&world, recorder_is_closed(&link.recorder));
    pump_until(&world, link.peer.is_notified);
    require_equal(link.recorder.error, 0);
    require_same(&link.peer.received, &sent);
    bytes_free(&sent);
    link_close_world(&link);
}
END_TEST

START_TEST(goodbye_of_the_peer_is_a_proper_end)
{
    struct ktls_setting setting = ktls_get_short_setting(_i);
    struct world world;
    struct link link;

    link_open_ktls(&link, &world, &setting);
    peer_write_text(&link.peer, "last words");
    peer_shut_down_tls(&link.peer);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_content(&link.recorder.data, "last words");
    require_equal(link.recorder.counts[EVENT_EOF], 1);
    require_equal(link.recorder.error, 0);
    link_close_world(&link);
}
END_TEST

START_TEST(end_without_a_goodbye_is_a_truncation)
{
    struct ktls_setting setting = ktls_get_short_setting(_i);
    struct world world;
    struct link link;

    link_open_ktls(&link, &world, &setting);
    peer_write_text(&link.peer, "last words");
    link.peer.ends = true;
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_content(&link.recorder.data, "last words");
    require_equal(link.recorder.error, AFN_ERR_TRUNCATED);
    link_close_world(&link);
}
END_TEST

START_TEST(abort_with_much_to_send_leaves_nothing)
{
    struct ktls_setting setting = ktls_get_short_setting(_i);
    struct world world;
    struct link link;
    struct bytes sent = {0};

    link_open_ktls(&link, &world, &setting);
    link.peer.is_deaf = true;
    bytes_fill(&sent, 8 << 20, 5);
    require_equal(afn_stream_write(link.stream, sent.data, sent.length), 1);
    recorder_abort(&link.recorder, 0);
    pump_until(&world, recorder_is_closed(&link.recorder));
    bytes_free(&sent);
    link_close_world(&link);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {close_flushes_and_says_goodbye, KTLS_SHORT_SETTINGS},
        {goodbye_of_the_peer_is_a_proper_end, KTLS_SHORT_SETTINGS},
        {end_without_a_goodbye_is_a_truncation, KTLS_SHORT_SETTINGS},
        {abort_with_much_to_send_leaves_nothing, KTLS_SHORT_SETTINGS},
    };

    return harness_main("stream-ktls-close", cases, COUNT_OF(cases));
}
