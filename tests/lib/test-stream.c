/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* Reading, ends, and what a stream says of itself. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault-sys.h"
#include "harness.h"
#include "world.h"

START_TEST(stream_delivers_what_the_peer_sends)
{
    struct world world;
    struct link link;
    struct bytes sent = {0};

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    bytes_fill(&sent, 3000000, 1);
    peer_write(&link.peer, sent.data, sent.length);
    pump_until(&world, link.recorder.data.length >= sent.length);
    require_same(&link.recorder.data, &sent);
    bytes_free(&sent);
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(stream_delivers_into_the_buffer_of_the_program)
{
    static const size_t sizes[] = {1, 2, 100, 4096};

    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct world world;
        struct link link;
        struct bytes sent = {0};

        world_open(&world);
        link_open(&link, &world, (enum pair_kind)_i, &recorder_buffered_handler);
        link.recorder.buffer_size = sizes[i];
        bytes_fill(&sent, sizes[i] * 33 + 7, 2);
        peer_write(&link.peer, sent.data, sent.length);
        link.peer.ends = true;
        pump_until(&world, recorder_is_closed(&link.recorder));
        require_same(&link.recorder.data, &sent);
        require_equal(link.recorder.counts[EVENT_EOF], 1);
        require_equal(link.recorder.error, 0);
        bytes_free(&sent);
        link_close(&link);
        world_close(&world);
    }
}
END_TEST

START_TEST(stream_tells_an_end_that_came_with_the_last_bytes)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    require(send(link.peer.fd, "last", 4, 0) == 4);
    require(shutdown(link.peer.fd, SHUT_WR) == 0);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "data(4) eof closed(0)");
    require(!sockets_is_open(link.fd));
    link_close(&link);
    world_close(&world);
}
END_TEST

static bool is_busy(void *user)
{
    return *(bool *)user;
}

START_TEST(end_of_the_peer_waits_until_a_busy_host_had_its_turn)
{
    struct world world;
    struct link link;
    bool busy = true;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    require_equal(afn_reactor_set_busy_check(world.reactor, 8, is_busy, &busy), 0);
    require(send(link.peer.fd, "last", 4, 0) == 4);
    require(shutdown(link.peer.fd, SHUT_WR) == 0);
    pump_dispatch(&world);
    require_story(&link.recorder, "data(4)");
    require(pump_is_ready(&world));
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "data(4) eof closed(0)");
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(end_of_the_peer_does_not_wait_for_an_idle_host)
{
    struct world world;
    struct link link;
    bool busy = false;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    require_equal(afn_reactor_set_busy_check(world.reactor, 8, is_busy, &busy), 0);
    require(send(link.peer.fd, "last", 4, 0) == 4);
    require(shutdown(link.peer.fd, SHUT_WR) == 0);
    pump_dispatch(&world);
    require_story(&link.recorder, "data(4) eof closed(0)");
    link_close(&link);
    world_close(&world);
}
END_TEST

static bool note_request(void *user)
{
    ++*(unsigned int *)user;
    return true;
}

START_TEST(end_of_the_peer_waits_for_what_a_scheduled_dispatch_gave_the_host_to_do)
{
    struct world world;
    struct link link;
    unsigned int requests = 0;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    afn_reactor_set_schedule_hook(world.reactor, note_request, &requests);
    afn_stream_pause_reading(link.stream);
    require(send(link.peer.fd, "last", 4, 0) == 4);
    pump_dispatch(&world);
    afn_stream_resume_reading(link.stream);
    require_equal(requests, 1);
    pump_dispatch_scheduled(&world);
    require_story(&link.recorder, "data(4)");
    /* The host may look at the descriptor before it looks at its queue. */
    require(shutdown(link.peer.fd, SHUT_WR) == 0);
    pump_dispatch(&world);
    require_story(&link.recorder, "data(4)");
    require_equal(requests, 2);
    pump_dispatch_scheduled(&world);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "data(4) eof closed(0)");
    require_equal(requests, 2);
    link_close(&link);
    world_close(&world);
}
END_TEST

static void stop_dispatch(struct recorder *recorder, enum event_kind kind)
{
    (void)kind;
    afn_reactor_stop(recorder->hook_user);
}

START_TEST(end_of_the_peer_waits_for_a_dispatch_that_was_scheduled_after_the_data)
{
    struct world world;
    struct link link, other;
    unsigned int requests = 0;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    link_open(&other, &world, PAIR_UNIX, NULL);
    afn_reactor_set_schedule_hook(world.reactor, note_request, &requests);
    recorder_abort(&other.recorder, 0);
    require_equal(requests, 1);
    require(send(link.peer.fd, "last", 4, 0) == 4);
    require(shutdown(link.peer.fd, SHUT_WR) == 0);
    /* So that the end is left to the scheduled one. */
    link.recorder.hook = stop_dispatch;
    link.recorder.hook_user = world.reactor;
    pump_dispatch(&world);
    require_story(&link.recorder, "data(4)");
    link.recorder.hook = NULL;
    /* What the data made the host do is behind this one in its queue. */
    pump_dispatch_scheduled(&world);
    require_story(&link.recorder, "data(4)");
    require_equal(requests, 2);
    pump_dispatch_scheduled(&world);
    require_story(&link.recorder, "data(4) eof closed(0)");
    link_close(&link);
    link_close(&other);
    world_close(&world);
}
END_TEST

START_TEST(stream_whose_program_keeps_it_open_after_the_end_still_writes)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    link.recorder.keeps_open = true;
    link.peer.ends = true;
    pump_until(&world, link.recorder.counts[EVENT_EOF] == 1);
    pump_idle(&world);
    require(!afn_stream_is_closing(link.stream));
    require_equal(afn_stream_write(link.stream, "answer", 6), 0);
    pump_until(&world, link.peer.received.length == 6);
    recorder_end(&link.recorder);
    pump_until(&world, recorder_is_closed(&link.recorder) && link.peer.has_eof);
    require_story(&link.recorder, "eof closed(0)");
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(stream_flushes_its_queue_after_the_end_of_the_peer)
{
    struct world world;
    struct link link;
    struct bytes sent = {0};

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    bytes_fill(&sent, 4000000, 3);
    require_equal(afn_stream_write(link.stream, sent.data, sent.length), 1);
    link.peer.is_deaf = true;
    link.peer.ends = true;
    pump_until(&world, link.recorder.counts[EVENT_EOF] == 1);
    pump_idle(&world);
    require(!recorder_is_closed(&link.recorder));
    link.peer.is_deaf = false;
    pump_until(&world, recorder_is_closed(&link.recorder) && link.peer.has_eof);
    require_same(&link.peer.received, &sent);
    require_equal(link.recorder.error, 0);
    bytes_free(&sent);
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(stream_made_paused_delivers_nothing_before_it_is_resumed)
{
    struct world world;
    struct link link;
    int fds[2];

    world_open(&world);
    sockets_make_pair((enum pair_kind)_i, fds);
    link = (struct link){.fd = fds[0]};
    peer_open(&link.peer, fds[1]);
    require_equal(afn_stream_new(world.reactor, fds[0], &recorder_handler, &link.recorder,
                                 AFN_STREAM_PAUSED, &link.stream),
                  0);
    recorder_open(&link.recorder, link.stream);
    link.recorder.is_paused = true;
    require(!afn_stream_is_reading(link.stream));
    require(send(link.peer.fd, "hello", 5, 0) == 5);
    require(shutdown(link.peer.fd, SHUT_WR) == 0);
    pump_idle(&world);
    require_story(&link.recorder, "");
    recorder_resume(&link.recorder);
    require(afn_stream_is_reading(link.stream));
    require_story(&link.recorder, "");
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "data(5) eof closed(0)");
    link_close(&link);
    world_close(&world);
}
END_TEST

static void pause_once(struct recorder *recorder, enum event_kind kind)
{
    if (kind == EVENT_DATA)
        recorder_pause(recorder);
}

START_TEST(stream_paused_in_a_callback_delivers_the_rest_after_resume)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, &recorder_buffered_handler);
    link.recorder.buffer_size = 3;
    link.recorder.hook = pause_once;
    require(send(link.peer.fd, "12345678", 8, 0) == 8);
    require(shutdown(link.peer.fd, SHUT_WR) == 0);
    for (unsigned int i = 1; i <= 3; i++) {
        pump_idle(&world);
        require_equal(link.recorder.counts[EVENT_DATA], i);
        recorder_resume(&link.recorder);
        require_equal(link.recorder.counts[EVENT_DATA], i);
    }
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_content(&link.recorder.data, "12345678");
    require_story(&link.recorder, "data(8) eof closed(0)");
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(stream_delivers_what_came_before_a_reset)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    require(send(link.peer.fd, "last words", 10, 0) == 10);
    peer_reset(&link.peer);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "data(10) closed(-104)");
    require_equal(link.recorder.error, -ECONNRESET);
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(stream_is_not_held_up_by_urgent_data)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    require(send(link.peer.fd, "ab", 2, 0) == 2);
    require(send(link.peer.fd, "!", 1, MSG_OOB) == 1);
    require(send(link.peer.fd, "cd", 2, 0) == 2);
    pump_until(&world, link.recorder.data.length == 4);
    require_content(&link.recorder.data, "abcd");
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(stream_reads_on_after_a_descriptor_was_passed_to_it)
{
    struct world world;
    struct link link;
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {.iov_base = (char[]){"abc"}, .iov_len = 3};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, NULL);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &link.peer.fd, sizeof(int));
    require(sendmsg(link.peer.fd, &message, 0) == 3);
    require(send(link.peer.fd, "def", 3, 0) == 3);
    pump_until(&world, link.recorder.data.length == 6);
    require_content(&link.recorder.data, "abcdef");
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(stream_needs_one_receive_and_one_send_for_an_echo)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    link.recorder.echoes = true;
    for (int i = 0; i < 10; i++) {
        peer_write_text(&link.peer, "0123456789");
        pump_until(&world, link.peer.received.length == (size_t)(i + 1) * 10);
        pump_idle(&world);
    }
    require_equal(fault_sys_count(FAULT_RECV), 10);
    require_equal(fault_sys_count(FAULT_SEND), 10);
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(stream_counts_bytes_and_calls)
{
    struct world world;
    struct link link;
    struct afn_stream_stats stats;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    link.recorder.echoes = true;
    peer_write_text(&link.peer, "0123456789");
    pump_until(&world, link.peer.received.length == 10);
    pump_idle(&world);
    require_equal(afn_stream_get_stats(link.stream, &stats, sizeof stats), 0);
    require_equal(stats.bytes_received, 10);
    require_equal(stats.bytes_sent, 10);
    require_equal(stats.wire_bytes_received, 10);
    require_equal(stats.wire_bytes_sent, 10);
    require_equal(stats.records_received, 0);
    require_equal(stats.records_sent, 0);
    require_equal(stats.receive_calls, fault_sys_count(FAULT_RECV));
    require_equal(stats.send_calls, fault_sys_count(FAULT_SEND));
    require_equal(stats.high_water_hits, 0);
    link_close(&link);
    world_close(&world);
}
END_TEST

/* As of a program that was compiled with a header that is older, or newer, than the library. */
START_TEST(stream_gives_as_many_counters_as_are_asked_for)
{
    struct world world;
    struct link link;
    struct {
        struct afn_stream_stats known;
        uint64_t unknown[2];
        uint64_t behind;
    } newer;
    struct {
        uint64_t bytes_received;
        uint64_t behind;
    } older = {1, 2};

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, NULL);
    peer_write_text(&link.peer, "0123456789");
    pump_until(&world, link.recorder.data.length == 10);
    memset(&newer, 0xff, sizeof newer);
    require_equal(afn_stream_get_stats(link.stream, &newer.known,
                                       sizeof newer - sizeof newer.behind),
                  0);
    require_equal(newer.known.bytes_received, 10);
    require_equal(newer.unknown[0] | newer.unknown[1], 0);
    require(newer.behind == UINT64_MAX);
    require_equal(afn_stream_get_stats(link.stream, (struct afn_stream_stats *)&older,
                                       sizeof older.bytes_received),
                  0);
    require_equal(older.bytes_received, 10);
    require_equal(older.behind, 2);
    require_equal(afn_stream_get_stats(link.stream, &newer.known, 0), -EINVAL);
    require_equal(afn_stream_get_stats(link.stream, NULL, sizeof newer.known), -EINVAL);
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(stream_refuses_bad_arguments_and_leaves_the_descriptor)
{
    struct world world;
    struct afn_stream *stream = NULL;
    struct afn_stream_handler deaf = recorder_handler;
    struct afn_stream_handler sizeless = recorder_handler;
    int fds[2];

    deaf.data = NULL;
    sizeless.size = 0;
    world_open(&world);
    sockets_make_pair(PAIR_UNIX, fds);
    require_equal(afn_stream_new(world.reactor, fds[0], NULL, NULL, 0, &stream), -EINVAL);
    require_equal(afn_stream_new(world.reactor, fds[0], &deaf, NULL, 0, &stream), -EINVAL);
    require_equal(afn_stream_new(world.reactor, fds[0], &sizeless, NULL, 0, &stream), -EINVAL);
    require_equal(afn_stream_new(world.reactor, fds[0], &recorder_handler, NULL, 1u << 31, &stream),
                  -EINVAL);
    require(afn_stream_new(world.reactor, -1, &recorder_handler, NULL, 0, &stream) < 0);
    require(stream == NULL);
    require(sockets_is_open(fds[0]));
    close(fds[0]);
    close(fds[1]);
    world_close(&world);
}
END_TEST

START_TEST(stream_makes_its_descriptor_non_blocking)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    require_equal(afn_stream_get_fd(link.stream), link.fd);
    require(fcntl(link.fd, F_GETFL) & O_NONBLOCK);
    link_close(&link);
    require(!sockets_is_open(link.fd));
    world_close(&world);
}
END_TEST

START_TEST(stream_accepts_a_handler_with_fewer_members)
{
    struct world world;
    struct link link;
    struct afn_stream_handler handler = recorder_handler;

    /* As a program that was built with an older header has it: all behind data is garbage. */
    memset((char *)&handler + offsetof(struct afn_stream_handler, get_buffer), 0xAA,
           sizeof handler - offsetof(struct afn_stream_handler, get_buffer));
    handler.size = offsetof(struct afn_stream_handler, get_buffer);
    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, &handler);
    peer_write_text(&link.peer, "hello");
    link.peer.ends = true;
    pump_until(&world, link.recorder.data.length == 5 && afn_stream_is_closing(link.stream));
    pump_idle(&world);
    require(!sockets_is_open(link.fd));
    link_close(&link);
    world_close(&world);
}
END_TEST

/* And a newer header has more of them. */
START_TEST(stream_accepts_a_handler_with_more_members)
{
    struct world world;
    struct link link;
    struct {
        struct afn_stream_handler handler;
        void *more[4];
    } newer = {.handler = recorder_handler};

    newer.handler.size = sizeof newer;
    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, &newer.handler);
    peer_write_text(&link.peer, "hello");
    link.peer.ends = true;
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "data(5) eof closed(0)");
    link_close(&link);
    world_close(&world);
}
END_TEST

static void turn_buffered(struct recorder *recorder, enum event_kind kind)
{
    if (kind == EVENT_DATA)
        require_equal(afn_stream_set_handler(recorder->stream, &recorder_buffered_handler,
                                             recorder->hook_user),
                      0);
}

START_TEST(stream_gets_another_handler_in_the_middle)
{
    struct world world;
    struct link link;
    struct recorder second;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    recorder_open(&second, link.stream);
    link.recorder.hook = turn_buffered;
    link.recorder.hook_user = &second;
    require_equal(afn_stream_set_handler(link.stream, NULL, &second), -EINVAL);
    peer_write_text(&link.peer, "first");
    pump_until(&world, link.recorder.data.length == 5);
    peer_write_text(&link.peer, "second");
    link.peer.ends = true;
    pump_until(&world, recorder_is_closed(&second));
    require_story(&link.recorder, "data(5)");
    require_story(&second, "data(6) eof closed(0)");
    recorder_close(&second);
    link_close(&link);
    world_close(&world);
}
END_TEST

static void refuse_buffer(struct afn_stream *stream, void *user, void **ret_buffer,
                          size_t *ret_length)
{
    (void)stream;
    *ret_buffer = user;
    *ret_length = 0;
}

START_TEST(stream_without_room_in_the_buffer_is_closed)
{
    struct world world;
    struct link link;
    struct afn_stream_handler handler = recorder_buffered_handler;

    handler.get_buffer = refuse_buffer;
    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, &handler);
    peer_write_text(&link.peer, "hello");
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_equal(link.recorder.error, -ENOBUFS);
    require_equal(link.recorder.data.length, 0);
    link_close(&link);
    world_close(&world);
}
END_TEST

/* T32 */
START_TEST(stream_that_floods_lets_others_have_their_turn)
{
    struct world world;
    struct link flood;
    struct link quiet[20];
    struct bytes data = {0};
    struct afn_stream_stats stats;

    world_open(&world);
    link_open(&flood, &world, PAIR_UNIX, NULL);
    bytes_fill(&data, 16 << 20, 4);
    peer_write(&flood.peer, data.data, data.length);
    for (size_t i = 0; i < COUNT_OF(quiet); i++) {
        link_open(&quiet[i], &world, PAIR_UNIX, NULL);
        peer_write_text(&quiet[i].peer, "ping");
    }
    /* All of them have bytes waiting after one turn of the peers: two dispatches serve them. */
    for (size_t i = 0; i < world.peer_count; i++)
        peer_step(world.peers[i]);
    pump_dispatch(&world);
    pump_dispatch(&world);
    for (size_t i = 0; i < COUNT_OF(quiet); i++)
        require_story(&quiet[i].recorder, "data(4)");
    pump_until(&world, flood.recorder.data.length == data.length);
    require_same(&flood.recorder.data, &data);
    require_equal(afn_stream_get_stats(flood.stream, &stats, sizeof stats), 0);
    require_equal(stats.bytes_received, data.length);
    bytes_free(&data);
    link_close(&flood);
    for (size_t i = 0; i < COUNT_OF(quiet); i++)
        link_close(&quiet[i]);
    world_close(&world);
}
END_TEST

/* The peer's socket always has more: as much as is read comes again at once. */
static void refill(struct recorder *recorder, enum event_kind kind)
{
    const struct link *link = recorder->hook_user;
    static const char zeros[65536];

    if (kind == EVENT_DATA)
        while (send(link->peer.fd, zeros, sizeof zeros, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
            ;
}

START_TEST(stream_that_never_runs_dry_does_not_keep_dispatch)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, NULL);
    link.recorder.hook = refill;
    link.recorder.hook_user = &link;
    require(send(link.peer.fd, "x", 1, 0) == 1);
    for (int i = 0; i < 3; i++) {
        require(pump_is_ready(&world));
        require(pump_dispatch(&world) > 0);
    }
    link_close(&link);
    world_close(&world);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {stream_delivers_what_the_peer_sends, PAIR_KINDS},
        {stream_delivers_into_the_buffer_of_the_program, PAIR_KINDS},
        {stream_tells_an_end_that_came_with_the_last_bytes, PAIR_KINDS},
        {end_of_the_peer_waits_until_a_busy_host_had_its_turn, PAIR_KINDS},
        {end_of_the_peer_does_not_wait_for_an_idle_host, PAIR_KINDS},
        {end_of_the_peer_waits_for_what_a_scheduled_dispatch_gave_the_host_to_do, PAIR_KINDS},
        {end_of_the_peer_waits_for_a_dispatch_that_was_scheduled_after_the_data, PAIR_KINDS},
        {stream_whose_program_keeps_it_open_after_the_end_still_writes, PAIR_KINDS},
        {stream_flushes_its_queue_after_the_end_of_the_peer, PAIR_KINDS},
        {stream_made_paused_delivers_nothing_before_it_is_resumed, PAIR_KINDS},
        {stream_paused_in_a_callback_delivers_the_rest_after_resume, PAIR_KINDS},
        {stream_delivers_what_came_before_a_reset, 1},
        {stream_is_not_held_up_by_urgent_data, 1},
        {stream_reads_on_after_a_descriptor_was_passed_to_it, 1},
        {stream_needs_one_receive_and_one_send_for_an_echo, 1},
        {stream_counts_bytes_and_calls, PAIR_KINDS},
        {stream_gives_as_many_counters_as_are_asked_for, 1},
        {stream_refuses_bad_arguments_and_leaves_the_descriptor, 1},
        {stream_makes_its_descriptor_non_blocking, PAIR_KINDS},
        {stream_accepts_a_handler_with_fewer_members, 1},
        {stream_accepts_a_handler_with_more_members, 1},
        {stream_gets_another_handler_in_the_middle, PAIR_KINDS},
        {stream_without_room_in_the_buffer_is_closed, PAIR_KINDS},
        {stream_that_floods_lets_others_have_their_turn, 1},
        {stream_that_never_runs_dry_does_not_keep_dispatch, 1},
    };

    return harness_main("stream", cases, COUNT_OF(cases));
}
