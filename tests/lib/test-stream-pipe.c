/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* Streams over pipes, FIFOs, terminals and other devices, and streams of one direction. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pipe2, posix_openpt */
#endif

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "certificate.h"
#include "fault-alloc.h"
#include "fault-sys.h"
#include "harness.h"
#include "world.h"

/* One stream, and the other end as a descriptor of the test. */
struct lane {
    struct world world;
    struct recorder recorder;
    struct afn_stream *stream;
    int fd;    /* the stream's */
    int other; /* non-blocking; -1 once closed */
};

/* Takes both descriptors; other may be -1. */
static void lane_open(struct lane *lane, int fd, int other, unsigned int flags)
{
    *lane = (struct lane){.fd = fd, .other = other};
    world_open(&lane->world);
    require_equal(afn_stream_new(lane->world.reactor, fd, &recorder_handler, &lane->recorder, flags,
                                 &lane->stream),
                  0);
    recorder_open(&lane->recorder, lane->stream);
}

static void lane_open_pipe(struct lane *lane, bool is_reader)
{
    int fds[2];

    require(pipe(fds) == 0);
    require(fcntl(fds[is_reader ? 1 : 0], F_SETFL, O_NONBLOCK) == 0);
    lane_open(lane, fds[is_reader ? 0 : 1], fds[is_reader ? 1 : 0], 0);
}

static void close_other(struct lane *lane)
{
    if (lane->other >= 0)
        close(lane->other);
    lane->other = -1;
}

static void lane_close(struct lane *lane)
{
    close_other(lane);
    require(afn_stream_unref(lane->stream) == NULL);
    recorder_close(&lane->recorder);
    world_close(&lane->world);
}

/* Reads at the other end until so many bytes are there, or the end, which it returns. */
static bool read_other(struct lane *lane, struct bytes *target, size_t length)
{
    char buffer[65536];
    ssize_t count = 1;

    while (target->length < length && count != 0) {
        count = read(lane->other, buffer, sizeof buffer);
        require(count >= 0 || errno == EAGAIN);
        if (count > 0)
            bytes_append(target, buffer, (size_t)count);
        pump_idle(&lane->world);
    }
    return count == 0;
}

static void write_other(struct lane *lane, const char *text)
{
    require_equal(write(lane->other, text, strlen(text)), strlen(text));
}

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

/* ---- reading ---- */

START_TEST(read_end_delivers_what_comes_and_then_the_end)
{
    struct lane lane;

    lane_open_pipe(&lane, true);
    require(afn_stream_is_reading(lane.stream));
    write_other(&lane, "hello");
    pump_idle(&lane.world);
    require_content(&lane.recorder.data, "hello");
    write_other(&lane, " world");
    close_other(&lane);
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
    close_other(&lane);
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
    write_other(&lane, "later");
    close_other(&lane);
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
    write_other(&lane, "first");
    write_other(&lane, "second");
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
    close_other(&lane);
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
    write_other(&lane, "here");
    close_other(&lane);
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
    require(read_other(&lane, &received, sent.length + 1));
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
    require(!read_other(&lane, &received, sent.length));
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
    require(!read_other(&lane, &received, expected.length));
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
    close_other(&lane);
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
    close_other(&lane);
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
    close_other(&lane);
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
    require(!read_other(&lane, &received, 8));
    require_content(&received, "question");
    write_other(&lane, "answer");
    pump_until(&lane.world, lane.recorder.data.length == 6);
    require_content(&lane.recorder.data, "answer");
    require_equal(afn_stream_write_eof(lane.stream), -EOPNOTSUPP);
    require_equal(afn_stream_write(lane.stream, "more", 4), 0);
    close_other(&lane);
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
    close_other(&lane);
    pump_idle(&lane.world);
    require_story(&lane.recorder, "");
    lane.other = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    require(lane.other >= 0);
    require_equal(afn_stream_write(lane.stream, "line\n", 5), 0);
    require(!read_other(&lane, &received, 5));
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
    require(!read_other(&lane, &received, 3));
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

    return harness_main("stream-pipe", cases, COUNT_OF(cases));
}
