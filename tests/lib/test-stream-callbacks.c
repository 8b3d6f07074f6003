/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* T16, T19, T45: anything may be done to any stream in any callback. */
#include <errno.h>
#include <sys/socket.h>

#include "certificate.h"
#include "fault-sys.h"
#include "harness.h"
#include "world.h"

enum action {
    ACTION_WRITE,
    ACTION_PAUSE,
    ACTION_WRITE_EOF,
    ACTION_CLOSE,
    ACTION_ABORT,
    ACTION_UNREF,
    ACTION_CLOSE_UNREF,
    ACTION_ABORT_UNREF,
    ACTIONS
};

struct plan {
    enum event_kind when;
    enum action what;
    struct link *target;
    bool is_done;
};

static void act(struct link *link, enum action action)
{
    struct recorder *recorder = &link->recorder;

    switch (action) {
    case ACTION_WRITE:
        afn_stream_write(link->stream, "written", 7);
        break;
    case ACTION_PAUSE:
        recorder_pause(recorder);
        break;
    case ACTION_WRITE_EOF:
        afn_stream_write_eof(link->stream);
        break;
    case ACTION_CLOSE:
    case ACTION_CLOSE_UNREF:
        recorder_end(recorder);
        break;
    case ACTION_ABORT:
    case ACTION_ABORT_UNREF:
        recorder_abort(recorder, 0);
        break;
    default:
        break;
    }
    if (action == ACTION_UNREF || action == ACTION_CLOSE_UNREF || action == ACTION_ABORT_UNREF) {
        recorder_unref(recorder);
        link->stream = NULL;
    }
}

static void follow_plan(struct recorder *recorder, enum event_kind kind)
{
    struct plan *plan = recorder->hook_user;

    if (kind != plan->when || plan->is_done)
        return;
    plan->is_done = true;
    act(plan->target, plan->what);
}

static void provoke_writable(struct link *link)
{
    static const char zeros[65536];

    require_equal(afn_stream_set_write_limits(link->stream, 1000, 0), 0);
    while (afn_stream_write(link->stream, zeros, sizeof zeros) == 0)
        ;
}

/* Makes an event of the kind due, with more to come behind it. */
static void provoke(struct link *link, enum event_kind kind)
{
    switch (kind) {
    case EVENT_WRITABLE:
        provoke_writable(link);
        break;
    case EVENT_CLOSED:
        recorder_abort(&link->recorder, 0);
        break;
    default:
        break;
    }
    require(send(link->peer.fd, "12345678", 8, 0) == 8);
    require(shutdown(link->peer.fd, SHUT_WR) == 0);
}

static bool has_ended(const struct plan *plan)
{
    return plan->what == ACTION_CLOSE || plan->what == ACTION_CLOSE_UNREF ||
           plan->what == ACTION_ABORT || plan->what == ACTION_ABORT_UNREF;
}

static void try_plan(const struct afn_stream_handler *handler, enum event_kind when,
                     enum action what, bool is_other)
{
    struct world world;
    struct link one, other;
    struct plan plan = {.when = when, .what = what, .target = is_other ? &other : &one};

    world_open(&world);
    link_open(&one, &world, PAIR_UNIX, handler);
    link_open(&other, &world, PAIR_UNIX, handler);
    one.recorder.buffer_size = other.recorder.buffer_size = 3;
    one.recorder.keeps_open = true;
    one.recorder.hook = follow_plan;
    one.recorder.hook_user = &plan;
    provoke(&one, when);
    /* The other one has the same before it: its events are in the hands of dispatch already. */
    require(send(other.peer.fd, "12345678", 8, 0) == 8);
    require(shutdown(other.peer.fd, SHUT_WR) == 0);
    pump_until(&world, plan.is_done);
    pump_idle(&world);
    if (has_ended(&plan) || when == EVENT_CLOSED)
        require(recorder_is_closed(has_ended(&plan) ? &plan.target->recorder : &one.recorder));
    if (plan.target->stream == NULL)
        require(!sockets_is_open(plan.target->fd));
    link_close(&one);
    link_close(&other);
    world_close(&world);
}

START_TEST(any_callback_may_do_anything_to_its_stream)
{
    static const enum event_kind kinds[] = {EVENT_DATA, EVENT_EOF, EVENT_WRITABLE, EVENT_CLOSED};

    for (size_t kind = 0; kind < COUNT_OF(kinds); kind++)
        for (enum action action = 0; action < ACTIONS; action++)
            try_plan(_i ? &recorder_buffered_handler : &recorder_handler, kinds[kind], action,
                     false);
}
END_TEST

START_TEST(any_callback_may_do_anything_to_another_stream)
{
    static const enum event_kind kinds[] = {EVENT_DATA, EVENT_EOF, EVENT_WRITABLE, EVENT_CLOSED};

    for (size_t kind = 0; kind < COUNT_OF(kinds); kind++)
        for (enum action action = 0; action < ACTIONS; action++)
            try_plan(_i ? &recorder_buffered_handler : &recorder_handler, kinds[kind], action,
                     true);
}
END_TEST

/* The same on TLS, where more happens between two callbacks. */
static void try_tls_plan(int version, enum event_kind when, enum action what, bool is_other)
{
    struct world world;
    struct link one, other;
    struct plan plan = {.when = when, .what = what, .target = is_other ? &other : &one};
    static const struct afn_tls_options options = {
        .size = sizeof options,
        .handshake_timeout = MINUTE,
        .shutdown_timeout = MINUTE,
    };

    world_open(&world);
    link_open(&one, &world, PAIR_UNIX, &recorder_buffered_handler);
    link_open(&other, &world, PAIR_UNIX, NULL);
    one.recorder.buffer_size = 3;
    one.recorder.keeps_open = true;
    one.recorder.hook = follow_plan;
    one.recorder.hook_user = &plan;
    link_start_tls(&one, version, 1, &options);
    link_start_tls(&other, version, 0, &options);
    one.peer.is_polite = other.peer.is_polite = true;
    if (when == EVENT_WRITABLE)
        provoke_writable(&one);
    peer_write_text(&one.peer, "12345678");
    peer_write_text(&other.peer, "12345678");
    pump_until(&world, one.peer.is_secured);
    peer_shut_down_tls(&one.peer);
    if (when == EVENT_CLOSED)
        recorder_abort(&one.recorder, 0);
    pump_until(&world, plan.is_done);
    pump_idle(&world);
    if (has_ended(&plan))
        require(recorder_is_closed(&plan.target->recorder));
    link_close(&one);
    link_close(&other);
    world_close(&world);
}

START_TEST(any_callback_may_do_anything_to_streams_with_tls)
{
    for (enum event_kind kind = EVENT_DATA; kind <= EVENT_CLOSED; kind++)
        for (enum action action = 0; action < ACTIONS; action++)
            for (int is_other = 0; is_other < 2; is_other++)
                try_tls_plan(certificate_get_version(_i), kind, action, is_other);
}
END_TEST

/* What get_buffer does to its stream, and what it returns. */
static enum action buffer_action;
static bool gives_buffer;

static void act_in_get_buffer(struct afn_stream *stream, void *user, void **ret_buffer,
                              size_t *ret_length)
{
    struct link *link = user;

    require(stream == link->stream);
    require(!link->recorder.is_silent);
    act(link, buffer_action);
    *ret_buffer = gives_buffer ? link->recorder.buffer : NULL;
    *ret_length = gives_buffer ? sizeof link->recorder.buffer : 0;
}

static void fail_on_update(struct afn_stream *stream, void *user, size_t length)
{
    (void)stream;
    (void)user;
    harness_fail(__FILE__, __LINE__, "buffer_updated came with %zu bytes", length);
}

static void note_closed(struct afn_stream *stream, void *user, int error)
{
    struct link *link = user;

    (void)stream;
    link->recorder.counts[EVENT_CLOSED]++;
    link->recorder.error = error;
}

START_TEST(get_buffer_may_end_its_stream)
{
    static const enum action actions[] = {ACTION_CLOSE, ACTION_ABORT, ACTION_CLOSE_UNREF,
                                          ACTION_ABORT_UNREF, ACTION_UNREF};
    static const struct afn_stream_handler handler = {
        .size = sizeof handler,
        .get_buffer = act_in_get_buffer,
        .buffer_updated = fail_on_update,
        .closed = note_closed,
    };

    for (size_t i = 0; i < COUNT_OF(actions); i++) {
        struct world world;
        struct link link;

        buffer_action = actions[i];
        gives_buffer = _i;
        world_open(&world);
        link_open(&link, &world, PAIR_UNIX, &handler);
        require_equal(afn_stream_set_handler(link.stream, &handler, &link), 0);
        require_equal(afn_stream_write(link.stream, "kept", 4), 0);
        peer_write_text(&link.peer, "hello");
        if (actions[i] == ACTION_UNREF)
            pump_until(&world, link.stream == NULL);
        else
            pump_until(&world, recorder_is_closed(&link.recorder));
        pump_idle(&world);
        require_equal(link.recorder.counts[EVENT_CLOSED], actions[i] != ACTION_UNREF);
        require_equal(link.recorder.error, 0);
        require(!sockets_is_open(link.fd));
        link_close(&link);
        world_close(&world);
    }
}
END_TEST

/* A close inside get_buffer is a close: what is queued still leaves. */
START_TEST(get_buffer_that_closes_without_a_buffer_flushes)
{
    static const struct afn_stream_handler handler = {
        .size = sizeof handler,
        .get_buffer = act_in_get_buffer,
        .buffer_updated = fail_on_update,
        .closed = note_closed,
    };
    struct world world;
    struct link link;
    struct bytes sent = {0};

    buffer_action = ACTION_CLOSE;
    gives_buffer = _i;
    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, &handler);
    require_equal(afn_stream_set_handler(link.stream, &handler, &link), 0);
    bytes_fill(&sent, 2000000, 12);
    sockets_shrink(link.fd);
    require_equal(afn_stream_write(link.stream, sent.data, sent.length), 1);
    require(send(link.peer.fd, "x", 1, 0) == 1);
    pump_until(&world, recorder_is_closed(&link.recorder));
    /* The end itself may be a reset, since what the peer wrote was not read. */
    pump_until(&world, link.peer.has_eof || link.peer.error != 0);
    require_equal(link.recorder.error, 0);
    require_same(&link.peer.received, &sent);
    bytes_free(&sent);
    link_close(&link);
    world_close(&world);
}
END_TEST

static void pause_all(struct recorder *recorder, enum event_kind kind)
{
    const struct world *world = recorder->hook_user;

    (void)kind;
    (void)world;
    recorder_pause(recorder);
    recorder_resume(recorder);
    recorder_pause(recorder);
}

START_TEST(pause_after_resume_in_one_callback_is_pause)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, &recorder_buffered_handler);
    link.recorder.buffer_size = 2;
    link.recorder.hook = pause_all;
    require(send(link.peer.fd, "123456", 6, 0) == 6);
    require(shutdown(link.peer.fd, SHUT_WR) == 0);
    pump_idle(&world);
    require_story(&link.recorder, "data(2)");
    require(!pump_is_ready(&world));
    link.recorder.hook = NULL;
    recorder_resume(&link.recorder);
    require(pump_is_ready(&world));
    recorder_pause(&link.recorder);
    pump_idle(&world);
    require_story(&link.recorder, "data(2)");
    recorder_resume(&link.recorder);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_story(&link.recorder, "data(6) eof closed(0)");
    link_close(&link);
    world_close(&world);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {any_callback_may_do_anything_to_its_stream, 2},
        {any_callback_may_do_anything_to_another_stream, 2},
        {any_callback_may_do_anything_to_streams_with_tls, TLS_VERSIONS},
        {get_buffer_may_end_its_stream, 2},
        {get_buffer_that_closes_without_a_buffer_flushes, 2},
        {pause_after_resume_in_one_callback_is_pause, 1},
    };

    return harness_main("stream-callbacks", cases, COUNT_OF(cases));
}
