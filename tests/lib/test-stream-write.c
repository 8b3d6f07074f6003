/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* Writing, the queue of a stream and its marks. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "fault-sys.h"
#include "harness.h"
#include "world.h"

static void count_release(void *user)
{
    unsigned int *releases = user;

    ++*releases;
}

/* Fills the socket, so that what is written from now on is queued: how much was written. */
static size_t fill_up(struct link *link)
{
    static const char zeros[65536];
    size_t written = 0;

    link->peer.is_deaf = true;
    while (afn_stream_get_write_buffer_size(link->stream) == 0) {
        require(afn_stream_write(link->stream, zeros, sizeof zeros) >= 0);
        written += sizeof zeros;
    }
    return written;
}

START_TEST(write_leaves_at_once_in_one_call)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    require_equal(afn_stream_write(link.stream, "hello", 5), 0);
    require_equal(fault_sys_count(FAULT_SEND), 1);
    require_equal(afn_stream_get_write_buffer_size(link.stream), 0);
    pump_until(&world, link.peer.received.length == 5);
    require_content(&link.peer.received, "hello");
    require_story(&link.recorder, "");
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(write_of_nothing_does_nothing)
{
    const struct afn_buffer nothing[] = {{"", 0}, {NULL, 0}};
    struct world world;
    struct link link;
    unsigned int releases = 0;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    require_equal(afn_stream_write(link.stream, "", 0), 0);
    require_equal(afn_stream_writev(link.stream, NULL, 0), 0);
    require_equal(afn_stream_writev(link.stream, nothing, COUNT_OF(nothing)), 0);
    require_equal(afn_stream_write_ref(link.stream, "", 0, count_release, &releases), 0);
    require_equal(fault_sys_count(FAULT_SEND), 0);
    require_equal(afn_stream_write(link.stream, "x", 1), 0);
    require_equal(releases, 1);
    pump_until(&world, link.peer.received.length == 1);
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(write_keeps_the_order_of_all_its_kinds)
{
    struct world world;
    struct link link;
    struct bytes sent = {0};
    struct bytes scratch = {0};
    unsigned int releases = 0;
    unsigned int references = 0;
    size_t done = 0;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    sockets_shrink(link.fd);
    bytes_fill(&sent, 1500000, 5);
    bytes_append(&scratch, sent.data, sent.length);
    for (size_t step = 1; done < sent.length; step = (step * 7) % 9973) {
        size_t piece = step < sent.length - done ? step : sent.length - done;
        unsigned char *data = scratch.data + done;
        struct afn_buffer parts[3] = {
            {data, piece / 3}, {data + piece / 3, 0}, {data + piece / 3, piece - piece / 3}};

        if (step % 3 == 0) {
            references++;
            require(afn_stream_write_ref(link.stream, sent.data + done, piece, count_release,
                                         &releases) >= 0);
        } else if (step % 3 == 1) {
            require(afn_stream_write(link.stream, data, piece) >= 0);
        } else {
            require(afn_stream_writev(link.stream, parts, COUNT_OF(parts)) >= 0);
        }
        /* What write() was given may change once it has returned. */
        memset(data, 0, piece);
        done += piece;
        if (step % 5 == 0)
            pump_wait(&world);
    }
    pump_until(&world, link.peer.received.length >= sent.length);
    pump_idle(&world);
    require_same(&link.peer.received, &sent);
    require_equal(releases, references);
    bytes_free(&sent);
    bytes_free(&scratch);
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(writev_of_thousands_of_parts_arrives)
{
    struct world world;
    struct link link;
    struct bytes sent = {0};
    static struct afn_buffer parts[5000];

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    bytes_fill(&sent, COUNT_OF(parts) * 100, 6);
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        parts[i] = (struct afn_buffer){sent.data + i * 100, 100};
    require(afn_stream_writev(link.stream, parts, COUNT_OF(parts)) >= 0);
    pump_until(&world, link.peer.received.length >= sent.length);
    require_same(&link.peer.received, &sent);
    bytes_free(&sent);
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(writev_leaves_in_one_call)
{
    struct world world;
    struct link link;
    struct afn_buffer parts[] = {{"one ", 4}, {"", 0}, {"two ", 4}, {"three", 5}};

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    require_equal(afn_stream_writev(link.stream, parts, COUNT_OF(parts)), 0);
    require_equal(fault_sys_count(FAULT_SEND), 1);
    pump_until(&world, link.peer.received.length == 13);
    require_content(&link.peer.received, "one two three");
    link_close(&link);
    world_close(&world);
}
END_TEST

static void write_often(struct recorder *recorder, enum event_kind kind)
{
    if (kind == EVENT_DATA)
        for (int i = 0; i < 10; i++)
            require_equal(afn_stream_write(recorder->stream, "0123456789", 10), 0);
}

START_TEST(writes_in_a_callback_after_the_first_leave_together)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    link.recorder.hook = write_often;
    peer_write_text(&link.peer, "x");
    pump_until(&world, link.peer.received.length == 100);
    require_equal(fault_sys_count(FAULT_SEND), 2);
    link_close(&link);
    world_close(&world);
}
END_TEST

/* T13 */
static void write_numbers(struct recorder *recorder, enum event_kind kind)
{
    uint32_t *number = recorder->hook_user;

    if (kind == EVENT_CLOSED)
        return;
    for (int i = 0; i < 500; i++) {
        require(afn_stream_write(recorder->stream, number, sizeof *number) >= 0);
        ++*number;
    }
}

START_TEST(writes_from_every_callback_keep_their_order)
{
    struct world world;
    struct link link;
    uint32_t number = 0;
    unsigned int turns = 0;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    require_equal(afn_stream_set_write_limits(link.stream, 10, 0), 0);
    sockets_shrink(link.fd);
    link.recorder.hook = write_numbers;
    link.recorder.hook_user = &number;
    link.recorder.keeps_open = true;
    while (number < 10000) {
        if (turns++ % 3 == 0)
            peer_write_text(&link.peer, "x");
        pump_wait(&world);
    }
    link.recorder.hook = NULL;
    pump_until(&world, link.peer.received.length >= number * sizeof number);
    for (uint32_t i = 0; i < number; i++) {
        uint32_t actual;

        memcpy(&actual, link.peer.received.data + i * sizeof actual, sizeof actual);
        require_equal(actual, i);
    }
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(corked_writes_leave_together_at_the_last_uncork)
{
    struct world world;
    struct link link;
    struct afn_buffer part = {" three", 6};

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    afn_stream_cork(link.stream);
    afn_stream_cork(link.stream);
    require_equal(afn_stream_write(link.stream, "one ", 4), 0);
    pump_idle(&world);
    afn_stream_uncork(link.stream);
    require_equal(afn_stream_write(link.stream, "two", 3), 0);
    require_equal(afn_stream_writev(link.stream, &part, 1), 0);
    /* Callbacks come meanwhile, and do not let it out. */
    peer_write_text(&link.peer, "hello");
    pump_until(&world, link.recorder.data.length == 5);
    pump_idle(&world);
    require_equal(fault_sys_count(FAULT_SEND), 0);
    require_equal(afn_stream_get_write_buffer_size(link.stream), 13);
    afn_stream_uncork(link.stream);
    require_equal(fault_sys_count(FAULT_SEND), 1);
    pump_until(&world, link.peer.received.length == 13);
    require_content(&link.peer.received, "one two three");
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(corked_stream_that_is_closed_ends_after_uncork)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    afn_stream_cork(link.stream);
    require_equal(afn_stream_write(link.stream, "bye", 3), 0);
    recorder_end(&link.recorder);
    pump_idle(&world);
    afn_stream_uncork(link.stream);
    pump_until(&world, recorder_is_closed(&link.recorder) && link.peer.has_eof);
    require_content(&link.peer.received, "bye");
    require_equal(link.recorder.error, 0);
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(write_tells_that_the_high_water_mark_is_passed)
{
    struct world world;
    struct link link;
    struct afn_stream_stats stats;
    size_t expected, high, low;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    afn_stream_get_write_limits(link.stream, &high, &low);
    require_equal(high, 65536);
    require_equal(low, 16384);
    expected = fill_up(&link);
    require(afn_stream_get_write_buffer_size(link.stream) <= 65536);
    while (afn_stream_write(link.stream, "0123456789", 10) == 0)
        expected += 10;
    expected += 10;
    require(afn_stream_get_write_buffer_size(link.stream) > 65536);
    pump_idle(&world);
    require_story(&link.recorder, "");
    link.peer.is_deaf = false;
    pump_until(&world, link.recorder.counts[EVENT_WRITABLE] == 1);
    require(afn_stream_get_write_buffer_size(link.stream) <= 16384);
    pump_until(&world, link.peer.received.length >= expected);
    pump_idle(&world);
    require_story(&link.recorder, "writable");
    require_equal(link.peer.received.length, expected);
    require_equal(afn_stream_get_write_buffer_size(link.stream), 0);
    require_equal(afn_stream_get_stats(link.stream, &stats, sizeof stats), 0);
    require_equal(stats.high_water_hits, 1);
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(write_limits_follow_from_one_another)
{
    struct world world;
    struct link link;
    size_t high, low;
    static const struct {
        size_t high, low, expected_high, expected_low;
    } cases[] = {
        {AFN_STREAM_DEFAULT_LIMIT, AFN_STREAM_DEFAULT_LIMIT, 65536, 16384},
        {1000, AFN_STREAM_DEFAULT_LIMIT, 1000, 250},
        {AFN_STREAM_DEFAULT_LIMIT, 1000, 4000, 1000},
        {0, AFN_STREAM_DEFAULT_LIMIT, 0, 0},
        {AFN_STREAM_DEFAULT_LIMIT, 0, 0, 0},
        {7, 7, 7, 7},
        {0, 0, 0, 0},
    };

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        require_equal(afn_stream_set_write_limits(link.stream, cases[i].high, cases[i].low), 0);
        require_equal(afn_stream_set_write_limits(link.stream, 5, 6), -EINVAL);
        afn_stream_get_write_limits(link.stream, &high, &low);
        require_equal(high, cases[i].expected_high);
        require_equal(low, cases[i].expected_low);
    }
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(write_limits_set_below_and_above_the_queue_are_told)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    fill_up(&link);
    require_equal(afn_stream_set_write_limits(link.stream, 1 << 20, 1 << 19), 0);
    require_equal(afn_stream_set_write_limits(link.stream, 0, 0), 1);
    pump_idle(&world);
    require_story(&link.recorder, "");
    /* The size is below the new low mark already: the callback is due, and comes from dispatch. */
    require_equal(afn_stream_set_write_limits(link.stream, 1 << 20, 1 << 19), 0);
    require_story(&link.recorder, "");
    pump_idle(&world);
    require_story(&link.recorder, "writable");
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(write_with_limits_of_zero_becomes_writable_when_all_is_gone)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    require_equal(afn_stream_set_write_limits(link.stream, 0, 0), 0);
    require_equal(afn_stream_write(link.stream, "x", 1), 0);
    link.peer.is_deaf = true;
    fill_up(&link);
    require_equal(afn_stream_write(link.stream, "x", 1), 1);
    link.peer.is_deaf = false;
    pump_until(&world, link.recorder.counts[EVENT_WRITABLE] == 1);
    require_equal(afn_stream_get_write_buffer_size(link.stream), 0);
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(write_eof_ends_the_sending_direction_only)
{
    struct world world;
    struct link link;
    unsigned int releases = 0;
    struct afn_buffer part = {"x", 1};

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    require_equal(afn_stream_write(link.stream, "bye", 3), 0);
    require_equal(afn_stream_write_eof(link.stream), 0);
    require_equal(afn_stream_write_eof(link.stream), 0);
    require_equal(afn_stream_write(link.stream, "x", 1), -EPIPE);
    require_equal(afn_stream_writev(link.stream, &part, 1), -EPIPE);
    require_equal(afn_stream_write_ref(link.stream, "x", 1, count_release, &releases), -EPIPE);
    require_equal(releases, 1);
    pump_until(&world, link.peer.has_eof);
    require_content(&link.peer.received, "bye");
    require(!afn_stream_is_closing(link.stream));
    peer_write_text(&link.peer, "still here");
    link.peer.ends = true;
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "data(10) eof closed(0)");
    require_equal(afn_stream_write_eof(link.stream), -EPIPE);
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(write_eof_comes_after_the_queue)
{
    struct world world;
    struct link link;
    size_t expected;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    expected = fill_up(&link);
    require_equal(afn_stream_write_eof(link.stream), 0);
    pump_idle(&world);
    require_equal(fault_sys_count(FAULT_SHUTDOWN), 0);
    link.peer.is_deaf = false;
    pump_until(&world, link.peer.has_eof);
    require_equal(link.peer.received.length, expected);
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(write_ref_points_at_the_memory_until_it_is_released)
{
    struct world world;
    struct link link;
    struct bytes data = {0};
    unsigned int releases = 0;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    bytes_fill(&data, 5000, 7);
    fill_up(&link);
    require(afn_stream_write_ref(link.stream, data.data, data.length, count_release, &releases) >=
            0);
    require_equal(releases, 0);
    /* Not copied: a change before the release is seen. */
    data.data[0] ^= 0xFF;
    link.peer.is_deaf = false;
    pump_until(&world, releases == 1);
    pump_until(&world, afn_stream_get_write_buffer_size(link.stream) == 0);
    recorder_end(&link.recorder);
    pump_until(&world, link.peer.has_eof);
    require_equal(releases, 1);
    require_bytes(link.peer.received.data + link.peer.received.length - data.length, data.length,
                  data.data, data.length);
    bytes_free(&data);
    link_close(&link);
    world_close(&world);
}
END_TEST

/* The ways in which a queue is dropped. */
START_TEST(write_ref_releases_exactly_once_when_the_queue_is_dropped)
{
    for (int way = 0; way < 4; way++) {
        struct world world;
        struct link link;
        unsigned int releases = 0;

        world_open(&world);
        link_open(&link, &world, (enum pair_kind)_i, NULL);
        fill_up(&link);
        for (int i = 0; i < 3; i++)
            require(afn_stream_write_ref(link.stream, "abc", 3, count_release, &releases) >= 0);
        if (way == 0)
            recorder_abort(&link.recorder, 0);
        else if (way == 1)
            peer_reset(&link.peer);
        else if (way == 2)
            recorder_end(&link.recorder);
        if (way == 2)
            afn_stream_abort(link.stream, -ECANCELED);
        if (way != 3)
            pump_until(&world, recorder_is_closed(&link.recorder));
        require_equal(releases, way == 3 ? 0 : 3);
        if (way != 1)
            require_equal(link.recorder.error, way == 2 ? -ECANCELED : 0);
        link_close(&link);
        require_equal(releases, 3);
        world_close(&world);
    }
}
END_TEST

/* T14, T22 */
START_TEST(write_error_is_told_after_what_the_peer_had_sent)
{
    struct world world;
    struct link link;
    unsigned int releases = 0;

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    require(send(link.peer.fd, "unread", 6, 0) == 6);
    peer_reset(&link.peer);
    require_equal(afn_stream_write(link.stream, "x", 1), 0);
    require(afn_stream_is_closing(link.stream));
    require_equal(afn_stream_write(link.stream, "x", 1), -EPIPE);
    require_equal(afn_stream_write_ref(link.stream, "x", 1, count_release, &releases), -EPIPE);
    require_equal(releases, 1);
    require_equal(afn_stream_write_eof(link.stream), -EPIPE);
    require_story(&link.recorder, "");
    pump_until(&world, recorder_is_closed(&link.recorder));
    require(link.recorder.error == -ECONNRESET || link.recorder.error == -EPIPE);
    require_content(&link.recorder.data, "unread");
    require_equal(link.recorder.counts[EVENT_DATA], 1);
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(writev_that_meets_an_error_is_not_told_by_its_result)
{
    struct world world;
    struct link link;
    struct afn_buffer parts[] = {{"one", 3}, {"two", 3}};

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    fault_sys_fail(FAULT_SEND, 0, 1, -ECONNRESET);
    require_equal(afn_stream_writev(link.stream, parts, COUNT_OF(parts)), 0);
    require(afn_stream_is_closing(link.stream));
    require_equal(afn_stream_get_write_buffer_size(link.stream), 0);
    require_equal(afn_stream_writev(link.stream, parts, COUNT_OF(parts)), -EPIPE);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "closed(-104)");
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(write_after_close_is_dropped)
{
    struct world world;
    struct link link;
    unsigned int releases = 0;
    struct afn_buffer part = {"x", 1};

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    recorder_end(&link.recorder);
    require(afn_stream_is_closing(link.stream));
    for (int i = 0; i < 2; i++) {
        require_equal(afn_stream_write(link.stream, "x", 1), -EPIPE);
        require_equal(afn_stream_writev(link.stream, &part, 1), -EPIPE);
        require_equal(afn_stream_write_ref(link.stream, "x", 1, count_release, &releases), -EPIPE);
        require_equal(afn_stream_write_eof(link.stream), -EPIPE);
        pump_until(&world, recorder_is_closed(&link.recorder));
    }
    require_equal(releases, 2);
    require_equal(link.peer.received.length, 0);
    link_close(&link);
    world_close(&world);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {write_leaves_at_once_in_one_call, PAIR_KINDS},
        {write_of_nothing_does_nothing, PAIR_KINDS},
        {write_keeps_the_order_of_all_its_kinds, PAIR_KINDS},
        {writev_of_thousands_of_parts_arrives, PAIR_KINDS},
        {writev_leaves_in_one_call, PAIR_KINDS},
        {writes_in_a_callback_after_the_first_leave_together, PAIR_KINDS},
        {writes_from_every_callback_keep_their_order, PAIR_KINDS},
        {corked_writes_leave_together_at_the_last_uncork, PAIR_KINDS},
        {corked_stream_that_is_closed_ends_after_uncork, PAIR_KINDS},
        {write_tells_that_the_high_water_mark_is_passed, PAIR_KINDS},
        {write_limits_follow_from_one_another, 1},
        {write_limits_set_below_and_above_the_queue_are_told, PAIR_KINDS},
        {write_with_limits_of_zero_becomes_writable_when_all_is_gone, PAIR_KINDS},
        {write_eof_ends_the_sending_direction_only, PAIR_KINDS},
        {write_eof_comes_after_the_queue, PAIR_KINDS},
        {write_ref_points_at_the_memory_until_it_is_released, PAIR_KINDS},
        {write_ref_releases_exactly_once_when_the_queue_is_dropped, PAIR_KINDS},
        {write_error_is_told_after_what_the_peer_had_sent, 1},
        {write_after_close_is_dropped, PAIR_KINDS},
        {writev_that_meets_an_error_is_not_told_by_its_result, PAIR_KINDS},
    };

    return harness_main("stream-write", cases, COUNT_OF(cases));
}
