/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fault-alloc.h"
#include "fault-sys.h"
#include "harness.h"
#include "world.h"

struct attempt {
    struct afn_connect *connect;
    unsigned int calls;
    int result;
    bool drops;   /* the reference, inside done */
    bool cancels; /* inside done */
};

static void on_done(struct afn_connect *connect, void *user, int fd_or_error)
{
    struct attempt *attempt = user;

    require(recorder_is_dispatching);
    require(connect == attempt->connect);
    attempt->calls++;
    attempt->result = fd_or_error;
    if (attempt->cancels)
        afn_connect_cancel(connect);
    if (attempt->drops)
        attempt->connect = afn_connect_unref(connect);
}

static int start(struct world *world, struct attempt *attempt, const struct sockaddr_in *address,
                 uint64_t timeout)
{
    return afn_connect_new(world->reactor, (const struct sockaddr *)address, sizeof *address, NULL,
                           0, timeout, on_done, attempt, &attempt->connect);
}

static void finish(struct world *world, struct attempt *attempt)
{
    require(afn_connect_unref(attempt->connect) == NULL);
    if (attempt->result > 0)
        close(attempt->result);
    world_close(world);
}

/* A listener whose queue is full: who connects to it waits. */
struct full_listener {
    int fd;
    int fillers[3];
    struct sockaddr_in address;
};

static void open_full(struct full_listener *full)
{
    full->fd = sockets_listen(&full->address);
    require(listen(full->fd, 0) == 0);
    for (size_t i = 0; i < COUNT_OF(full->fillers); i++) {
        full->fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        connect(full->fillers[i], (struct sockaddr *)&full->address, sizeof full->address);
    }
}

static void close_full(struct full_listener *full)
{
    for (size_t i = 0; i < COUNT_OF(full->fillers); i++)
        close(full->fillers[i]);
    close(full->fd);
}

START_TEST(connect_succeeds_and_hands_the_socket_over)
{
    struct world world;
    struct attempt attempt = {.drops = _i == 1, .cancels = _i == 2};
    struct sockaddr_in address, local;
    socklen_t length = sizeof local;
    int listener = sockets_listen(&address);
    int accepted;

    world_open(&world);
    require_equal(start(&world, &attempt, &address, MINUTE), 0);
    require_equal(attempt.calls, 0);
    /* Copied: the caller's may change. */
    memset(&address, 0, sizeof address);
    pump_until(&world, attempt.calls == 1);
    require(attempt.result >= 0);
    require(fcntl(attempt.result, F_GETFL) & O_NONBLOCK);
    require(fcntl(attempt.result, F_GETFD) & FD_CLOEXEC);
    accepted = accept(listener, NULL, NULL);
    require(accepted >= 0);
    require(getpeername(attempt.result, (struct sockaddr *)&local, &length) == 0);
    fault_sys_advance_clock(2 * MINUTE);
    pump_idle(&world);
    require_equal(attempt.calls, 1);
    if (attempt.connect != NULL)
        afn_connect_cancel(attempt.connect);
    require(sockets_is_open(attempt.result));
    close(accepted);
    close(listener);
    finish(&world, &attempt);
}
END_TEST

START_TEST(connect_that_is_refused_says_so)
{
    struct world world;
    struct attempt attempt = {.drops = _i};
    struct sockaddr_in address;
    int result;

    sockets_find_closed_port(&address);
    world_open(&world);
    result = start(&world, &attempt, &address, 0);
    if (result == 0) {
        pump_until(&world, attempt.calls == 1);
        result = attempt.result;
    }
    require_equal(result, -ECONNREFUSED);
    pump_idle(&world);
    require(attempt.calls <= 1);
    require_equal(fault_sys_count(FAULT_CLOSE), 1);
    finish(&world, &attempt);
}
END_TEST

START_TEST(connect_without_an_answer_ends_at_its_time_limit)
{
    struct world world;
    struct attempt attempt = {.drops = _i};
    struct full_listener full;

    open_full(&full);
    world_open(&world);
    require_equal(start(&world, &attempt, &full.address, 10 * SECOND), 0);
    pump_idle(&world);
    fault_sys_advance_clock(9 * SECOND);
    pump_idle(&world);
    require_equal(attempt.calls, 0);
    fault_sys_advance_clock(SECOND);
    pump_until(&world, attempt.calls == 1);
    require_equal(attempt.result, -ETIMEDOUT);
    require_equal(fault_sys_count(FAULT_CLOSE), 1);
    close_full(&full);
    finish(&world, &attempt);
}
END_TEST

START_TEST(connect_that_is_given_up_is_silent)
{
    for (int way = 0; way < 2; way++) {
        struct world world;
        struct attempt attempt = {0};
        struct sockaddr_in address;
        int listener = sockets_listen(&address);

        fault_sys_clear_counts();
        world_open(&world);
        require_equal(start(&world, &attempt, &address, MINUTE), 0);
        if (way == 0) {
            afn_connect_cancel(attempt.connect);
            afn_connect_cancel(attempt.connect);
        } else {
            attempt.connect = afn_connect_unref(attempt.connect);
        }
        require_equal(fault_sys_count(FAULT_CLOSE), 1);
        fault_sys_advance_clock(2 * MINUTE);
        pump_idle(&world);
        require_equal(attempt.calls, 0);
        close(listener);
        finish(&world, &attempt);
    }
}
END_TEST

/* Both have ended when dispatch looks; whichever is told first gives the other one up. */
struct rivals {
    struct afn_connect *connects[2];
    unsigned int calls;
    int result;
    bool drops;
};

static void give_up_other(struct afn_connect *connect, void *user, int fd_or_error)
{
    struct rivals *rivals = user;
    struct afn_connect **other = &rivals->connects[connect == rivals->connects[0]];

    rivals->calls++;
    rivals->result = fd_or_error;
    if (rivals->drops)
        *other = afn_connect_unref(*other);
    else
        afn_connect_cancel(*other);
}

START_TEST(connect_that_is_given_up_by_another_one_is_silent)
{
    struct world world;
    struct rivals rivals = {.drops = _i};
    struct sockaddr_in address;
    int listener = sockets_listen(&address);

    world_open(&world);
    for (int i = 0; i < 2; i++)
        require_equal(afn_connect_new(world.reactor, (struct sockaddr *)&address, sizeof address,
                                      NULL, 0, MINUTE, give_up_other, &rivals, &rivals.connects[i]),
                      0);
    pump_until(&world, rivals.calls > 0);
    fault_sys_advance_clock(2 * MINUTE);
    pump_idle(&world);
    require_equal(rivals.calls, 1);
    require(rivals.result >= 0);
    close(rivals.result);
    for (int i = 0; i < 2; i++)
        afn_connect_unref(rivals.connects[i]);
    close(listener);
    world_close(&world);
}
END_TEST

START_TEST(connect_unref_takes_null)
{
    require(afn_connect_unref(NULL) == NULL);
}
END_TEST

START_TEST(connect_binds_the_local_address_first)
{
    struct world world;
    struct attempt attempt = {0};
    struct sockaddr_in address, actual;
    struct sockaddr_in local = {.sin_family = AF_INET};
    socklen_t length = sizeof actual;
    int listener = sockets_listen(&address);

    require_equal(inet_pton(AF_INET, "127.0.0.2", &local.sin_addr), 1);
    world_open(&world);
    require_equal(afn_connect_new(world.reactor, (struct sockaddr *)&address, sizeof address,
                                  (struct sockaddr *)&local, sizeof local, 0, on_done, &attempt,
                                  &attempt.connect),
                  0);
    pump_until(&world, attempt.calls == 1);
    require(getsockname(attempt.result, (struct sockaddr *)&actual, &length) == 0);
    require_equal(actual.sin_addr.s_addr, local.sin_addr.s_addr);
    close(listener);
    finish(&world, &attempt);
}
END_TEST

START_TEST(connect_reaches_a_unix_socket)
{
    struct world world;
    struct attempt attempt = {0};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = sizeof address;
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    require(bind(listener, (struct sockaddr *)&address, sizeof(sa_family_t)) == 0);
    require(listen(listener, 5) == 0);
    require(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    world_open(&world);
    require_equal(afn_connect_new(world.reactor, (struct sockaddr *)&address, length, NULL, 0, 0,
                                  on_done, &attempt, &attempt.connect),
                  0);
    require_equal(attempt.calls, 0);
    pump_until(&world, attempt.calls == 1);
    require(attempt.result >= 0);
    close(listener);
    finish(&world, &attempt);
}
END_TEST

START_TEST(connect_reports_the_error_of_the_socket)
{
    struct world world;
    struct attempt attempt = {0};
    struct sockaddr_in address;
    int listener = sockets_listen(&address);

    world_open(&world);
    fault_sys_fail(FAULT_GET_ERROR, 0, 1, -EHOSTUNREACH);
    require_equal(start(&world, &attempt, &address, 0), 0);
    pump_until(&world, attempt.calls == 1);
    require_equal(attempt.result, -EHOSTUNREACH);
    require_equal(fault_sys_count(FAULT_CLOSE), 1);
    close(listener);
    finish(&world, &attempt);
}
END_TEST

/* T46: an error that is returned is not told a second time. */
START_TEST(connect_that_cannot_start_leaves_nothing)
{
    static const struct {
        enum fault_call call;
        int error;
    } faults[] = {
        {FAULT_SOCKET, -EMFILE},
        {FAULT_CONNECT, -ENETUNREACH},
        {FAULT_EPOLL_ADD, -ENOMEM},
    };
    struct sockaddr_in address;
    int listener = sockets_listen(&address);
    struct world world;
    struct attempt attempt = {0};

    world_open(&world);
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        fault_sys_fail(faults[i].call, 0, 1, faults[i].error);
        require_equal(start(&world, &attempt, &address, MINUTE), faults[i].error);
    }
    for (unsigned int k = 1;; k++) {
        int result;

        fault_alloc_arm(k, false);
        result = start(&world, &attempt, &address, MINUTE);
        if (!fault_alloc_disarm()) {
            require_equal(result, 0);
            require(k > 1);
            break;
        }
        require_equal(result, -ENOMEM);
        require(attempt.connect == NULL);
        pump_idle(&world);
    }
    pump_until(&world, attempt.calls == 1);
    close(listener);
    finish(&world, &attempt);
}
END_TEST

START_TEST(connect_that_cannot_bind_says_so)
{
    struct world world;
    struct attempt attempt = {0};
    struct sockaddr_in address;
    struct sockaddr_in local = {.sin_family = AF_INET};
    int listener = sockets_listen(&address);

    /* An address of nobody here. */
    require_equal(inet_pton(AF_INET, "192.0.2.1", &local.sin_addr), 1);
    world_open(&world);
    require_equal(afn_connect_new(world.reactor, (struct sockaddr *)&address, sizeof address,
                                  (struct sockaddr *)&local, sizeof local, 0, on_done, &attempt,
                                  &attempt.connect),
                  -EADDRNOTAVAIL);
    pump_idle(&world);
    require_equal(attempt.calls, 0);
    close(listener);
    finish(&world, &attempt);
}
END_TEST

START_TEST(connect_leads_to_a_stream)
{
    struct world world;
    struct attempt attempt = {0};
    struct link link = {0};
    struct sockaddr_in address;
    int listener = sockets_listen(&address);

    world_open(&world);
    require_equal(start(&world, &attempt, &address, 0), 0);
    pump_until(&world, attempt.calls == 1);
    require_equal(afn_stream_new(world.reactor, attempt.result, &recorder_handler, &link.recorder,
                                 0, &link.stream),
                  0);
    attempt.result = 0;
    recorder_open(&link.recorder, link.stream);
    peer_open(&link.peer, accept(listener, NULL, NULL));
    peer_write_text(&link.peer, "hello");
    world_add_peer(&world, &link.peer);
    require_equal(afn_stream_write(link.stream, "hi", 2), 0);
    /* The accepted socket blocks; there is something to read on it, and later an end. */
    require(fcntl(link.peer.fd, F_SETFL, O_NONBLOCK) == 0);
    pump_until(&world, link.recorder.data.length == 5 && link.peer.received.length == 2);
    link_close(&link);
    close(listener);
    finish(&world, &attempt);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {connect_succeeds_and_hands_the_socket_over, 3},
        {connect_that_is_refused_says_so, 2},
        {connect_without_an_answer_ends_at_its_time_limit, 2},
        {connect_that_is_given_up_is_silent, 1},
        {connect_that_is_given_up_by_another_one_is_silent, 2},
        {connect_unref_takes_null, 1},
        {connect_binds_the_local_address_first, 1},
        {connect_reaches_a_unix_socket, 1},
        {connect_reports_the_error_of_the_socket, 1},
        {connect_that_cannot_start_leaves_nothing, 1},
        {connect_that_cannot_bind_says_so, 1},
        {connect_leads_to_a_stream, 1},
    };

    return harness_main("connect", cases, COUNT_OF(cases));
}
