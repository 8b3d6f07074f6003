/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fault-alloc.h"
#include "fault-sys.h"
#include "harness.h"
#include "world.h"

#define LONG_ENOUGH 200 /* datagrams */

enum family { FAMILY_INET, FAMILY_INET_SIX, FAMILY_UNIX, FAMILIES };

/* A datagram socket of the library, and one of the test that it exchanges datagrams with. */
struct post {
    struct world world;
    struct afn_datagram *datagram;
    int fd, peer;
    struct sockaddr_storage address, peer_address;
    socklen_t length, peer_length;
    struct bytes received;
    char story[8192]; /* as in "received(5) failed(-111) writable closed(0)" */
    bool is_paused;
    bool is_inside;
    bool is_over; /* no callback from now on */
    struct sockaddr_storage sender;
    socklen_t sender_length;
    void (*hook)(struct post *post, const char *event);
    unsigned int hooks;
};

static void tell(struct post *post, const char *format, ...)
{
    size_t used = strlen(post->story);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(post->story + used, sizeof post->story - used, format, arguments);
    va_end(arguments);
}

static void begin_event(struct post *post, const struct afn_datagram *datagram)
{
    require(recorder_is_dispatching);
    require(!post->is_inside);
    require(!post->is_over);
    require(datagram == post->datagram);
    post->is_inside = true;
    if (post->story[0] != '\0')
        tell(post, " ");
}

static void end_event(struct post *post, const char *event)
{
    if (post->hook != NULL)
        post->hook(post, event);
    post->is_inside = false;
}

static void on_received(struct afn_datagram *datagram, void *user, const void *data, size_t length,
                        const struct sockaddr *address, socklen_t address_length)
{
    struct post *post = user;

    begin_event(post, datagram);
    require(!post->is_paused);
    tell(post, "received(%zu)", length);
    bytes_append(&post->received, data, length);
    require(address_length <= sizeof post->sender);
    memcpy(&post->sender, address, address_length);
    post->sender_length = address_length;
    end_event(post, "received");
}

static void on_failed(struct afn_datagram *datagram, void *user, int error)
{
    begin_event(user, datagram);
    tell(user, "failed(%d)", error);
    end_event(user, "failed");
}

static void on_writable(struct afn_datagram *datagram, void *user)
{
    begin_event(user, datagram);
    tell(user, "writable");
    end_event(user, "writable");
}

static void on_closed(struct afn_datagram *datagram, void *user, int error)
{
    struct post *post = user;

    begin_event(post, datagram);
    tell(post, "closed(%d)", error);
    end_event(post, "closed");
    post->is_over = true;
}

static const struct afn_datagram_handler handler = {
    .size = sizeof handler,
    .received = on_received,
    .failed = on_failed,
    .writable = on_writable,
    .closed = on_closed,
};

static int open_bound(enum family family, struct sockaddr_storage *ret_address,
                      socklen_t *ret_length)
{
    const int domains[] = {AF_INET, AF_INET6, AF_UNIX};
    const socklen_t lengths[] = {sizeof(struct sockaddr_in), sizeof(struct sockaddr_in6),
                                 sizeof(sa_family_t)};
    int fd = socket(domains[family], SOCK_DGRAM | SOCK_CLOEXEC, 0);

    require(fd >= 0);
    memset(ret_address, 0, sizeof *ret_address);
    ret_address->ss_family = (sa_family_t)domains[family];
    if (family == FAMILY_INET)
        ((struct sockaddr_in *)(void *)ret_address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (family == FAMILY_INET_SIX)
        ((struct sockaddr_in6 *)(void *)ret_address)->sin6_addr = in6addr_loopback;
    /* A Unix socket that is bound to no path gets an abstract one. */
    require_equal(bind(fd, (struct sockaddr *)ret_address, lengths[family]), 0);
    *ret_length = sizeof *ret_address;
    require_equal(getsockname(fd, (struct sockaddr *)ret_address, ret_length), 0);
    return fd;
}

static void post_open_with(struct post *post, enum family family,
                           const struct afn_datagram_handler *with, unsigned int flags)
{
    memset(post, 0, sizeof *post);
    world_open(&post->world);
    post->fd = open_bound(family, &post->address, &post->length);
    post->peer = open_bound(family, &post->peer_address, &post->peer_length);
    require_equal(fcntl(post->peer, F_SETFL, O_NONBLOCK), 0);
    require_equal(
        afn_datagram_new(post->world.reactor, post->fd, with, post, flags, &post->datagram), 0);
}

static void post_open(struct post *post, enum family family)
{
    post_open_with(post, family, &handler, 0);
}

/* The library's socket is connected to the test's. */
static void post_connect(struct post *post)
{
    require_equal(
        connect(post->fd, (struct sockaddr *)&post->peer_address, post->peer_length), 0);
}

static void post_close(struct post *post)
{
    require(afn_datagram_unref(post->datagram) == NULL);
    if (post->peer >= 0)
        close(post->peer);
    bytes_free(&post->received);
    world_close(&post->world);
}

static int post_send(struct post *post, const char *text)
{
    return afn_datagram_send(post->datagram, text, strlen(text),
                             (struct sockaddr *)&post->peer_address, post->peer_length);
}

static void peer_send(struct post *post, const void *data, size_t length)
{
    require_equal(sendto(post->peer, data, length, 0, (struct sockaddr *)&post->address,
                         post->length),
                  (ssize_t)length);
}

/* What the peer has got, or NULL. */
static const char *peer_take(struct post *post)
{
    static char text[256];
    ssize_t length = recv(post->peer, text, sizeof text - 1, 0);

    if (length < 0)
        return NULL;
    text[length] = '\0';
    return text;
}

static void require_taken(struct post *post, const char *text)
{
    const char *taken = peer_take(post);

    require(taken != NULL);
    require_string(taken, text);
}

static struct afn_datagram_stats get_stats(const struct post *post)
{
    struct afn_datagram_stats stats;

    require_equal(afn_datagram_get_stats(post->datagram, &stats, sizeof stats), 0);
    return stats;
}

/* ---- receiving ---- */

START_TEST(datagram_is_received_with_its_sender)
{
    struct post post;

    post_open(&post, (enum family)_i);
    require(fcntl(post.fd, F_GETFL) & O_NONBLOCK);
    peer_send(&post, "hello", 5);
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
    peer_send(&post, "", 0);
    peer_send(&post, "a", 1);
    peer_send(&post, "", 0);
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
        peer_send(&post, &"0123456789"[i % 10], 1);
    pump_until(&post.world, post.received.length == LONG_ENOUGH);
    for (int i = 0; i < LONG_ENOUGH; i++)
        require_equal(post.received.data[i], "0123456789"[i % 10]);
    require_equal(get_stats(&post).datagrams_received, LONG_ENOUGH);
    require(get_stats(&post).receive_calls < LONG_ENOUGH / 10);
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
    peer_send(&post, sent.data, sent.length);
    peer_send(&post, "end", 3);
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
        peer_send(&post, sent.data, sent.length);
        peer_send(&post, "end", 3);
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
        peer_send(&post, &"01234567"[i], 1);
    pump_until(&post.world, post.received.length == 1);
    pump_idle(&post.world);
    require_content(&post.received, "0");
    require(!afn_datagram_is_reading(post.datagram));
    post.is_paused = false;
    afn_datagram_resume_reading(post.datagram);
    require_content(&post.received, "0"); /* from dispatch only */
    peer_send(&post, "8", 1);
    pump_until(&post.world, post.received.length == 9);
    require_content(&post.received, "012345678");
    post_close(&post);
}
END_TEST

START_TEST(datagram_is_silent_until_it_is_resumed_when_made_paused)
{
    struct post post;

    post_open_with(&post, FAMILY_INET, &handler, AFN_DATAGRAM_PAUSED);
    peer_send(&post, "x", 1);
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
        peer_send(&post, &"012345"[i], 1);
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
        peer_send(&post, "x", 1);
    require_equal(afn_reactor_set_busy_check(post.world.reactor, 1, NULL, NULL), 0);
    before = post.world.dispatches;
    pump_until(&post.world, post.received.length == LONG_ENOUGH);
    require(post.world.dispatches - before >= 3);
    post_close(&post);
}
END_TEST

/* ---- sending ---- */

START_TEST(datagram_leaves_at_once_through_a_connected_socket)
{
    struct post post;

    post_open(&post, (enum family)_i);
    post_connect(&post);
    require_equal(afn_datagram_send(post.datagram, "now", 3, NULL, 0), 0);
    require_taken(&post, "now");
    require_equal(get_stats(&post).bytes_sent, 3);
    post_close(&post);
}
END_TEST

START_TEST(refusal_of_the_kernel_is_the_result)
{
    struct post post;
    char large[70000] = {0};

    post_open(&post, FAMILY_INET);
    require_equal(afn_datagram_send(post.datagram, large, sizeof large,
                                    (struct sockaddr *)&post.peer_address, post.peer_length),
                  -EMSGSIZE);
    require_equal(afn_datagram_send(post.datagram, "x", 1, NULL, 0), -EDESTADDRREQ);
    require_equal(afn_datagram_send(post.datagram, "x", 1, (struct sockaddr *)&post.peer_address,
                                    sizeof(struct sockaddr_storage) + 1),
                  -EINVAL);
    require_equal(post_send(&post, "ok"), 0);
    require_taken(&post, "ok");
    pump_idle(&post.world);
    require_string(post.story, "");
    post_close(&post);
}
END_TEST

START_TEST(answer_that_nobody_listens_is_told_and_is_not_the_end)
{
    struct post post;

    post_open(&post, (enum family)_i);
    post_connect(&post);
    close(post.peer);
    post.peer = -1;
    require_equal(afn_datagram_send(post.datagram, "x", 1, NULL, 0), 0);
    pump_until(&post.world, post.story[0] != '\0');
    require_string(post.story, "failed(-111)");
    require(!afn_datagram_is_closing(post.datagram));
    post_close(&post);
}
END_TEST

START_TEST(what_the_kernel_does_not_take_is_queued_and_sent_in_order)
{
    struct post post;

    post_open(&post, (enum family)_i);
    fault_sys_fail(FAULT_SEND, 0, 1, -EAGAIN);
    require_equal(post_send(&post, "one"), 0);
    require_equal(post_send(&post, "three"), 0);
    require_equal(afn_datagram_get_write_buffer_size(post.datagram), 8 + 2 * 8);
    require(peer_take(&post) == NULL);
    pump_until(&post.world, afn_datagram_get_write_buffer_size(post.datagram) == 0);
    require_taken(&post, "one");
    require_taken(&post, "three");
    require_equal(get_stats(&post).datagrams_sent, 2);
    pump_idle(&post.world);
    require_string(post.story, "");
    post_close(&post);
}
END_TEST

START_TEST(queue_leaves_in_batches_as_far_as_the_kernel_takes_it)
{
    struct post post;

    post_open(&post, FAMILY_INET);
    fault_sys_fail(FAULT_SEND, 0, 1, -EAGAIN);
    for (int i = 0; i < 100; i++)
        require_equal(post_send(&post, "x"), 0);
    fault_sys_clear_counts();
    if (_i == 1)
        fault_sys_limit(FAULT_SEND, 7);
    pump_until(&post.world, afn_datagram_get_write_buffer_size(post.datagram) == 0);
    require_equal(fault_sys_count(FAULT_SEND), _i == 1 ? 15 : 4);
    for (int i = 0; i < 100; i++)
        require_taken(&post, "x");
    fault_sys_reset();
    post_close(&post);
}
END_TEST

static void send_three(struct post *post, const char *event)
{
    if (strcmp(event, "received") != 0)
        return;
    require_equal(post_send(post, "a"), 0);
    require_taken(post, "a");
    require_equal(post_send(post, "b"), 0);
    require_equal(post_send(post, "c"), 0);
    require(peer_take(post) == NULL);
}

START_TEST(datagrams_sent_in_a_callback_leave_together)
{
    struct post post;

    post_open(&post, (enum family)_i);
    post.hook = send_three;
    peer_send(&post, "go", 2);
    fault_sys_clear_counts();
    pump_until(&post.world, post.received.length == 2);
    require_equal(fault_sys_count(FAULT_SEND), 2);
    require_taken(&post, "b");
    require_taken(&post, "c");
    post_close(&post);
}
END_TEST

static void send_back(struct post *post, const char *event)
{
    if (strcmp(event, "received") == 0)
        require_equal(post_send(post, "x"), 0);
}

START_TEST(answers_to_a_batch_leave_together)
{
    struct post post;

    post_open(&post, FAMILY_INET);
    post.hook = send_back;
    fault_sys_freeze_clock();
    for (int i = 0; i < 4; i++)
        peer_send(&post, "go", 2);
    fault_sys_clear_counts();
    pump_until(&post.world, post.received.length == 8);
    require_equal(fault_sys_count(FAULT_SEND), 1);
    for (int i = 0; i < 4; i++)
        require_taken(&post, "x");
    post_close(&post);
}
END_TEST

static void send_back_slowly(struct post *post, const char *event)
{
    if (strcmp(event, "received") != 0)
        return;
    /* The answer to the one before has left. */
    if (post->hooks++ > 0)
        require_taken(post, "x");
    require_equal(post_send(post, "x"), 0);
    fault_sys_advance_clock(1000);
}

START_TEST(answer_does_not_wait_for_slow_callbacks)
{
    struct post post;

    post_open(&post, FAMILY_INET);
    post.hook = send_back_slowly;
    fault_sys_freeze_clock();
    for (int i = 0; i < 4; i++)
        peer_send(&post, "go", 2);
    pump_until(&post.world, post.received.length == 8);
    require_taken(&post, "x");
    require_equal(post.hooks, 4);
    post_close(&post);
}
END_TEST

static void send_many(struct post *post, const char *event)
{
    if (strcmp(event, "received") == 0)
        for (int i = 0; i < LONG_ENOUGH; i++)
            require_equal(post_send(post, "x"), 0);
}

START_TEST(gathering_neither_grows_nor_asks_to_wait)
{
    struct post post;

    post_open(&post, FAMILY_INET);
    require_equal(afn_datagram_set_write_limits(post.datagram, (size_t)_i * 50, 0), 0);
    post.hook = send_many;
    peer_send(&post, "go", 2);
    pump_until(&post.world, post.received.length == 2);
    for (int i = 0; i < LONG_ENOUGH; i++)
        require_taken(&post, "x");
    require_string(post.story, "received(2)");
    require_equal(get_stats(&post).high_water_hits, 0);
    post_close(&post);
}
END_TEST

START_TEST(refusal_of_a_queued_datagram_is_told_and_the_others_leave)
{
    struct post post;

    post_open(&post, (enum family)_i);
    fault_sys_fail(FAULT_SEND, 0, 1, -EAGAIN);
    require_equal(post_send(&post, "one"), 0);
    require_equal(post_send(&post, "two"), 0);
    require_equal(post_send(&post, "three"), 0);
    fault_sys_fail(FAULT_SEND, 0, 2, -EPERM);
    pump_until(&post.world, afn_datagram_get_write_buffer_size(post.datagram) == 0);
    require_string(post.story, "failed(-1) failed(-1)");
    require_taken(&post, "three");
    require(peer_take(&post) == NULL);
    post_close(&post);
}
END_TEST

/* The kernel tells nobody that is not connected when the queue of another Unix socket has room. */
START_TEST(full_queue_of_another_unix_socket_is_tried_again)
{
    struct post post;
    int result = 0, sent = 0;

    post_open(&post, FAMILY_UNIX);
    if (_i == 1)
        post_connect(&post);
    while (afn_datagram_get_write_buffer_size(post.datagram) == 0 && sent < 10000) {
        result = _i == 1 ? afn_datagram_send(post.datagram, "x", 1, NULL, 0)
                         : post_send(&post, "x");
        require_equal(result, 0);
        sent++;
    }
    require(sent < 10000);
    pump_dispatch(&post.world);
    require(afn_datagram_get_write_buffer_size(post.datagram) > 0);
    for (int i = 0; i < sent - 1; i++)
        require_taken(&post, "x");
    fault_sys_advance_clock(SECOND);
    pump_until(&post.world, afn_datagram_get_write_buffer_size(post.datagram) == 0);
    require_taken(&post, "x");
    post_close(&post);
}
END_TEST

START_TEST(socket_that_cannot_be_watched_for_room_is_lost)
{
    struct post post;

    post_open(&post, FAMILY_INET);
    fault_sys_fail(FAULT_SEND, 0, 1, -EAGAIN);
    fault_sys_fail(FAULT_EPOLL_MODIFY, 0, 1, -ENOMEM);
    require_equal(post_send(&post, "x"), 0);
    require_equal(afn_datagram_get_write_buffer_size(post.datagram), 0);
    pump_until(&post.world, post.is_over);
    require_string(post.story, "closed(-12)");
    fault_sys_reset();
    post_close(&post);
}
END_TEST

/* ---- watermarks ---- */

START_TEST(marks_ask_to_wait_and_say_when_to_go_on)
{
    struct post post;
    size_t high, low;

    post_open(&post, FAMILY_INET);
    require_equal(afn_datagram_set_write_limits(post.datagram, 1, 2), -EINVAL);
    require_equal(afn_datagram_set_write_limits(post.datagram, AFN_DATAGRAM_DEFAULT_LIMIT,
                                                AFN_DATAGRAM_DEFAULT_LIMIT),
                  0);
    afn_datagram_get_write_limits(post.datagram, &high, &low);
    require_equal(high, 65536);
    require_equal(low, 16384);
    require_equal(afn_datagram_set_write_limits(post.datagram, AFN_DATAGRAM_DEFAULT_LIMIT, 5), 0);
    afn_datagram_get_write_limits(post.datagram, &high, &low);
    require_equal(high, 20);
    require_equal(low, 5);
    require_equal(afn_datagram_set_header_size(post.datagram, 1), 0);
    fault_sys_fail(FAULT_SEND, 0, 1, -EAGAIN);
    require_equal(post_send(&post, "nineteen characters"), 0);
    require_equal(afn_datagram_get_write_buffer_size(post.datagram), 20);
    require_equal(afn_datagram_set_header_size(post.datagram, 9), -EBUSY);
    require_equal(post_send(&post, ""), 1);
    require_equal(post_send(&post, ""), 1);
    require_equal(get_stats(&post).high_water_hits, 1);
    pump_until(&post.world, post.story[0] != '\0');
    require_string(post.story, "writable");
    require_equal(afn_datagram_get_write_buffer_size(post.datagram), 0);
    post_close(&post);
}
END_TEST

START_TEST(marks_that_are_moved_work_at_once)
{
    struct post post;

    post_open(&post, FAMILY_INET);
    fault_sys_fail(FAULT_SEND, 0, 1, -EAGAIN);
    require_equal(post_send(&post, "something"), 0);
    require_equal(afn_datagram_set_write_limits(post.datagram, 0, 0), 1);
    require_equal(afn_datagram_set_write_limits(post.datagram, 1000, 900), 0);
    fault_sys_fail(FAULT_SEND, 0, 1, -EAGAIN);
    pump_until(&post.world, post.story[0] != '\0');
    require_string(post.story, "writable");
    pump_until(&post.world, afn_datagram_get_write_buffer_size(post.datagram) == 0);
    post_close(&post);
}
END_TEST

/* ---- the end ---- */

START_TEST(close_sends_what_is_queued_and_delivers_no_more)
{
    struct post post;

    post_open(&post, (enum family)_i);
    fault_sys_fail(FAULT_SEND, 0, 1, -EAGAIN);
    require_equal(post_send(&post, "one"), 0);
    require_equal(post_send(&post, "two"), 0);
    peer_send(&post, "late", 4);
    afn_datagram_close(post.datagram);
    afn_datagram_close(post.datagram);
    require(afn_datagram_is_closing(post.datagram));
    require_equal(post_send(&post, "three"), -EPIPE);
    require_string(post.story, "");
    pump_until(&post.world, post.is_over);
    require_string(post.story, "closed(0)");
    require_taken(&post, "one");
    require_taken(&post, "two");
    require(peer_take(&post) == NULL);
    require_equal(afn_datagram_get_fd(post.datagram), -1);
    post_close(&post);
}
END_TEST

START_TEST(close_goes_on_after_a_refusal)
{
    struct post post;

    post_open(&post, FAMILY_INET);
    fault_sys_fail(FAULT_SEND, 0, 1, -EAGAIN);
    require_equal(post_send(&post, "one"), 0);
    require_equal(post_send(&post, "two"), 0);
    fault_sys_fail(FAULT_SEND, 0, 1, -EPERM);
    afn_datagram_close(post.datagram);
    pump_until(&post.world, post.is_over);
    require_string(post.story, "failed(-1) closed(0)");
    require_taken(&post, "two");
    post_close(&post);
}
END_TEST

START_TEST(abort_drops_what_is_queued)
{
    struct post post;

    post_open(&post, FAMILY_INET);
    fault_sys_fail(FAULT_SEND, 0, 1, -EAGAIN);
    require_equal(post_send(&post, "one"), 0);
    if (_i == 1)
        afn_datagram_close(post.datagram);
    afn_datagram_abort(post.datagram, -ECANCELED);
    afn_datagram_abort(post.datagram, -EIO);
    require_equal(afn_datagram_get_write_buffer_size(post.datagram), 0);
    pump_until(&post.world, post.is_over);
    require_string(post.story, "closed(-125)");
    require(peer_take(&post) == NULL);
    post_close(&post);
}
END_TEST

static void take_at_the_end(struct post *post, const char *event)
{
    if (strcmp(event, "closed") != 0)
        return;
    require_equal(afn_datagram_take_fd(post->datagram), post->fd);
    require_equal(afn_datagram_take_fd(post->datagram), -EBADF);
}

START_TEST(descriptor_may_be_taken_inside_closed)
{
    struct post post;

    post_open(&post, FAMILY_INET);
    require_equal(afn_datagram_take_fd(post.datagram), -EBUSY);
    post.hook = take_at_the_end;
    afn_datagram_close(post.datagram);
    pump_until(&post.world, post.is_over);
    require(sockets_is_open(post.fd));
    close(post.fd);
    post_close(&post);
}
END_TEST

enum ending { ENDING_CLOSE, ENDING_ABORT, ENDING_UNREF, ENDING_CLOSE_UNREF, ENDINGS };
static enum ending ending;
static const char *ending_event;

static void end_there(struct post *post, const char *event)
{
    if (strcmp(event, ending_event) != 0 || post->hooks++ > 0)
        return;
    if (ending == ENDING_CLOSE || ending == ENDING_CLOSE_UNREF)
        afn_datagram_close(post->datagram);
    if (ending == ENDING_ABORT)
        afn_datagram_abort(post->datagram, 0);
    if (ending == ENDING_UNREF)
        post->is_over = true;
    if (ending == ENDING_UNREF || ending == ENDING_CLOSE_UNREF)
        afn_datagram_unref(post->datagram);
}

/* In each callback, with datagrams waiting both ways. */
START_TEST(datagram_may_be_ended_inside_each_callback)
{
    const char *const events[] = {"received", "failed", "writable", "closed"};
    struct post post;
    bool is_unref;

    ending = (enum ending)(_i % ENDINGS);
    ending_event = events[_i / ENDINGS];
    is_unref = ending == ENDING_UNREF || ending == ENDING_CLOSE_UNREF;
    post_open(&post, FAMILY_INET);
    post.hook = end_there;
    for (int i = 0; i < 3; i++)
        peer_send(&post, "x", 1);
    require_equal(afn_datagram_set_write_limits(post.datagram, 4, 2), 0);
    fault_sys_fail(FAULT_SEND, 0, 1, -EAGAIN);
    require_equal(post_send(&post, "refused"), 1);
    require_equal(post_send(&post, "sent"), 1);
    fault_sys_fail(FAULT_SEND, 0, 1, -EPERM);
    if (strcmp(ending_event, "closed") == 0)
        afn_datagram_close(post.datagram);
    pump_until(&post.world, post.is_over);
    pump_idle(&post.world);
    require_equal(post.hooks, 1);
    if (is_unref)
        post.datagram = NULL;
    post_close(&post);
}
END_TEST

START_TEST(unref_frees_without_a_word)
{
    struct post post;

    post_open(&post, FAMILY_INET);
    fault_sys_fail(FAULT_SEND, 0, 1, -EAGAIN);
    require_equal(post_send(&post, "never"), 0);
    peer_send(&post, "x", 1);
    require(afn_datagram_ref(post.datagram) == post.datagram);
    require(afn_datagram_unref(post.datagram) == NULL);
    require(sockets_is_open(post.fd));
    require(afn_datagram_unref(post.datagram) == NULL);
    require(!sockets_is_open(post.fd));
    post.is_over = true;
    post.datagram = NULL;
    pump_idle(&post.world);
    require(peer_take(&post) == NULL);
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
    peer_send(&post, "a", 1);
    pump_until(&post.world, post.story[0] != '\0');
    pump_idle(&post.world);
    peer_send(&post, "b", 1);
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
    const struct afn_datagram_handler least = {.size = sizeof least, .received = on_received};
    struct post post;

    post_open_with(&post, FAMILY_INET, &least, 0);
    fault_sys_fail(FAULT_SEND, 0, 1, -EAGAIN);
    require_equal(afn_datagram_set_write_limits(post.datagram, 0, 0), 0);
    require_equal(post_send(&post, "refused"), 1);
    fault_sys_fail(FAULT_SEND, 0, 1, -EPERM);
    fault_sys_fail(FAULT_RECV, 0, 1, -ECONNREFUSED);
    peer_send(&post, "x", 1);
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
    struct afn_datagram_handler bad = handler;
    struct afn_datagram_stats stats;
    struct afn_reactor *reactor;
    int fd;

    post_open(&post, FAMILY_INET);
    require_equal(afn_reactor_new(&reactor), 0);
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bad.received = NULL;
    require_equal(afn_datagram_new(reactor, fd, NULL, NULL, 0, &datagram), -EINVAL);
    require_equal(afn_datagram_new(reactor, fd, &bad, NULL, 0, &datagram), -EINVAL);
    bad = handler;
    bad.size = 0;
    require_equal(afn_datagram_new(reactor, fd, &bad, NULL, 0, &datagram), -EINVAL);
    require_equal(afn_datagram_new(reactor, fd, &handler, NULL, 2, &datagram), -EINVAL);
    require_equal(afn_datagram_new(reactor, -1, &handler, NULL, 0, &datagram), -EINVAL);
    require_equal(afn_datagram_new(NULL, fd, &handler, NULL, 0, &datagram), -EINVAL);
    for (unsigned int k = 1; k <= 2; k++) {
        fault_alloc_arm(k, false);
        require_equal(afn_datagram_new(reactor, fd, &handler, NULL, 0, &datagram), -ENOMEM);
        require(fault_alloc_disarm());
    }
    fault_sys_fail(FAULT_GET_KIND, 0, 1, -ENOTSOCK);
    require_equal(afn_datagram_new(reactor, fd, &handler, NULL, 0, &datagram), -ENOTSOCK);
    fault_sys_fail(FAULT_SET_NONBLOCKING, 0, 1, -EBADF);
    require_equal(afn_datagram_new(reactor, fd, &handler, NULL, 0, &datagram), -EBADF);
    fault_sys_fail(FAULT_EPOLL_ADD, 0, 1, -ENOSPC);
    require_equal(afn_datagram_new(reactor, fd, &handler, NULL, 0, &datagram), -ENOSPC);
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
        peer_send(&post, &"012"[i], 1);
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
        {datagram_leaves_at_once_through_a_connected_socket, FAMILIES},
        {refusal_of_the_kernel_is_the_result, 1},
        {answer_that_nobody_listens_is_told_and_is_not_the_end, FAMILY_UNIX},
        {what_the_kernel_does_not_take_is_queued_and_sent_in_order, FAMILIES},
        {queue_leaves_in_batches_as_far_as_the_kernel_takes_it, 2},
        {datagrams_sent_in_a_callback_leave_together, FAMILIES},
        {answers_to_a_batch_leave_together, 1},
        {answer_does_not_wait_for_slow_callbacks, 1},
        {gathering_neither_grows_nor_asks_to_wait, 3},
        {refusal_of_a_queued_datagram_is_told_and_the_others_leave, FAMILIES},
        {full_queue_of_another_unix_socket_is_tried_again, 2},
        {socket_that_cannot_be_watched_for_room_is_lost, 1},
        {marks_ask_to_wait_and_say_when_to_go_on, 1},
        {marks_that_are_moved_work_at_once, 1},
        {close_sends_what_is_queued_and_delivers_no_more, FAMILIES},
        {close_goes_on_after_a_refusal, 1},
        {abort_drops_what_is_queued, 2},
        {descriptor_may_be_taken_inside_closed, 1},
        {datagram_may_be_ended_inside_each_callback, 4 * ENDINGS},
        {unref_frees_without_a_word, 1},
        {errors_of_receiving_are_told_once_each, 4 * FAMILIES},
        {handler_needs_nothing_but_received, 1},
        {datagram_that_cannot_be_made_leaves_the_socket_alone, 1},
        {lack_of_memory_costs_one_datagram, 1},
    };

    return harness_main("datagram", cases, COUNT_OF(cases));
}
