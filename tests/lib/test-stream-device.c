/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* Streams over terminals and other devices, streams of one direction, and what is refused. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* posix_openpt */
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "certificate.h"
#include "fault-alloc.h"
#include "fault-sys.h"
#include "harness.h"
#include "lane.h"

static void make_pty(int *ret_master, int *ret_slave)
{
    struct termios settings;

    *ret_master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    require(*ret_master >= 0);
    require(grantpt(*ret_master) == 0 && unlockpt(*ret_master) == 0);
    *ret_slave = open(ptsname(*ret_master), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    require(*ret_slave >= 0);
    require(tcgetattr(*ret_slave, &settings) == 0);
    cfmakeraw(&settings);
    require(tcsetattr(*ret_slave, TCSANOW, &settings) == 0);
}

/* ---- sockets of one direction ---- */

START_TEST(write_only_socket_ignores_data_and_sees_the_end)
{
    struct lane lane;
    int fds[2];

    sockets_make_pair((enum pair_kind)_i, fds);
    lane_open(&lane, fds[0], fds[1], AFN_STREAM_WRITE_ONLY);
    require(!afn_stream_is_reading(lane.stream));
    require_equal(send(lane.other, "unread", 6, 0), 6);
    pump_idle(&lane.world);
    require_story(&lane.recorder, "");
    require_equal(fault_sys_count(FAULT_RECV), 0);
    require_equal(afn_stream_write(lane.stream, "x", 1), 0);
    require(shutdown(lane.other, SHUT_WR) == 0);
    pump_until(&lane.world, recorder_is_closed(&lane.recorder));
    require_story(&lane.recorder, "closed(0)");
    lane_close(&lane);
}
END_TEST

START_TEST(read_only_socket_delivers_and_closes)
{
    struct lane lane;
    int fds[2];

    sockets_make_pair((enum pair_kind)_i, fds);
    lane_open(&lane, fds[0], fds[1], AFN_STREAM_READ_ONLY);
    lane.recorder.keeps_open = true;
    require_equal(afn_stream_write(lane.stream, "x", 1), -EPIPE);
    require_equal(send(lane.other, "data", 4, 0), 4);
    require(shutdown(lane.other, SHUT_WR) == 0);
    pump_until(&lane.world, recorder_is_closed(&lane.recorder));
    require_story(&lane.recorder, "data(4) eof closed(0)");
    lane_close(&lane);
}
END_TEST

START_TEST(one_direction_takes_no_engine)
{
    SSL *ssl = certificate_make_ssl(TLS1_3_VERSION, 0);
    struct lane lane;

    lane_open_pipe(&lane, _i == 0);
    require_equal(afn_stream_start_tls(lane.stream, ssl, NULL), -EINVAL);
    SSL_free(ssl);
    lane_close(&lane);
}
END_TEST

/* ---- terminals and devices ---- */

START_TEST(terminal_carries_both_ways)
{
    struct lane lane;
    struct bytes received = {0};
    int master, slave;

    make_pty(&master, &slave);
    lane_open(&lane, master, slave, 0);
    require_equal(afn_stream_write(lane.stream, "question", 8), 0);
    require(!lane_read(&lane, &received, 8));
    require_content(&received, "question");
    lane_write(&lane, "answer");
    pump_until(&lane.world, lane.recorder.data.length == 6);
    require_content(&lane.recorder.data, "answer");
    require_equal(afn_stream_write_eof(lane.stream), -EOPNOTSUPP);
    require_equal(afn_stream_write(lane.stream, "more", 4), 0);
    lane_close_other(&lane);
    pump_until(&lane.world, recorder_is_closed(&lane.recorder));
    require_equal(lane.recorder.error, -EIO);
    bytes_free(&received);
    lane_close(&lane);
}
END_TEST

START_TEST(terminal_that_is_only_written_may_be_opened_again)
{
    struct lane lane;
    struct bytes received = {0};
    char name[64];
    int master, slave;

    make_pty(&master, &slave);
    snprintf(name, sizeof name, "%s", ptsname(master));
    lane_open(&lane, master, slave, AFN_STREAM_WRITE_ONLY);
    lane_close_other(&lane);
    pump_idle(&lane.world);
    require_story(&lane.recorder, "");
    lane.other = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    require(lane.other >= 0);
    require_equal(afn_stream_write(lane.stream, "line\n", 5), 0);
    require(!lane_read(&lane, &received, 5));
    require_content(&received, "line\n");
    bytes_free(&received);
    lane_close(&lane);
}
END_TEST

START_TEST(device_that_is_always_ready_is_written)
{
    struct lane lane;
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

    require(fd >= 0);
    lane_open(&lane, fd, -1, 0);
    require_equal(afn_stream_write(lane.stream, "nowhere", 7), 0);
    require_equal(afn_stream_get_write_buffer_size(lane.stream), 0);
    require_equal(afn_stream_write_eof(lane.stream), 0);
    pump_until(&lane.world, recorder_is_closed(&lane.recorder));
    require_story(&lane.recorder, "closed(0)");
    lane_close(&lane);
}
END_TEST

START_TEST(device_that_is_always_ready_is_read)
{
    struct lane lane;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    require(fd >= 0);
    lane_open(&lane, fd, -1, _i == 1 ? AFN_STREAM_PAUSED : 0);
    if (_i == 1) {
        pump_idle(&lane.world);
        require_story(&lane.recorder, "");
        recorder_resume(&lane.recorder);
    }
    pump_until(&lane.world, recorder_is_closed(&lane.recorder));
    require_story(&lane.recorder, "eof closed(0)");
    lane_close(&lane);
}
END_TEST

static void pause_after_much(struct recorder *recorder, enum event_kind kind)
{
    if (kind == EVENT_DATA && recorder->data.length > 3000000)
        recorder_pause(recorder);
}

START_TEST(device_without_an_end_does_not_take_the_whole_dispatch)
{
    struct lane lane;
    int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

    require(fd >= 0);
    lane_open(&lane, fd, -1, 0);
    lane.recorder.hook = pause_after_much;
    pump_idle(&lane.world);
    require(lane.recorder.data.length > 3000000);
    require(lane.world.dispatches > 1);
    for (size_t i = 0; i < lane.recorder.data.length; i++)
        require(lane.recorder.data.data[i] == 0);
    lane_close(&lane);
}
END_TEST

/* ---- what is refused ---- */

START_TEST(files_without_events_are_refused)
{
    struct afn_stream *stream = NULL;
    struct world world;
    int fds[3];

    world_open(&world);
    fds[0] = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    fds[1] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fds[2] = eventfd(0, EFD_CLOEXEC);
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        require(fds[i] >= 0);
        require_equal(afn_stream_new(world.reactor, fds[i], &recorder_handler, NULL, 0, &stream),
                      -EPERM);
        require(sockets_is_open(fds[i]));
        require((fcntl(fds[i], F_GETFL) & O_NONBLOCK) == 0);
        close(fds[i]);
    }
    require_equal(afn_stream_new(world.reactor, fds[0], &recorder_handler, NULL, 0, &stream),
                  -EBADF);
    require(stream == NULL);
    world_close(&world);
}
END_TEST

START_TEST(direction_must_be_one_that_the_descriptor_has)
{
    struct afn_stream *stream = NULL;
    struct world world;
    int fds[2], pair[2];

    world_open(&world);
    require(pipe(fds) == 0);
    sockets_make_pair(PAIR_UNIX, pair);
    require_equal(afn_stream_new(world.reactor, fds[0], &recorder_handler, NULL,
                                 AFN_STREAM_WRITE_ONLY, &stream),
                  -EINVAL);
    require_equal(afn_stream_new(world.reactor, fds[1], &recorder_handler, NULL,
                                 AFN_STREAM_READ_ONLY, &stream),
                  -EINVAL);
    require_equal(afn_stream_new(world.reactor, pair[0], &recorder_handler, NULL,
                                 AFN_STREAM_READ_ONLY | AFN_STREAM_WRITE_ONLY, &stream),
                  -EINVAL);
    require_equal(afn_stream_new(world.reactor, pair[0], &recorder_handler, NULL, 1u << 30,
                                 &stream),
                  -EINVAL);
    require(stream == NULL);
    for (size_t i = 0; i < 2; i++) {
        close(fds[i]);
        close(pair[i]);
    }
    world_close(&world);
}
END_TEST

START_TEST(pipe_that_cannot_be_taken_is_left_alone)
{
    static const struct {
        enum fault_call call;
        int error;
    } faults[] = {
        {FAULT_GET_KIND, -EBADF},
        {FAULT_GET_FILE_KIND, -EBADF},
        {FAULT_GET_ACCESS, -EBADF},
        {FAULT_SET_NONBLOCKING, -EBADF},
        {FAULT_EPOLL_ADD, -ENOSPC},
        {FAULT_EPOLL_ADD, -EPERM},
    };
    struct afn_stream *stream = NULL;
    struct world world;
    int fds[2];

    world_open(&world);
    require(pipe(fds) == 0);
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        fault_sys_fail(faults[i].call, 0, 1, faults[i].error);
        require_equal(afn_stream_new(world.reactor, fds[0], &recorder_handler, NULL, 0, &stream),
                      faults[i].error);
    }
    fault_alloc_arm(1, false);
    require_equal(afn_stream_new(world.reactor, fds[0], &recorder_handler, NULL, 0, &stream),
                  -ENOMEM);
    require(fault_alloc_disarm());
    require(stream == NULL);
    require(sockets_is_open(fds[0]));
    close(fds[0]);
    close(fds[1]);
    world_close(&world);
}
END_TEST

/* ---- whose descriptor it is ---- */

START_TEST(borrowed_descriptor_stays_open)
{
    struct lane lane;
    struct bytes received = {0};
    int fds[2];

    require(pipe(fds) == 0);
    lane_open(&lane, fds[1], fds[0], AFN_STREAM_BORROWED);
    require_equal(afn_stream_get_fd(lane.stream), fds[1]);
    require_equal(afn_stream_write(lane.stream, "bye", 3), 0);
    if (_i == 1) {
        recorder_end(&lane.recorder);
        pump_until(&lane.world, recorder_is_closed(&lane.recorder));
        require_equal(afn_stream_get_fd(lane.stream), -1);
        require_equal(afn_stream_take_fd(lane.stream), -EBADF);
    } else if (_i == 2) {
        recorder_abort(&lane.recorder, 0);
        pump_until(&lane.world, recorder_is_closed(&lane.recorder));
    }
    require(!lane_read(&lane, &received, 3));
    require_content(&received, "bye");
    lane_close(&lane);
    require(sockets_is_open(fds[1]));
    require_equal(fault_sys_count(FAULT_CLOSE), 3); /* of the reactor */
    close(fds[1]);
    bytes_free(&received);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {write_only_socket_ignores_data_and_sees_the_end, PAIR_KINDS},
        {read_only_socket_delivers_and_closes, PAIR_KINDS},
        {one_direction_takes_no_engine, 2},
        {terminal_carries_both_ways, 1},
        {terminal_that_is_only_written_may_be_opened_again, 1},
        {device_that_is_always_ready_is_written, 1},
        {device_that_is_always_ready_is_read, 2},
        {device_without_an_end_does_not_take_the_whole_dispatch, 1},
        {files_without_events_are_refused, 1},
        {direction_must_be_one_that_the_descriptor_has, 1},
        {pipe_that_cannot_be_taken_is_left_alone, 1},
        {borrowed_descriptor_stays_open, 3},
    };

    return harness_main("stream-device", cases, COUNT_OF(cases));
}
