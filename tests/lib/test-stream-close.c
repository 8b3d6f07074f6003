/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* The end of a stream, whoever brings it about. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault-sys.h"
#include "harness.h"
#include "world.h"

START_TEST(stream_unref_takes_null)
{
    require(afn_stream_unref(NULL) == NULL);
}
END_TEST

START_TEST(stream_that_is_dropped_is_gone_without_io_and_callbacks)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    require(send(link.peer.fd, "unread", 6, 0) == 6);
    afn_stream_cork(link.stream);
    require_equal(afn_stream_write(link.stream, "unsent", 6), 0);
    require(afn_stream_ref(link.stream) == link.stream);
    require(afn_stream_unref(link.stream) == NULL);
    require(sockets_is_open(link.fd));
    recorder_unref(&link.recorder);
    link.stream = NULL;
    require(!sockets_is_open(link.fd));
    require_equal(fault_sys_count(FAULT_SEND) + fault_sys_count(FAULT_RECV) +
                      fault_sys_count(FAULT_SHUTDOWN),
                  0);
    pump_idle(&world);
    require_equal(link.peer.received.length, 0);
    require_story(&link.recorder, "");
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(close_flushes_and_tells_closed_once)
{
    struct world world;
    struct link link;
    struct bytes sent = {0};

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    bytes_fill(&sent, 3000000, 8);
    sockets_shrink(link.fd);
    require_equal(afn_stream_write(link.stream, sent.data, sent.length), 1);
    require(!afn_stream_is_closing(link.stream));
    recorder_end(&link.recorder);
    recorder_end(&link.recorder);
    require(afn_stream_is_closing(link.stream));
    require_story(&link.recorder, "");
    pump_until(&world, recorder_is_closed(&link.recorder) && link.peer.has_eof);
    require_same(&link.peer.received, &sent);
    require_equal(link.recorder.error, 0);
    require_equal(afn_stream_get_fd(link.stream), -1);
    recorder_end(&link.recorder);
    recorder_abort(&link.recorder, -EIO);
    pump_idle(&world);
    require_equal(link.recorder.counts[EVENT_CLOSED], 1);
    bytes_free(&sent);
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(close_and_unref_is_the_ordinary_way)
{
    struct world world;
    struct link link;
    struct bytes sent = {0};

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    bytes_fill(&sent, 1000000, 9);
    sockets_shrink(link.fd);
    require_equal(afn_stream_write(link.stream, sent.data, sent.length), 1);
    recorder_end(&link.recorder);
    recorder_unref(&link.recorder);
    link.stream = NULL;
    pump_until(&world, recorder_is_closed(&link.recorder) && link.peer.has_eof);
    require_same(&link.peer.received, &sent);
    require(!sockets_is_open(link.fd));
    bytes_free(&sent);
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(close_delivers_no_more_data)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    require(send(link.peer.fd, "too late", 8, 0) == 8);
    recorder_end(&link.recorder);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "closed(0)");
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(close_of_a_paused_stream_ends_it)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    recorder_pause(&link.recorder);
    peer_write_text(&link.peer, "unread");
    pump_idle(&world);
    recorder_end(&link.recorder);
    recorder_resume(&link.recorder);
    require(!afn_stream_is_reading(link.stream));
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "closed(0)");
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(close_while_the_peer_reads_nothing_waits_and_abort_ends_it)
{
    struct world world;
    struct link link;
    struct bytes sent = {0};

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    link.peer.is_deaf = true;
    bytes_fill(&sent, 8 << 20, 10);
    sockets_shrink(link.fd);
    require_equal(afn_stream_write(link.stream, sent.data, sent.length), 1);
    recorder_end(&link.recorder);
    pump_idle(&world);
    require_story(&link.recorder, "");
    recorder_abort(&link.recorder, -ETIMEDOUT);
    require_story(&link.recorder, "");
    require_equal(afn_stream_get_write_buffer_size(link.stream), 0);
    require(pump_is_ready(&world));
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_equal(link.recorder.error, -ETIMEDOUT);
    bytes_free(&sent);
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(close_while_flushing_tells_the_reset_of_the_peer)
{
    struct world world;
    struct link link;
    struct bytes sent = {0};

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    link.peer.is_deaf = true;
    bytes_fill(&sent, 8 << 20, 11);
    sockets_shrink(link.fd);
    require_equal(afn_stream_write(link.stream, sent.data, sent.length), 1);
    recorder_end(&link.recorder);
    pump_idle(&world);
    peer_reset(&link.peer);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require(link.recorder.error == -ECONNRESET || link.recorder.error == -EPIPE);
    bytes_free(&sent);
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(abort_is_told_by_the_next_dispatch_with_its_error)
{
    static const int errors[] = {0, -ECANCELED, AFN_ERR_ABORTED};

    for (size_t i = 0; i < COUNT_OF(errors); i++) {
        struct world world;
        struct link link;

        world_open(&world);
        link_open(&link, &world, (enum pair_kind)_i, NULL);
        recorder_abort(&link.recorder, errors[i]);
        recorder_abort(&link.recorder, -EIO);
        recorder_end(&link.recorder);
        require(afn_stream_is_closing(link.stream));
        require_equal(afn_stream_write(link.stream, "x", 1), -EPIPE);
        require_story(&link.recorder, "");
        require(pump_is_ready(&world));
        pump_dispatch(&world);
        require_equal(link.recorder.counts[EVENT_CLOSED], 1);
        require_equal(link.recorder.error, errors[i]);
        link_close(&link);
        world_close(&world);
    }
}
END_TEST

static void take_descriptor(struct recorder *recorder, enum event_kind kind)
{
    int *taken = recorder->hook_user;

    if (kind == EVENT_CLOSED) {
        *taken = afn_stream_take_fd(recorder->stream);
        require_equal(afn_stream_take_fd(recorder->stream), -EBADF);
        require_equal(afn_stream_get_fd(recorder->stream), -1);
    } else {
        require_equal(afn_stream_take_fd(recorder->stream), -EBUSY);
    }
}

START_TEST(descriptor_is_taken_inside_closed_only)
{
    struct world world;
    struct link link;
    int taken = -1;
    char byte;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    link.recorder.hook = take_descriptor;
    link.recorder.hook_user = &taken;
    require_equal(afn_stream_take_fd(link.stream), -EBUSY);
    peer_write_text(&link.peer, "x");
    pump_until(&world, link.recorder.data.length == 1);
    recorder_end(&link.recorder);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_equal(taken, link.fd);
    require_equal(afn_stream_take_fd(link.stream), -EBADF);
    link_close(&link);
    require(sockets_is_open(taken));
    /* The peer closed its end, and this one is whole. */
    require(recv(taken, &byte, 1, 0) == 0);
    close(taken);
    world_close(&world);
}
END_TEST

START_TEST(descriptor_that_was_not_taken_is_gone_after_closed)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    recorder_end(&link.recorder);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_equal(afn_stream_take_fd(link.stream), -EBADF);
    require_equal(afn_stream_get_fd(link.stream), -1);
    require(!sockets_is_open(link.fd));
    link_close(&link);
    world_close(&world);
}
END_TEST

/* T23: the number belongs to another stream by the time that the first one is let go. */
START_TEST(descriptor_number_that_was_used_again_is_not_touched)
{
    struct world world;
    struct link old, young;

    world_open(&world);
    link_open(&old, &world, (enum pair_kind)_i, NULL);
    recorder_abort(&old.recorder, 0);
    pump_until(&world, recorder_is_closed(&old.recorder));
    link_open(&young, &world, (enum pair_kind)_i, NULL);
    recorder_abort(&old.recorder, 0);
    require_equal(afn_stream_write(old.stream, "x", 1), -EPIPE);
    link_close(&old);
    world.peers[0] = &young.peer;
    world.peer_count = 1;
    peer_write_text(&young.peer, "hello");
    pump_until(&world, young.recorder.data.length == 5);
    link_close(&young);
    world_close(&world);
}
END_TEST

/* A descriptor that the program duplicated keeps the socket open, but wakes nobody. */
START_TEST(descriptor_that_was_duplicated_does_not_wake_the_reactor)
{
    struct world world;
    struct link link;
    int duplicate;

    world_open(&world);
    link_open(&link, &world, (enum pair_kind)_i, NULL);
    duplicate = dup(link.fd);
    recorder_unref(&link.recorder);
    link.stream = NULL;
    require(send(link.peer.fd, "x", 1, 0) == 1);
    require(!pump_is_ready(&world));
    pump_dispatch(&world);
    close(duplicate);
    link_close(&link);
    world_close(&world);
}
END_TEST

#define CHAIN 100

static void close_next(struct recorder *recorder, enum event_kind kind)
{
    struct link *next = recorder->hook_user;

    if (kind == EVENT_CLOSED && next != NULL)
        recorder_abort(&next->recorder, 0);
}

/* T45: each closed callback aborts the next stream; none is called from inside another. */
START_TEST(streams_that_abort_one_another_do_not_nest)
{
    struct world world;
    static struct link links[CHAIN];

    world_open(&world);
    for (size_t i = 0; i < CHAIN; i++)
        link_open(&links[i], &world, PAIR_UNIX, NULL);
    for (size_t i = 0; i + 1 < CHAIN; i++) {
        links[i].recorder.hook = close_next;
        links[i].recorder.hook_user = &links[i + 1];
    }
    recorder_abort(&links[0].recorder, 0);
    pump_until(&world, recorder_is_closed(&links[CHAIN - 1].recorder));
    for (size_t i = 0; i < CHAIN; i++) {
        require_story(&links[i].recorder, "closed(0)");
        link_close(&links[i]);
    }
    world_close(&world);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {stream_unref_takes_null, 1},
        {stream_that_is_dropped_is_gone_without_io_and_callbacks, PAIR_KINDS},
        {close_flushes_and_tells_closed_once, PAIR_KINDS},
        {close_and_unref_is_the_ordinary_way, PAIR_KINDS},
        {close_delivers_no_more_data, PAIR_KINDS},
        {close_of_a_paused_stream_ends_it, PAIR_KINDS},
        {close_while_the_peer_reads_nothing_waits_and_abort_ends_it, PAIR_KINDS},
        {close_while_flushing_tells_the_reset_of_the_peer, PAIR_KINDS},
        {abort_is_told_by_the_next_dispatch_with_its_error, PAIR_KINDS},
        {descriptor_is_taken_inside_closed_only, PAIR_KINDS},
        {descriptor_that_was_not_taken_is_gone_after_closed, PAIR_KINDS},
        {descriptor_number_that_was_used_again_is_not_touched, PAIR_KINDS},
        {descriptor_that_was_duplicated_does_not_wake_the_reactor, PAIR_KINDS},
        {streams_that_abort_one_another_do_not_nest, 1},
    };

    return harness_main("stream-close", cases, COUNT_OF(cases));
}
