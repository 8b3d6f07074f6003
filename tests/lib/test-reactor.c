/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check, pthread. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault-alloc.h"
#include "fault-sys.h"
#include "harness.h"
#include "world.h"

START_TEST(reactor_has_a_descriptor_and_nothing_to_do)
{
    struct world world;

    world_open(&world);
    require(afn_reactor_get_fd(world.reactor) >= 0);
    require(!pump_is_ready(&world));
    require_equal(pump_dispatch(&world), 0);
    require(!pump_is_ready(&world));
    world_close(&world);
}
END_TEST

START_TEST(reactor_unref_takes_null)
{
    require(afn_reactor_unref(NULL) == NULL);
}
END_TEST

START_TEST(reactor_lives_as_long_as_a_reference)
{
    struct world world;

    world_open(&world);
    require(afn_reactor_ref(world.reactor) == world.reactor);
    require(afn_reactor_unref(world.reactor) == NULL);
    require_equal(pump_dispatch(&world), 0);
    world_close(&world);
}
END_TEST

START_TEST(reactor_is_kept_by_its_streams)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, NULL);
    require(afn_reactor_unref(world.reactor) == NULL);
    peer_write_text(&link.peer, "hello");
    pump_until(&world, link.recorder.data.length == 5);
    link_close(&link);
}
END_TEST

START_TEST(reactor_descriptor_is_readable_only_while_a_socket_is_ready)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, NULL);
    pump_idle(&world);
    require(!pump_is_ready(&world));
    require(write(link.peer.fd, "x", 1) == 1);
    require(pump_is_ready(&world));
    require(pump_dispatch(&world) > 0);
    require_story(&link.recorder, "data(1)");
    pump_idle(&world);
    require(!pump_is_ready(&world));
    link_close(&link);
    require(!pump_is_ready(&world));
    world_close(&world);
}
END_TEST

START_TEST(reactor_wakeup_makes_the_descriptor_readable_once)
{
    struct world world;

    world_open(&world);
    require_equal(afn_reactor_wakeup(world.reactor), 0);
    require_equal(afn_reactor_wakeup(world.reactor), 0);
    require(pump_is_ready(&world));
    pump_dispatch(&world);
    require(!pump_is_ready(&world));
    world_close(&world);
}
END_TEST

static void *wake_from_thread(void *reactor)
{
    return afn_reactor_wakeup(reactor) == 0 ? reactor : NULL;
}

START_TEST(reactor_is_woken_by_another_thread)
{
    struct world world;
    pthread_t thread;
    void *result;

    world_open(&world);
    require(pthread_create(&thread, NULL, wake_from_thread, world.reactor) == 0);
    pump_wait(&world);
    require(pthread_join(thread, &result) == 0);
    require(result == world.reactor);
    world_close(&world);
}
END_TEST

static void dispatch_again(struct recorder *recorder, enum event_kind kind)
{
    struct afn_reactor *reactor = recorder->hook_user;

    (void)kind;
    require_equal(afn_reactor_dispatch(reactor), -EBUSY);
    require_equal(afn_reactor_run(reactor), -EBUSY);
}

START_TEST(reactor_refuses_to_dispatch_inside_a_callback)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, NULL);
    link.recorder.hook = dispatch_again;
    link.recorder.hook_user = world.reactor;
    peer_write_text(&link.peer, "hello");
    link.peer.ends = true;
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "data(5) eof closed(0)");
    link_close(&link);
    world_close(&world);
}
END_TEST

static void stop_reactor(struct recorder *recorder, enum event_kind kind)
{
    (void)kind;
    afn_reactor_stop(recorder->hook_user);
}

START_TEST(reactor_run_ends_when_a_callback_stops_it)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, NULL);
    link.recorder.hook = stop_reactor;
    link.recorder.hook_user = world.reactor;
    for (int i = 0; i < 2; i++) {
        require(write(link.peer.fd, "x", 1) == 1);
        recorder_is_dispatching = true;
        require_equal(afn_reactor_run(world.reactor), 0);
        recorder_is_dispatching = false;
        require_equal(link.recorder.counts[EVENT_DATA], i + 1);
    }
    link_close(&link);
    world_close(&world);
}
END_TEST

static struct afn_reactor *signalled_reactor;

static void stop_from_signal(int number)
{
    (void)number;
    afn_reactor_stop(signalled_reactor);
    afn_reactor_wakeup(signalled_reactor);
}

static void raise_signal(struct recorder *recorder, enum event_kind kind)
{
    (void)recorder;
    (void)kind;
    raise(SIGUSR1);
}

START_TEST(reactor_run_ends_when_a_signal_handler_stops_it)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, NULL);
    signalled_reactor = world.reactor;
    signal(SIGUSR1, stop_from_signal);
    link.recorder.hook = raise_signal;
    require(write(link.peer.fd, "x", 1) == 1);
    recorder_is_dispatching = true;
    require_equal(afn_reactor_run(world.reactor), 0);
    recorder_is_dispatching = false;
    signal(SIGUSR1, SIG_DFL);
    link_close(&link);
    world_close(&world);
}
END_TEST

static void *stop_from_thread(void *reactor)
{
    afn_reactor_stop(reactor);
    afn_reactor_wakeup(reactor);
    return NULL;
}

START_TEST(reactor_run_ends_when_it_was_stopped_before)
{
    struct world world;

    world_open(&world);
    stop_from_thread(world.reactor);
    require_equal(afn_reactor_run(world.reactor), 0);
    world_close(&world);
}
END_TEST

START_TEST(reactor_that_is_stopped_leaves_the_rest_for_the_next_dispatch)
{
    struct world world;
    struct link links[20];
    size_t served = 0;
    size_t rounds = 0;

    world_open(&world);
    for (size_t i = 0; i < COUNT_OF(links); i++) {
        link_open(&links[i], &world, PAIR_UNIX, NULL);
        links[i].recorder.hook = stop_reactor;
        links[i].recorder.hook_user = world.reactor;
        require(write(links[i].peer.fd, "x", 1) == 1);
    }
    while (served < COUNT_OF(links)) {
        require(pump_is_ready(&world));
        pump_dispatch(&world);
        served = 0;
        for (size_t i = 0; i < COUNT_OF(links); i++)
            served += links[i].recorder.data.length;
        require_equal(served, ++rounds);
    }
    for (size_t i = 0; i < COUNT_OF(links); i++) {
        require_story(&links[i].recorder, "data(1)");
        link_close(&links[i]);
    }
    world_close(&world);
}
END_TEST

START_TEST(reactor_that_is_stopped_calls_nobody_any_more)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, &recorder_buffered_handler);
    link.recorder.buffer_size = 2;
    link.recorder.hook = stop_reactor;
    link.recorder.hook_user = world.reactor;
    require(write(link.peer.fd, "123456", 6) == 6);
    require(shutdown(link.peer.fd, SHUT_WR) == 0);
    /* Three times data, the end, and closed: one callback a dispatch. */
    for (size_t i = 1; i <= 5; i++) {
        size_t total = 0;

        require(pump_is_ready(&world));
        pump_dispatch(&world);
        for (enum event_kind kind = EVENT_DATA; kind <= EVENT_CLOSED; kind++)
            total += link.recorder.counts[kind];
        require_equal(total, i);
    }
    require_story(&link.recorder, "data(6) eof closed(0)");
    link_close(&link);
    world_close(&world);
}
END_TEST

struct stopper {
    struct afn_reactor *reactor;
    size_t calls;
};

static void stop_when_done(struct afn_connect *connect, void *user, int fd_or_error)
{
    struct stopper *stopper = user;

    (void)connect;
    require_equal(fd_or_error, -ETIMEDOUT);
    stopper->calls++;
    afn_reactor_stop(stopper->reactor);
}

START_TEST(reactor_that_is_stopped_by_a_timer_leaves_the_other_timers)
{
    struct world world;
    struct stopper stopper = {.calls = 0};
    struct afn_connect *connects[3];
    struct sockaddr_in address;
    int listener = sockets_listen(&address);
    int fillers[2];

    /* Nobody accepts and the queue is full: these wait for their time limits. */
    require(listen(listener, 0) == 0);
    for (size_t i = 0; i < COUNT_OF(fillers); i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        connect(fillers[i], (struct sockaddr *)&address, sizeof address);
    }
    world_open(&world);
    stopper.reactor = world.reactor;
    for (size_t i = 0; i < COUNT_OF(connects); i++)
        require_equal(afn_connect_new(world.reactor, (struct sockaddr *)&address, sizeof address,
                                      NULL, 0, SECOND, stop_when_done, &stopper, &connects[i]),
                      0);
    fault_sys_advance_clock(2 * SECOND);
    for (size_t i = 1; i <= COUNT_OF(connects); i++) {
        require(pump_is_ready(&world));
        pump_dispatch(&world);
        require_equal(stopper.calls, i);
    }
    for (size_t i = 0; i < COUNT_OF(connects); i++)
        afn_connect_unref(connects[i]);
    for (size_t i = 0; i < COUNT_OF(fillers); i++)
        close(fillers[i]);
    close(listener);
    world_close(&world);
}
END_TEST

static bool is_busy(void *user)
{
    unsigned int *calls = user;

    ++*calls;
    return true;
}

/* The peer's bytes arrive during the callback, as those of a fast ping-pong do. */
static void write_to_itself(struct recorder *recorder, enum event_kind kind)
{
    const struct link *link = recorder->hook_user;

    if (kind == EVENT_DATA)
        require(write(link->peer.fd, "y", 1) == 1);
}

START_TEST(reactor_asks_the_kernel_no_more_often_than_allowed)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, NULL);
    link.recorder.hook = write_to_itself;
    link.recorder.hook_user = &link;
    require_equal(afn_reactor_set_busy_check(world.reactor, 0, NULL, NULL), -EINVAL);
    require_equal(afn_reactor_set_busy_check(world.reactor, 1, NULL, NULL), 0);
    require(write(link.peer.fd, "x", 1) == 1);
    fault_sys_clear_counts();
    pump_dispatch(&world);
    require_equal(fault_sys_count(FAULT_EPOLL_WAIT), 1);
    link.recorder.hook = NULL;
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(reactor_ends_its_rounds_when_the_host_is_busy)
{
    struct world world;
    struct link link;
    unsigned int calls = 0;

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, NULL);
    link.recorder.hook = write_to_itself;
    link.recorder.hook_user = &link;
    require_equal(afn_reactor_set_busy_check(world.reactor, 100, is_busy, &calls), 0);
    require(write(link.peer.fd, "x", 1) == 1);
    fault_sys_clear_counts();
    pump_dispatch(&world);
    require_equal(fault_sys_count(FAULT_EPOLL_WAIT), 1);
    require_equal(calls, 1);
    link.recorder.hook = NULL;
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(reactor_returns_from_dispatch_although_work_never_ends)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, NULL);
    link.recorder.hook = write_to_itself;
    link.recorder.hook_user = &link;
    require(write(link.peer.fd, "x", 1) == 1);
    for (int i = 0; i < 5; i++) {
        require(pump_is_ready(&world));
        require(pump_dispatch(&world) > 0);
    }
    link.recorder.hook = NULL;
    link_close(&link);
    world_close(&world);
}
END_TEST

/* Lets the reactor find that one stream alone has something each time, and no more at once. */
static void settle_on(struct world *world, struct link *link)
{
    for (size_t i = 0; i < 10; i++) {
        require(write(link->peer.fd, "x", 1) == 1);
        pump_until(world, link->recorder.counts[EVENT_DATA] == i + 1);
    }
    fault_sys_clear_counts();
}

START_TEST(reactor_asks_a_lone_stream_instead_of_the_kernel)
{
    struct world world;
    struct link link;

    world_open(&world);
    fault_sys_freeze_clock();
    link_open(&link, &world, _i, NULL);
    settle_on(&world, &link);
    require(write(link.peer.fd, "y", 1) == 1);
    pump_wait(&world);
    require_equal(fault_sys_count(FAULT_EPOLL_WAIT), 0);
    require_equal(fault_sys_count(FAULT_RECV), 1);
    require_equal(link.recorder.counts[EVENT_DATA], 11);
    require(!pump_is_ready(&world));
    /* Not for longer than a dispatch may take. */
    fault_sys_advance_clock(SECOND);
    require(write(link.peer.fd, "z", 1) == 1);
    pump_wait(&world);
    require_equal(fault_sys_count(FAULT_EPOLL_WAIT), 1);
    require_equal(link.recorder.counts[EVENT_DATA], 12);
    shutdown(link.peer.fd, SHUT_WR);
    pump_until(&world, link.recorder.counts[EVENT_EOF] == 1);
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(reactor_asks_the_kernel_about_a_lone_stream_that_has_ended)
{
    struct world world;
    struct link link;
    struct afn_stream *stream;
    char data[65536] = {0};
    int small = 1;

    world_open(&world);
    fault_sys_freeze_clock();
    link_open(&link, &world, PAIR_UNIX, NULL);
    stream = link.stream;
    link.recorder.keeps_open = true;
    settle_on(&world, &link);
    require(shutdown(link.peer.fd, SHUT_WR) == 0);
    pump_until(&world, link.recorder.counts[EVENT_EOF] == 1);
    link.peer.is_deaf = true;
    require(setsockopt(link.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
    for (int i = 0; i < 16; i++)
        require(afn_stream_write(stream, data, sizeof(data)) >= 0);
    pump_idle(&world);
    require(afn_stream_get_write_buffer_size(stream) > 0);
    for (size_t queued = afn_stream_get_write_buffer_size(stream); queued;
         queued = afn_stream_get_write_buffer_size(stream)) {
        while (recv(link.peer.fd, data, sizeof(data), MSG_DONTWAIT) > 0)
            ;
        require(pump_is_ready(&world));
        pump_dispatch(&world);
        require(afn_stream_get_write_buffer_size(stream) < queued);
    }
    link_close(&link);
    world_close(&world);
}
END_TEST

START_TEST(reactor_serves_another_stream_although_it_knew_a_lone_one)
{
    struct world world;
    struct link lone, other;

    world_open(&world);
    fault_sys_freeze_clock();
    link_open(&lone, &world, PAIR_UNIX, NULL);
    link_open(&other, &world, PAIR_UNIX, NULL);
    settle_on(&world, &lone);
    require(write(other.peer.fd, "o", 1) == 1);
    if (_i)
        require(write(lone.peer.fd, "l", 1) == 1);
    for (int dispatches = 0; !other.recorder.counts[EVENT_DATA]; dispatches++) {
        require(dispatches < 2);
        require(pump_is_ready(&world));
        pump_dispatch(&world);
    }
    require_equal(lone.recorder.counts[EVENT_DATA], 10 + _i);
    require(!pump_is_ready(&world));
    link_close(&other);
    link_close(&lone);
    world_close(&world);
}
END_TEST

START_TEST(reactor_forgets_a_lone_stream_that_is_gone)
{
    struct world world;
    struct link lone, other;

    world_open(&world);
    fault_sys_freeze_clock();
    link_open(&lone, &world, PAIR_UNIX, NULL);
    settle_on(&world, &lone);
    link_close(&lone);
    link_open(&other, &world, PAIR_UNIX, NULL);
    require(write(other.peer.fd, "o", 1) == 1);
    fault_sys_clear_counts();
    pump_wait(&world);
    require(fault_sys_count(FAULT_EPOLL_WAIT) > 0);
    require_equal(other.recorder.counts[EVENT_DATA], 1);
    link_close(&other);
    world_close(&world);
}
END_TEST

START_TEST(reactor_that_cannot_be_made_leaves_nothing)
{
    static const struct {
        enum fault_call call;
        int error;
    } faults[] = {
        {FAULT_EPOLL_CREATE, -EMFILE}, {FAULT_EVENTFD, -ENFILE},   {FAULT_TIMERFD, -EMFILE},
        {FAULT_EPOLL_ADD, -ENOMEM},    {FAULT_EPOLL_ADD, -ENOMEM},
    };
    struct afn_reactor *const untouched = (struct afn_reactor *)faults;

    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        struct afn_reactor *reactor = untouched;

        fault_sys_reset();
        fault_sys_fail(faults[i].call, i == 4 ? 1 : 0, 1, faults[i].error);
        require_equal(afn_reactor_new(&reactor), faults[i].error);
        require(reactor == untouched);
    }
    for (unsigned int k = 1;; k++) {
        struct afn_reactor *reactor = untouched;
        int result;

        fault_sys_reset();
        fault_alloc_arm(k, false);
        result = afn_reactor_new(&reactor);
        if (!fault_alloc_disarm()) {
            require(k > 1);
            require_equal(result, 0);
            afn_reactor_unref(reactor);
            break;
        }
        require_equal(result, -ENOMEM);
        require(reactor == untouched);
    }
}
END_TEST

START_TEST(reactor_tells_an_error_of_epoll_as_its_result)
{
    struct world world;

    world_open(&world);
    fault_sys_fail(FAULT_EPOLL_WAIT, 0, 1, -EBADF);
    require_equal(afn_reactor_dispatch(world.reactor), -EBADF);
    require_equal(afn_reactor_dispatch(world.reactor), 0);
    fault_sys_fail(FAULT_EPOLL_WAIT, 0, 1, -EBADF);
    require_equal(afn_reactor_run(world.reactor), -EBADF);
    world_close(&world);
}
END_TEST

static void drop_reactor(struct recorder *recorder, enum event_kind kind)
{
    struct world *world = recorder->hook_user;

    (void)kind;
    if (world->reactor != NULL)
        afn_reactor_unref(world->reactor);
    afn_stream_unref(recorder->stream);
    world->reactor = NULL;
}

START_TEST(reactor_survives_its_last_reference_inside_a_callback)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, NULL);
    link.recorder.hook = drop_reactor;
    link.recorder.hook_user = &world;
    require(write(link.peer.fd, "x", 1) == 1);
    pump_dispatch(&world);
    require(world.reactor == NULL);
    peer_close(&link.peer);
    recorder_close(&link.recorder);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {reactor_has_a_descriptor_and_nothing_to_do, 1},
        {reactor_unref_takes_null, 1},
        {reactor_lives_as_long_as_a_reference, 1},
        {reactor_is_kept_by_its_streams, 1},
        {reactor_descriptor_is_readable_only_while_a_socket_is_ready, 1},
        {reactor_wakeup_makes_the_descriptor_readable_once, 1},
        {reactor_is_woken_by_another_thread, 1},
        {reactor_refuses_to_dispatch_inside_a_callback, 1},
        {reactor_run_ends_when_a_callback_stops_it, 1},
        {reactor_run_ends_when_a_signal_handler_stops_it, 1},
        {reactor_run_ends_when_it_was_stopped_before, 1},
        {reactor_that_is_stopped_leaves_the_rest_for_the_next_dispatch, 1},
        {reactor_that_is_stopped_calls_nobody_any_more, 1},
        {reactor_that_is_stopped_by_a_timer_leaves_the_other_timers, 1},
        {reactor_asks_the_kernel_no_more_often_than_allowed, 1},
        {reactor_ends_its_rounds_when_the_host_is_busy, 1},
        {reactor_returns_from_dispatch_although_work_never_ends, 1},
        {reactor_asks_a_lone_stream_instead_of_the_kernel, PAIR_KINDS},
        {reactor_asks_the_kernel_about_a_lone_stream_that_has_ended, 1},
        {reactor_serves_another_stream_although_it_knew_a_lone_one, 2},
        {reactor_forgets_a_lone_stream_that_is_gone, 1},
        {reactor_that_cannot_be_made_leaves_nothing, 1},
        {reactor_tells_an_error_of_epoll_as_its_result, 1},
        {reactor_survives_its_last_reference_inside_a_callback, 1},
    };

    return harness_main("reactor", cases, COUNT_OF(cases));
}
