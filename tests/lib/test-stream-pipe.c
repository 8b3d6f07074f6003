/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* Streams over pipes and FIFOs. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pipe2 */
#endif

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault-sys.h"
#include "harness.h"
#include "lane.h"

/* ---- reading ---- */

START_TEST(read_end_delivers_what_comes_and_then_the_end)
{
    struct lane lane;

    lane_open_pipe(&lane, true);
    require(afn_stream_is_reading(lane.stream));
    lane_write(&lane, "hello");
    pump_idle(&lane.world);
    require_content(&lane.recorder.data, "hello");
    lane_write(&lane, " world");
    lane_close_other(&lane);
    pump_until(&lane.world, recorder_is_closed(&lane.recorder));
    require_content(&lane.recorder.data, "hello world");
    require_story(&lane.recorder, "data(11) eof closed(0)");
    require(!sockets_is_open(lane.fd));
    lane_close(&lane);
}
END_TEST

START_TEST(read_end_does_not_stay_open_after_the_end)
{
    struct lane lane;

    lane_open_pipe(&lane, true);
    lane.recorder.keeps_open = true;
    lane_close_other(&lane);
    pump_until(&lane.world, recorder_is_closed(&lane.recorder));
    require_story(&lane.recorder, "eof closed(0)");
    lane_close(&lane);
}
END_TEST

START_TEST(read_end_is_paused_and_resumed)
{
    struct lane lane;

    lane_open_pipe(&lane, true);
    recorder_pause(&lane.recorder);
    lane_write(&lane, "later");
    lane_close_other(&lane);
    pump_idle(&lane.world);
    require_story(&lane.recorder, "");
    recorder_resume(&lane.recorder);
    pump_until(&lane.world, recorder_is_closed(&lane.recorder));
    require_story(&lane.recorder, "data(5) eof closed(0)");
    lane_close(&lane);
}
END_TEST

static void count_release(void *user)
{
    ++*(int *)user;
}

START_TEST(read_end_takes_no_writes)
{
    struct lane lane;
    int released = 0;

    lane_open_pipe(&lane, true);
    require_equal(afn_stream_write(lane.stream, "x", 1), -EPIPE);
    require_equal(afn_stream_write_ref(lane.stream, "x", 1, count_release, &released), -EPIPE);
    require_equal(released, 1);
    require_equal(afn_stream_write_eof(lane.stream), -EPIPE);
    require_equal(fault_sys_count(FAULT_SEND) + fault_sys_count(FAULT_SHUTDOWN), 0);
    require(!afn_stream_is_closing(lane.stream));
    lane_close(&lane);
}
END_TEST

/* Of packets one read takes one: a short read does not say that the pipe is empty. */
START_TEST(read_end_delivers_all_packets)
{
    struct lane lane;
    int fds[2];

    require(pipe2(fds, O_DIRECT | O_NONBLOCK) == 0);
    lane_open(&lane, fds[0], fds[1], 0);
    lane_write(&lane, "first");
    lane_write(&lane, "second");
    pump_until(&lane.world, lane.recorder.data.length == 11);
    require_content(&lane.recorder.data, "firstsecond");
    lane_close(&lane);
}
END_TEST

START_TEST(read_end_loses_nothing_whatever_a_read_brings)
{
    struct lane lane;
    struct bytes sent = {0};
    size_t done = 0;

    bytes_fill(&sent, 1000000, 3);
    lane_open_pipe(&lane, true);
    fault_sys_limit(FAULT_RECV, _i == 0 ? 0 : 4096);
    while (done < sent.length) {
        size_t length = sent.length - done < 7777 ? sent.length - done : 7777;
        ssize_t count = write(lane.other, sent.data + done, length);

        require(count >= 0 || errno == EAGAIN);
        if (count > 0)
            done += (size_t)count;
        pump_idle(&lane.world);
    }
    lane_close_other(&lane);
    pump_until(&lane.world, recorder_is_closed(&lane.recorder));
    require_same(&lane.recorder.data, &sent);
    bytes_free(&sent);
    lane_close(&lane);
}
END_TEST

START_TEST(fifo_waits_for_its_first_writer)
{
    char path[] = "/tmp/afn-test-XXXXXX";
    char name[64];
    struct lane lane;
    int fd;

    require(mkdtemp(path) != NULL);
    snprintf(name, sizeof name, "%s/fifo", path);
    require(mkfifo(name, 0600) == 0);
    fd = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    require(fd >= 0);
    lane_open(&lane, fd, -1, 0);
    pump_idle(&lane.world);
    require_story(&lane.recorder, "");
    lane.other = open(name, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    require(lane.other >= 0);
    require(unlink(name) == 0 && rmdir(path) == 0);
    lane_write(&lane, "here");
    lane_close_other(&lane);
    pump_until(&lane.world, recorder_is_closed(&lane.recorder));
    require_story(&lane.recorder, "data(4) eof closed(0)");
    lane_close(&lane);
}
END_TEST

/* ---- writing ---- */

START_TEST(write_end_flushes_and_closes)
{
    struct lane lane;
    struct bytes sent = {0}, received = {0};

    bytes_fill(&sent, 3000000, 4);
    lane_open_pipe(&lane, false);
    require(!afn_stream_is_reading(lane.stream));
    if (_i > 0)
        fault_sys_limit(FAULT_SEND, 5000);
    require_equal(afn_stream_write(lane.stream, sent.data, sent.length), 1);
    if (_i == 2)
        require_equal(afn_stream_write_eof(lane.stream), 0);
    else
        recorder_end(&lane.recorder);
    require(lane_read(&lane, &received, sent.length + 1));
    require_same(&received, &sent);
    require_equal(lane.recorder.error, 0);
    require(recorder_is_closed(&lane.recorder));
    require_equal(fault_sys_count(FAULT_SHUTDOWN), 0);
    bytes_free(&received);
    bytes_free(&sent);
    lane_close(&lane);
}
END_TEST

START_TEST(write_end_tells_writable)
{
    struct lane lane;
    struct bytes sent = {0}, received = {0};

    bytes_fill(&sent, 500000, 5);
    lane_open_pipe(&lane, false);
    require_equal(afn_stream_write(lane.stream, sent.data, sent.length), 1);
    require(!lane_read(&lane, &received, sent.length));
    require_same(&received, &sent);
    require_story(&lane.recorder, "writable");
    bytes_free(&received);
    bytes_free(&sent);
    lane_close(&lane);
}
END_TEST

START_TEST(write_end_takes_many_pieces)
{
    struct afn_buffer pieces[2000];
    struct bytes expected = {0}, received = {0};
    struct lane lane;

    lane_open_pipe(&lane, false);
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        pieces[i] = (struct afn_buffer){"abcdefghij" + i % 10, 10 - i % 10};
        bytes_append(&expected, pieces[i].data, pieces[i].length);
    }
    require_equal(afn_stream_writev(lane.stream, pieces, COUNT_OF(pieces)), 0);
    require(!lane_read(&lane, &received, expected.length));
    require_same(&received, &expected);
    bytes_free(&received);
    bytes_free(&expected);
    lane_close(&lane);
}
END_TEST

START_TEST(write_end_needs_no_functions_for_data)
{
    struct afn_stream_handler handler = {.size = sizeof handler};
    struct afn_stream *stream;
    struct world world;
    int fds[2];

    world_open(&world);
    require(pipe(fds) == 0);
    require_equal(afn_stream_new(world.reactor, fds[0], &handler, NULL, 0, &stream), -EINVAL);
    require_equal(afn_stream_new(world.reactor, fds[1], &handler, NULL, 0, &stream), 0);
    require_equal(afn_stream_set_handler(stream, &handler, NULL), 0);
    afn_stream_unref(stream);
    require_equal(afn_stream_new(world.reactor, fds[0], &recorder_handler, NULL, 0, &stream), 0);
    require_equal(afn_stream_set_handler(stream, &handler, NULL), -EINVAL);
    afn_stream_unref(stream);
    world_close(&world);
}
END_TEST

START_TEST(reader_that_leaves_closes_the_write_end)
{
    struct lane lane;

    lane_open_pipe(&lane, false);
    require_equal(afn_stream_write(lane.stream, "taken", 5), 0);
    lane_close_other(&lane);
    pump_until(&lane.world, recorder_is_closed(&lane.recorder));
    require_story(&lane.recorder, "closed(0)");
    require(!sockets_is_open(lane.fd));
    lane_close(&lane);
}
END_TEST

START_TEST(reader_that_leaves_while_bytes_wait_is_an_error)
{
    struct lane lane;
    struct bytes sent = {0};

    bytes_fill(&sent, 500000, 6);
    lane_open_pipe(&lane, false);
    require_equal(afn_stream_write(lane.stream, sent.data, sent.length), 1);
    if (_i == 1)
        recorder_end(&lane.recorder);
    pump_idle(&lane.world);
    lane_close_other(&lane);
    pump_until(&lane.world, recorder_is_closed(&lane.recorder));
    require_equal(lane.recorder.error, -EPIPE);
    require_equal(lane.recorder.counts[EVENT_CLOSED], 1);
    bytes_free(&sent);
    lane_close(&lane);
}
END_TEST

/* ---- T42: SIGPIPE ---- */

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
    (void)number;
    signals++;
}

static void block_sigpipe(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    require(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
}

/* For the next test, where tests share a process. */
static void restore_sigpipe(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    signal(SIGPIPE, SIG_IGN); /* also forgets one that is pending */
    require(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0);
    signal(SIGPIPE, SIG_DFL);
}

static bool is_sigpipe_in(int (*get)(sigset_t *set))
{
    sigset_t set;

    require(get(&set) == 0);
    return sigismember(&set, SIGPIPE) == 1;
}

static int get_mask(sigset_t *set)
{
    return sigprocmask(SIG_BLOCK, NULL, set);
}

/* The signal as the system has it, caught, ignored, blocked, and blocked and pending already. */
enum { SIGPIPE_DEFAULT, SIGPIPE_CAUGHT, SIGPIPE_IGNORED, SIGPIPE_BLOCKED, SIGPIPE_PENDING, WAYS };

START_TEST(write_to_nobody_raises_no_signal)
{
    struct lane lane;

    signals = 0;
    lane_open_pipe(&lane, false);
    if (_i == SIGPIPE_CAUGHT || _i == SIGPIPE_PENDING)
        signal(SIGPIPE, count_signal);
    if (_i == SIGPIPE_IGNORED)
        signal(SIGPIPE, SIG_IGN);
    if (_i == SIGPIPE_BLOCKED || _i == SIGPIPE_PENDING)
        block_sigpipe();
    if (_i == SIGPIPE_PENDING)
        require(raise(SIGPIPE) == 0);
    lane_close_other(&lane);
    require_equal(afn_stream_write(lane.stream, "lost", 4), 0);
    require(afn_stream_is_closing(lane.stream));
    pump_until(&lane.world, recorder_is_closed(&lane.recorder));
    require_story(&lane.recorder, "closed(-32)");
    require_equal(-EPIPE, -32);
    require_equal(signals, 0);
    require_equal(is_sigpipe_in(get_mask), _i == SIGPIPE_BLOCKED || _i == SIGPIPE_PENDING);
    require_equal(is_sigpipe_in(sigpending), _i == SIGPIPE_PENDING);
    restore_sigpipe();
    lane_close(&lane);
}
END_TEST

START_TEST(write_that_succeeds_leaves_signals_alone)
{
    struct lane lane;

    lane_open_pipe(&lane, false);
    if (_i == 1) {
        signal(SIGPIPE, count_signal);
        block_sigpipe();
        require(raise(SIGPIPE) == 0);
    }
    require_equal(afn_stream_write(lane.stream, "x", 1), 0);
    require_equal(is_sigpipe_in(get_mask), _i == 1);
    require_equal(is_sigpipe_in(sigpending), _i == 1);
    restore_sigpipe();
    lane_close(&lane);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {read_end_delivers_what_comes_and_then_the_end, 1},
        {read_end_does_not_stay_open_after_the_end, 1},
        {read_end_is_paused_and_resumed, 1},
        {read_end_takes_no_writes, 1},
        {read_end_delivers_all_packets, 1},
        {read_end_loses_nothing_whatever_a_read_brings, 2},
        {fifo_waits_for_its_first_writer, 1},
        {write_end_flushes_and_closes, 3},
        {write_end_tells_writable, 1},
        {write_end_takes_many_pieces, 1},
        {write_end_needs_no_functions_for_data, 1},
        {reader_that_leaves_closes_the_write_end, 1},
        {reader_that_leaves_while_bytes_wait_is_an_error, 2},
        {write_to_nobody_raises_no_signal, WAYS},
        {write_that_succeeds_leaves_signals_alone, 2},
    };

    return harness_main("stream-pipe", cases, COUNT_OF(cases));
}
