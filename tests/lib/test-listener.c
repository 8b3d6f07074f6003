/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fault-alloc.h"
#include "fault-sys.h"
#include "harness.h"
#include "world.h"

#define CLIENTS 50

/* What accepted and failed do besides taking note. */
enum reaction { REACTION_NONE, REACTION_CLOSE, REACTION_UNREF, REACTION_CLOSE_UNREF };

struct desk {
    struct world world;
    struct afn_listener *listener;
    struct sockaddr_in address;
    int fd;
    int clients[CLIENTS];
    size_t client_count;
    int accepted[CLIENTS];
    in_port_t ports[CLIENTS]; /* of the peers, as accepted told them */
    size_t accepted_count;
    unsigned int failures;
    int error;
    enum reaction reaction;
    bool is_over; /* no callback from now on */
};

static void react(struct desk *desk)
{
    desk->is_over = desk->reaction != REACTION_NONE;
    if (desk->reaction == REACTION_CLOSE || desk->reaction == REACTION_CLOSE_UNREF)
        afn_listener_close(desk->listener);
    if (desk->reaction == REACTION_UNREF || desk->reaction == REACTION_CLOSE_UNREF)
        desk->listener = afn_listener_unref(desk->listener);
}

static void on_accepted(struct afn_listener *listener, void *user, int fd,
                        const struct sockaddr *address, socklen_t length)
{
    struct desk *desk = user;

    require(recorder_is_dispatching);
    require(!desk->is_over);
    require(listener == desk->listener);
    require(fcntl(fd, F_GETFL) & O_NONBLOCK);
    require(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    require(desk->accepted_count < CLIENTS);
    if (length == sizeof(struct sockaddr_in) && address->sa_family == AF_INET)
        memcpy(&desk->ports[desk->accepted_count],
               &((const struct sockaddr_in *)(const void *)address)->sin_port, sizeof(in_port_t));
    desk->accepted[desk->accepted_count++] = fd;
    react(desk);
}

static void on_failed(struct afn_listener *listener, void *user, int error)
{
    struct desk *desk = user;

    require(recorder_is_dispatching);
    require(!desk->is_over);
    require(listener == desk->listener);
    desk->failures++;
    desk->error = error;
    react(desk);
}

static const struct afn_listener_handler handler = {
    .size = sizeof handler,
    .accepted = on_accepted,
    .failed = on_failed,
};

static void desk_open(struct desk *desk, unsigned int max_batch)
{
    memset(desk, 0, sizeof *desk);
    world_open(&desk->world);
    desk->fd = sockets_listen(&desk->address);
    require_equal(
        afn_listener_new(desk->world.reactor, desk->fd, &handler, desk, max_batch, &desk->listener),
        0);
}

static void desk_connect(struct desk *desk, size_t count)
{
    for (size_t i = 0; i < count; i++)
        desk->clients[desk->client_count++] = sockets_connect(&desk->address);
}

static void desk_close(struct desk *desk)
{
    desk->listener = afn_listener_unref(desk->listener);
    require(desk->listener == NULL);
    for (size_t i = 0; i < desk->client_count; i++)
        close(desk->clients[i]);
    for (size_t i = 0; i < desk->accepted_count; i++)
        close(desk->accepted[i]);
    close(desk->fd);
    world_close(&desk->world);
}

START_TEST(listener_accepts_those_who_waited_and_those_who_come)
{
    struct desk desk;

    desk_open(&desk, 0);
    require(fcntl(desk.fd, F_GETFL) & O_NONBLOCK);
    desk_connect(&desk, 3);
    pump_until(&desk.world, desk.accepted_count == 3);
    desk_connect(&desk, 1);
    pump_until(&desk.world, desk.accepted_count == 4);
    require_equal(desk.failures, 0);
    desk_close(&desk);
}
END_TEST

START_TEST(listener_accepts_connections_that_waited_before_it_was_made)
{
    struct desk desk;

    memset(&desk, 0, sizeof desk);
    world_open(&desk.world);
    desk.fd = sockets_listen(&desk.address);
    desk_connect(&desk, 5);
    require_equal(afn_listener_new(desk.world.reactor, desk.fd, &handler, &desk, 0, &desk.listener),
                  0);
    pump_until(&desk.world, desk.accepted_count == 5);
    desk_close(&desk);
}
END_TEST

START_TEST(listener_tells_the_address_of_the_peer)
{
    struct desk desk;
    struct sockaddr_in local;
    socklen_t length = sizeof local;

    desk_open(&desk, 0);
    desk_connect(&desk, 1);
    require(getsockname(desk.clients[0], (struct sockaddr *)&local, &length) == 0);
    pump_until(&desk.world, desk.accepted_count == 1);
    require_equal(desk.ports[0], local.sin_port);
    desk_close(&desk);
}
END_TEST

START_TEST(listener_accepts_in_batches)
{
    struct desk desk;

    desk_open(&desk, 4);
    require_equal(afn_reactor_set_busy_check(desk.world.reactor, 1, NULL, NULL), 0);
    desk_connect(&desk, 10);
    for (size_t expected = 4; expected <= 8; expected += 4) {
        require(pump_is_ready(&desk.world));
        pump_dispatch(&desk.world);
        /* Pending work may be served in the same round as the event: never more than that. */
        require(desk.accepted_count <= expected * 2);
    }
    pump_until(&desk.world, desk.accepted_count == 10);
    pump_idle(&desk.world);
    require(!pump_is_ready(&desk.world));
    desk_close(&desk);
}
END_TEST

static const int shortages[] = {-EMFILE, -ENFILE, -ENOBUFS, -ENOMEM};

/* T29 */
START_TEST(listener_pauses_for_a_second_when_descriptors_are_short)
{
    struct desk desk;

    desk_open(&desk, 0);
    fault_sys_fail(FAULT_ACCEPT, 2, 1, shortages[_i]);
    desk_connect(&desk, 10);
    pump_until(&desk.world, desk.failures == 1);
    require_equal(desk.error, shortages[_i]);
    require_equal(desk.accepted_count, 2);
    desk_connect(&desk, 5);
    pump_idle(&desk.world);
    require(!pump_is_ready(&desk.world));
    require_equal(desk.failures, 1);
    require_equal(desk.accepted_count, 2);
    require_equal(fault_sys_count(FAULT_ACCEPT), 3);
    fault_sys_advance_clock(SECOND);
    pump_until(&desk.world, desk.accepted_count == 15);
    require_equal(desk.failures, 1);
    desk_close(&desk);
}
END_TEST

START_TEST(listener_tells_a_shortage_that_lasts_once_a_second)
{
    struct desk desk;

    desk_open(&desk, 0);
    fault_sys_fail(FAULT_ACCEPT, 0, 3, shortages[_i]);
    desk_connect(&desk, 3);
    for (unsigned int i = 1; i <= 3; i++) {
        pump_until(&desk.world, desk.failures == i);
        pump_idle(&desk.world);
        require_equal(desk.failures, i);
        fault_sys_advance_clock(SECOND);
    }
    pump_until(&desk.world, desk.accepted_count == 3);
    desk_close(&desk);
}
END_TEST

/* With the real kernel: the process has no descriptor left. */
START_TEST(listener_recovers_when_descriptors_come_back)
{
    struct desk desk;
    struct rlimit old, none;
    struct sockaddr_in last;
    socklen_t length = sizeof last;

    desk_open(&desk, 0);
    desk_connect(&desk, 5);
    require(getrlimit(RLIMIT_NOFILE, &old) == 0);
    none = old;
    none.rlim_cur = 3;
    require(setrlimit(RLIMIT_NOFILE, &none) == 0);
    /* Without poll(2), which counts its descriptors against the limit. */
    pump_dispatch(&desk.world);
    require(setrlimit(RLIMIT_NOFILE, &old) == 0);
    require_equal(desk.failures, 1);
    require_equal(desk.error, -EMFILE);
    require_equal(desk.accepted_count, 0);
    fault_sys_advance_clock(SECOND);
    desk_connect(&desk, 1);
    require(getsockname(desk.clients[5], (struct sockaddr *)&last, &length) == 0);
    /* Not by their number: valgrind closes one of those that it counts against the limit. */
    pump_until(&desk.world,
               desk.accepted_count > 0 && desk.ports[desk.accepted_count - 1] == last.sin_port);
    require_equal(desk.failures, 1);
    desk_close(&desk);
}
END_TEST

/* What accept(2) says of one connection, and of the network that it came from. */
static const int losses[] = {-ECONNABORTED, -EPROTO,      -ENETDOWN,    -ENETUNREACH,
                             -EHOSTDOWN,    -EHOSTUNREACH, -ENOPROTOOPT, -ENONET};

START_TEST(listener_ignores_connections_that_are_gone_already)
{
    struct desk desk;

    desk_open(&desk, 0);
    fault_sys_fail(FAULT_ACCEPT, 1, 2, losses[_i]);
    desk_connect(&desk, 3);
    pump_until(&desk.world, desk.accepted_count == 3);
    require_equal(desk.failures, 0);
    desk_close(&desk);
}
END_TEST

START_TEST(listener_is_closed_by_any_other_error)
{
    struct desk desk;

    desk_open(&desk, 0);
    fault_sys_fail(FAULT_ACCEPT, 1, 1, -EINVAL);
    desk_connect(&desk, 3);
    pump_until(&desk.world, desk.failures == 1);
    require_equal(desk.error, -EINVAL);
    desk.is_over = true;
    desk_connect(&desk, 1);
    pump_idle(&desk.world);
    fault_sys_advance_clock(10 * SECOND);
    pump_idle(&desk.world);
    require_equal(desk.accepted_count, 1);
    desk_close(&desk);
}
END_TEST

START_TEST(listener_may_be_ended_inside_accepted)
{
    static const enum reaction reactions[] = {REACTION_CLOSE, REACTION_UNREF, REACTION_CLOSE_UNREF};
    struct desk desk;

    desk_open(&desk, 0);
    desk.reaction = reactions[_i];
    desk_connect(&desk, 5);
    pump_until(&desk.world, desk.accepted_count == 1);
    pump_idle(&desk.world);
    require_equal(desk.accepted_count, 1);
    desk_close(&desk);
}
END_TEST

START_TEST(listener_may_be_ended_inside_failed)
{
    static const enum reaction reactions[] = {REACTION_CLOSE, REACTION_UNREF, REACTION_CLOSE_UNREF};
    struct desk desk;

    desk_open(&desk, 0);
    desk.reaction = reactions[_i];
    fault_sys_fail(FAULT_ACCEPT, 0, 1, -EMFILE);
    desk_connect(&desk, 5);
    pump_until(&desk.world, desk.failures == 1);
    fault_sys_advance_clock(2 * SECOND);
    pump_idle(&desk.world);
    require_equal(desk.accepted_count, 0);
    desk_close(&desk);
}
END_TEST

START_TEST(listener_that_is_closed_accepts_no_more)
{
    struct desk desk;

    desk_open(&desk, 0);
    desk_connect(&desk, 2);
    require(pump_is_ready(&desk.world));
    afn_listener_close(desk.listener);
    afn_listener_close(desk.listener);
    desk.is_over = true;
    pump_idle(&desk.world);
    require_equal(desk.accepted_count, 0);
    /* The socket stays the caller's, and works. */
    require(sockets_is_open(desk.fd));
    desk.accepted[desk.accepted_count++] = accept(desk.fd, NULL, NULL);
    require(desk.accepted[0] >= 0);
    desk_close(&desk);
}
END_TEST

START_TEST(listener_lives_as_long_as_a_reference)
{
    struct desk desk;

    desk_open(&desk, 0);
    require(afn_listener_ref(desk.listener) == desk.listener);
    require(afn_listener_unref(desk.listener) == NULL);
    desk_connect(&desk, 1);
    pump_until(&desk.world, desk.accepted_count == 1);
    require(afn_listener_unref(NULL) == NULL);
    desk_close(&desk);
}
END_TEST

START_TEST(listener_without_failed_survives_a_shortage)
{
    struct desk desk;
    struct afn_listener_handler short_handler = handler;

    memset(&desk, 0, sizeof desk);
    short_handler.failed = NULL;
    world_open(&desk.world);
    desk.fd = sockets_listen(&desk.address);
    require_equal(
        afn_listener_new(desk.world.reactor, desk.fd, &short_handler, &desk, 0, &desk.listener), 0);
    fault_sys_fail(FAULT_ACCEPT, 0, 1, -EMFILE);
    desk_connect(&desk, 1);
    pump_idle(&desk.world);
    fault_sys_advance_clock(SECOND);
    pump_until(&desk.world, desk.accepted_count == 1);
    desk_close(&desk);
}
END_TEST

START_TEST(listener_accepts_on_a_unix_socket)
{
    struct desk desk;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = sizeof address;

    memset(&desk, 0, sizeof desk);
    world_open(&desk.world);
    desk.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* Without a name: the kernel chooses an abstract one. */
    require(bind(desk.fd, (struct sockaddr *)&address, sizeof(sa_family_t)) == 0);
    require(listen(desk.fd, 5) == 0);
    require(getsockname(desk.fd, (struct sockaddr *)&address, &length) == 0);
    require_equal(afn_listener_new(desk.world.reactor, desk.fd, &handler, &desk, 0, &desk.listener),
                  0);
    desk.clients[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    desk.client_count = 1;
    require(connect(desk.clients[0], (struct sockaddr *)&address, length) == 0);
    pump_until(&desk.world, desk.accepted_count == 1);
    desk_close(&desk);
}
END_TEST

START_TEST(listener_that_cannot_be_made_changes_nothing)
{
    struct world world;
    struct afn_listener *listener = NULL;
    struct afn_listener_handler bad = handler;
    struct sockaddr_in address;
    int fd = sockets_listen(&address);

    world_open(&world);
    bad.accepted = NULL;
    require_equal(afn_listener_new(world.reactor, fd, NULL, NULL, 0, &listener), -EINVAL);
    require_equal(afn_listener_new(world.reactor, fd, &bad, NULL, 0, &listener), -EINVAL);
    bad = handler;
    bad.size = 0;
    require_equal(afn_listener_new(world.reactor, fd, &bad, NULL, 0, &listener), -EINVAL);
    fault_sys_fail(FAULT_EPOLL_ADD, 0, 1, -ENOSPC);
    require_equal(afn_listener_new(world.reactor, fd, &handler, NULL, 0, &listener), -ENOSPC);
    fault_alloc_arm(1, false);
    require_equal(afn_listener_new(world.reactor, fd, &handler, NULL, 0, &listener), -ENOMEM);
    require(fault_alloc_disarm());
    require(listener == NULL);
    require(sockets_is_open(fd));
    close(fd);
    world_close(&world);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {listener_accepts_those_who_waited_and_those_who_come, 1},
        {listener_accepts_connections_that_waited_before_it_was_made, 1},
        {listener_tells_the_address_of_the_peer, 1},
        {listener_accepts_in_batches, 1},
        {listener_pauses_for_a_second_when_descriptors_are_short, COUNT_OF(shortages)},
        {listener_tells_a_shortage_that_lasts_once_a_second, COUNT_OF(shortages)},
        {listener_recovers_when_descriptors_come_back, 1},
        {listener_ignores_connections_that_are_gone_already, COUNT_OF(losses)},
        {listener_is_closed_by_any_other_error, 1},
        {listener_may_be_ended_inside_accepted, 3},
        {listener_may_be_ended_inside_failed, 3},
        {listener_that_is_closed_accepts_no_more, 1},
        {listener_lives_as_long_as_a_reference, 1},
        {listener_without_failed_survives_a_shortage, 1},
        {listener_accepts_on_a_unix_socket, 1},
        {listener_that_cannot_be_made_changes_nothing, 1},
    };

    return harness_main("listener", cases, COUNT_OF(cases));
}
