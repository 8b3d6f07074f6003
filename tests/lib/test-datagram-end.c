/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* The end of datagram sockets. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fault-sys.h"
#include "harness.h"
#include "post.h"

START_TEST(close_sends_what_is_queued_and_delivers_no_more)
{
    struct post post;

    post_open(&post, (enum family)_i);
    fault_sys_fail(FAULT_SEND, 0, 1, -EAGAIN);
    require_equal(post_send(&post, "one"), 0);
    require_equal(post_send(&post, "two"), 0);
    post_bring(&post, "late", 4);
    afn_datagram_close(post.datagram);
    afn_datagram_close(post.datagram);
    require(afn_datagram_is_closing(post.datagram));
    require_equal(post_send(&post, "three"), -EPIPE);
    require_string(post.story, "");
    pump_until(&post.world, post.is_over);
    require_string(post.story, "closed(0)");
    require_taken(&post, "one");
    require_taken(&post, "two");
    require(post_take(&post) == NULL);
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
    require(post_take(&post) == NULL);
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
        post_bring(&post, "x", 1);
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
    post_bring(&post, "x", 1);
    require(afn_datagram_ref(post.datagram) == post.datagram);
    require(afn_datagram_unref(post.datagram) == NULL);
    require(sockets_is_open(post.fd));
    require(afn_datagram_unref(post.datagram) == NULL);
    require(!sockets_is_open(post.fd));
    post.is_over = true;
    post.datagram = NULL;
    pump_idle(&post.world);
    require(post_take(&post) == NULL);
    post_close(&post);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {close_sends_what_is_queued_and_delivers_no_more, FAMILIES},
        {close_goes_on_after_a_refusal, 1},
        {abort_drops_what_is_queued, 2},
        {descriptor_may_be_taken_inside_closed, 1},
        {datagram_may_be_ended_inside_each_callback, 4 * ENDINGS},
        {unref_frees_without_a_word, 1},
    };

    return harness_main("datagram-end", cases, COUNT_OF(cases));
}
