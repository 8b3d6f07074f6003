/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* Datagram sockets: how they are made, and what they receive. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault-alloc.h"
#include "fault-sys.h"
#include "harness.h"
#include "post.h"

#define LONG_ENOUGH 200 /* datagrams */

/* ---- receiving ---- */

START_TEST(datagram_is_received_with_its_sender)
{
    struct post post;

    post_open(&post, (enum family)_i);
    require(fcntl(post.fd, F_GETFL) & O_NONBLOCK);
    post_bring(&post, "hello", 5);
    pump_until(&post.world, post.received.length == 5);
    require_content(&post.received, "hello");
    require_bytes(&post.sender, post.sender_length, &post.peer_address, post.peer_length);
    require_equal(afn_datagram_send(post.datagram, "back", 4, (struct sockaddr *)&post.sender,
                                    post.sender_length),
                  0);
    require_taken(&post, "back");
    post_close(&post);
}
END_TEST

START_TEST(datagram_of_a_nameless_sender_has_no_address)
{
    struct post post;
    int nameless = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    post_open(&post, FAMILY_UNIX);
    require_equal(sendto(nameless, "x", 1, 0, (struct sockaddr *)&post.address, post.length), 1);
    pump_until(&post.world, post.received.length == 1);
    require_equal(post.sender_length, 0);
    close(nameless);
    post_close(&post);
}
END_TEST

START_TEST(empty_datagrams_are_received_and_sent)
{
    struct post post;

    post_open(&post, (enum family)_i);
    post_bring(&post, "", 0);
    post_bring(&post, "a", 1);
    post_bring(&post, "", 0);
    pump_until(&post.world, strlen(post.story) > 25);
    require_string(post.story, "received(0) received(1) received(0)");
    require_equal(post_send(&post, ""), 0);
    require_taken(&post, "");
    post_close(&post);
}
END_TEST

START_TEST(many_datagrams_are_received_in_few_calls)
{
    struct post post;

    post_open(&post, FAMILY_INET);
    for (int i = 0; i < LONG_ENOUGH; i++)
        post_bring(&post, &"0123456789"[i % 10], 1);
    pump_until(&post.world, post.received.length == LONG_ENOUGH);
    for (int i = 0; i < LONG_ENOUGH; i++)
        require_equal(post.received.data[i], "0123456789"[i % 10]);
    require_equal(post_get_stats(&post).datagrams_received, LONG_ENOUGH);
    require(post_get_stats(&post).receive_calls < LONG_ENOUGH / 10);
    post_close(&post);
}
END_TEST

/* The longest of each family, and one that is short behind it. */
START_TEST(long_datagrams_are_received_whole)
{
    const size_t lengths[] = {65507, 65507, 200000};
    struct post post;
    struct bytes sent = {0};
    int size = 1 << 20;

    post_open(&post, (enum family)_i);
    bytes_fill(&sent, lengths[_i], 7);
    require_equal(setsockopt(post.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
    post_bring(&post, sent.data, sent.length);
    post_bring(&post, "end", 3);
    pump_until(&post.world, post.received.length == lengths[_i] + 3);
    bytes_append(&sent, "end", 3);
    require_same(&post.received, &sent);
    bytes_free(&sent);
    post_close(&post);
}
END_TEST

START_TEST(datagram_that_is_too_long_for_the_library_is_reported)
{
    struct post post;
    struct bytes sent = {0};
    int size = 1 << 20;

    post_open(&post, FAMILY_UNIX);
    bytes_fill(&sent, 300000, 7);
    /* Takes a privilege; without it there is nothing to show. */
    if (setsockopt(post.peer, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) == 0) {
        post_bring(&post, sent.data, sent.length);
        post_bring(&post, "end", 3);
        pump_until(&post.world, post.received.length == 3);
        require_string(post.story, "failed(-90) received(3)");
    }
    bytes_free(&sent);
    post_close(&post);
}
END_TEST

static void pause_at_the_first(struct post *post, const char *event)
{
    if (strcmp(event, "received") == 0 && post->hooks++ == 0) {
        afn_datagram_pause_reading(post->datagram);
        post->is_paused = true;
    }
}

START_TEST(pause_keeps_what_was_received_already)
{
    struct post post;

    post_open(&post, (enum family)_i);
    post.hook = pause_at_the_first;
    for (int i = 0; i < 8; i++)
        post_bring(&post, &"01234567"[i], 1);
    pump_until(&post.world, post.received.length == 1);
    pump_idle(&post.world);
    require_content(&post.received, "0");
    require(!afn_datagram_is_reading(post.datagram));
    post.is_paused = false;
    afn_datagram_resume_reading(post.datagram);
    require_content(&post.received, "0"); /* from dispatch only */
    post_bring(&post, "8", 1);
    pump_until(&post.world, post.received.length == 9);
    require_content(&post.received, "012345678");
    post_close(&post);
}
END_TEST

START_TEST(datagram_is_silent_until_it_is_resumed_when_made_paused)
{
    struct post post;

    post_open_with(&post, FAMILY_INET, &post_handler, AFN_DATAGRAM_PAUSED);
    post_bring(&post, "x", 1);
    pump_idle(&post.world);
    require_equal(post.received.length, 0);
    afn_datagram_resume_reading(post.datagram);
    pump_until(&post.world, post.received.length == 1);
    post_close(&post);
}
END_TEST

static void stop_each_time(struct post *post, const char *event)
{
    (void)event;
    afn_reactor_stop(post->world.reactor);
}

START_TEST(stop_in_each_callback_loses_nothing)
{
    struct post post;

    post_open(&post, (enum family)_i);
    post.hook = stop_each_time;
    for (int i = 0; i < 6; i++)
        post_bring(&post, &"012345"[i], 1);
    pump_until(&post.world, post.received.length == 6);
    require_content(&post.received, "012345");
    post_close(&post);
}
END_TEST

START_TEST(flood_leaves_room_for_others)
{
    struct post post;
    unsigned long before;

    post_open(&post, FAMILY_INET);
    for (int i = 0; i < LONG_ENOUGH; i++)
        post_bring(&post, "x", 1);
    require_equal(afn_reactor_set_busy_check(post.world.reactor, 1, NULL, NULL), 0);
    before = post.world.dispatches;
    pump_until(&post.world, post.received.length == LONG_ENOUGH);
    require(post.world.dispatches - before >= 3);
    post_close(&post);
}
END_TEST

/* ---- errors ---- */

START_TEST(errors_of_receiving_are_told_once_each)
{
    const int errors[] = {-ECONNREFUSED, -ENOMEM, -EBADF, -ENOTCONN};
    struct post post;
    char expected[64];

    post_open(&post, (enum family)(_i % FAMILIES));
    fault_sys_fail(FAULT_RECV, 0, 1, errors[_i / FAMILIES]);
    post_bring(&post, "a", 1);
    pump_until(&post.world, post.story[0] != '\0');
    pump_idle(&post.world);
    post_bring(&post, "b", 1);
    pump_until(&post.world, post.received.length == 2);
    require_content(&post.received, "ab");
    snprintf(expected, sizeof expected, "failed(%d) received(1) received(1)",
             errors[_i / FAMILIES]);
    require_string(post.story, expected);
    post_close(&post);
}
END_TEST

START_TEST(handler_needs_nothing_but_received)
{
    const struct afn_datagram_handler least = {.size = sizeof least, .received = post_received};
    struct post post;

    post_open_with(&post, FAMILY_INET, &least, 0);
    fault_sys_fail(FAULT_SEND, 0, 1, -EAGAIN);
    require_equal(afn_datagram_set_write_limits(post.datagram, 0, 0), 0);
    require_equal(post_send(&post, "refused"), 1);
    fault_sys_fail(FAULT_SEND, 0, 1, -EPERM);
    fault_sys_fail(FAULT_RECV, 0, 1, -ECONNREFUSED);
    post_bring(&post, "x", 1);
    pump_until(&post.world, post.received.length == 1);
    afn_datagram_close(post.datagram);
    pump_idle(&post.world);
    require_equal(afn_datagram_get_fd(post.datagram), -1);
    post_close(&post);
}
END_TEST

START_TEST(datagram_that_cannot_be_made_leaves_the_socket_alone)
{
    struct post post;
    struct afn_datagram *datagram = NULL;
    struct afn_datagram_handler bad = post_handler;
    struct afn_datagram_stats stats;
    struct afn_reactor *reactor;
    int fd;

    post_open(&post, FAMILY_INET);
    require_equal(afn_reactor_new(&reactor), 0);
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bad.received = NULL;
    require_equal(afn_datagram_new(reactor, fd, NULL, NULL, 0, &datagram), -EINVAL);
    require_equal(afn_datagram_new(reactor, fd, &bad, NULL, 0, &datagram), -EINVAL);
    bad = post_handler;
    bad.size = 0;
    require_equal(afn_datagram_new(reactor, fd, &bad, NULL, 0, &datagram), -EINVAL);
    require_equal(afn_datagram_new(reactor, fd, &post_handler, NULL, 2, &datagram), -EINVAL);
    require_equal(afn_datagram_new(reactor, -1, &post_handler, NULL, 0, &datagram), -EINVAL);
    require_equal(afn_datagram_new(NULL, fd, &post_handler, NULL, 0, &datagram), -EINVAL);
    for (unsigned int k = 1; k <= 2; k++) {
        fault_alloc_arm(k, false);
        require_equal(afn_datagram_new(reactor, fd, &post_handler, NULL, 0, &datagram), -ENOMEM);
        require(fault_alloc_disarm());
    }
    fault_sys_fail(FAULT_GET_KIND, 0, 1, -ENOTSOCK);
    require_equal(afn_datagram_new(reactor, fd, &post_handler, NULL, 0, &datagram), -ENOTSOCK);
    fault_sys_fail(FAULT_SET_NONBLOCKING, 0, 1, -EBADF);
    require_equal(afn_datagram_new(reactor, fd, &post_handler, NULL, 0, &datagram), -EBADF);
    fault_sys_fail(FAULT_EPOLL_ADD, 0, 1, -ENOSPC);
    require_equal(afn_datagram_new(reactor, fd, &post_handler, NULL, 0, &datagram), -ENOSPC);
    require(datagram == NULL);
    require(sockets_is_open(fd));
    require_equal(afn_datagram_get_stats(post.datagram, NULL, 8), -EINVAL);
    require_equal(afn_datagram_get_stats(post.datagram, &stats, 0), -EINVAL);
    memset(&stats, 1, sizeof stats);
    require_equal(afn_datagram_get_stats(post.datagram, &stats, sizeof(uint64_t)), 0);
    require_equal(stats.datagrams_received, 0);
    require(stats.datagrams_sent != 0);
    close(fd);
    afn_reactor_unref(reactor);
    post_close(&post);
}
END_TEST

/* Without memory a datagram is refused, or lost and reported; all others get through. */
START_TEST(lack_of_memory_costs_one_datagram)
{
    struct post post;

    post_open(&post, FAMILY_INET);
    fault_sys_fail(FAULT_SEND, 0, 1, -EAGAIN);
    fault_alloc_arm(1, false);
    require_equal(post_send(&post, "refused"), -ENOMEM);
    require(fault_alloc_disarm());
    require_equal(post_send(&post, "queued"), 0);
    require_equal(afn_datagram_get_write_buffer_size(post.datagram), 14);

    post.hook = pause_at_the_first;
    for (int i = 0; i < 3; i++)
        post_bring(&post, &"012"[i], 1);
    fault_alloc_arm(1, false);
    pump_until(&post.world, strstr(post.story, "failed") != NULL);
    require(fault_alloc_disarm());
    post.is_paused = false;
    afn_datagram_resume_reading(post.datagram);
    pump_until(&post.world, post.received.length == 2);
    require_string(post.story, "received(1) failed(-12) received(1)");
    require_content(&post.received, "02");
    require_taken(&post, "queued");
    post_close(&post);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {datagram_is_received_with_its_sender, FAMILIES},
        {datagram_of_a_nameless_sender_has_no_address, 1},
        {empty_datagrams_are_received_and_sent, FAMILIES},
        {many_datagrams_are_received_in_few_calls, 1},
        {long_datagrams_are_received_whole, FAMILIES},
        {datagram_that_is_too_long_for_the_library_is_reported, 1},
        {pause_keeps_what_was_received_already, FAMILIES},
        {datagram_is_silent_until_it_is_resumed_when_made_paused, 1},
        {stop_in_each_callback_loses_nothing, FAMILIES},
        {flood_leaves_room_for_others, 1},
        {errors_of_receiving_are_told_once_each, 4 * FAMILIES},
        {handler_needs_nothing_but_received, 1},
        {datagram_that_cannot_be_made_leaves_the_socket_alone, 1},
        {lack_of_memory_costs_one_datagram, 1},
    };

    return harness_main("datagram", cases, COUNT_OF(cases));
}
