/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* Datagrams that leave, wait or are refused, and the watermarks. */
#include <errno.h>
#include <sys/socket.h>
#include <string.h>
#include <unistd.h>

#include "fault-sys.h"
#include "harness.h"
#include "post.h"

#define LONG_ENOUGH 200 /* datagrams */

/* ---- sending ---- */

START_TEST(datagram_leaves_at_once_through_a_connected_socket)
{
    struct post post;

    post_open(&post, (enum family)_i);
    post_connect(&post);
    require_equal(afn_datagram_send(post.datagram, "now", 3, NULL, 0), 0);
    require_taken(&post, "now");
    require_equal(post_get_stats(&post).bytes_sent, 3);
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
    require(post_take(&post) == NULL);
    pump_until(&post.world, afn_datagram_get_write_buffer_size(post.datagram) == 0);
    require_taken(&post, "one");
    require_taken(&post, "three");
    require_equal(post_get_stats(&post).datagrams_sent, 2);
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
    require(post_take(post) == NULL);
}

START_TEST(datagrams_sent_in_a_callback_leave_together)
{
    struct post post;

    post_open(&post, (enum family)_i);
    post.hook = send_three;
    post_bring(&post, "go", 2);
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
        post_bring(&post, "go", 2);
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
        post_bring(&post, "go", 2);
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
    post_bring(&post, "go", 2);
    pump_until(&post.world, post.received.length == 2);
    for (int i = 0; i < LONG_ENOUGH; i++)
        require_taken(&post, "x");
    require_string(post.story, "received(2)");
    require_equal(post_get_stats(&post).high_water_hits, 0);
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
    require(post_take(&post) == NULL);
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
    require_equal(post_get_stats(&post).high_water_hits, 1);
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

int main(void)
{
    const struct harness_case cases[] = {
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
    };

    return harness_main("datagram-send", cases, COUNT_OF(cases));
}
