/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* An engine of the program's own in the place of OpenSSL's. */
#include <errno.h>
#include <string.h>

#include "fault-alloc.h"
#include "fault-sys.h"
#include "harness.h"
#include "world.h"

/*
 * A toy cipher: frames of a kind, a length of one byte, and bytes that are turned round by a key.
 * Handshakes are one 'H' each way, the goodbye is 'E', and 'G' lets the other side write again.
 */
#define KEY 0x5A
#define FRAME 200

enum step { STEP_HANDSHAKE, STEP_READ, STEP_WRITE, STEP_SHUTDOWN, STEP_FEED, STEP_SETTLE, STEPS };

struct toy {
    struct afn_stream *stream;
    struct recorder *recorder;
    struct bytes input;
    struct bytes output;
    struct bytes given; /* lent by drain */
    bool has_news;      /* since the last -EAGAIN */
    bool has_greeted;
    bool was_greeted;
    bool has_ended;
    bool was_ended;
    bool must_wait; /* to write, until a 'G' comes */
    bool is_busy;   /* cannot say goodbye, until a 'G' comes */
    unsigned int shutdowns;
    unsigned int destroyed;
    enum step fails_at;
    int error;   /* of that step; 0 for none */
    bool aborts; /* in that step */
};

static int meet(struct toy *toy, enum step step)
{
    require_equal(toy->destroyed, 0);
    if (step != toy->fails_at)
        return 0;
    if (toy->aborts && toy->stream != NULL)
        recorder_abort(toy->recorder, -ECANCELED);
    return toy->error;
}

static void put_frame(struct toy *toy, char kind, const unsigned char *data, size_t length)
{
    unsigned char head[2] = {(unsigned char)kind, (unsigned char)length};

    bytes_append(&toy->output, head, sizeof head);
    for (size_t i = 0; i < length; i++) {
        unsigned char turned = data[i] ^ KEY;

        bytes_append(&toy->output, &turned, 1);
    }
}

/* The kind of the next whole frame, or 0. */
static char get_kind(const struct toy *toy)
{
    if (toy->input.length < 2 || toy->input.length < 2u + toy->input.data[1])
        return 0;
    return (char)toy->input.data[0];
}

static void drop_frame(struct toy *toy)
{
    bytes_remove_front(&toy->input, 2u + toy->input.data[1]);
}

static int toy_handshake(void *user)
{
    struct toy *toy = user;
    int error = meet(toy, STEP_HANDSHAKE);

    if (error < 0)
        return error;
    if (!toy->has_greeted)
        put_frame(toy, 'H', NULL, 0);
    toy->has_greeted = true;
    if (get_kind(toy) == 'H') {
        drop_frame(toy);
        return 0;
    }
    toy->has_news = false;
    return get_kind(toy) == 0 ? -EAGAIN : -EPROTO;
}

static ssize_t toy_read(void *user, void *buffer, size_t length)
{
    struct toy *toy = user;
    unsigned char *target = buffer;
    int error = meet(toy, STEP_READ);
    size_t count;

    if (error < 0)
        return error;
    if (get_kind(toy) == 'G') {
        toy->must_wait = toy->is_busy = false;
        drop_frame(toy);
    }
    switch (get_kind(toy)) {
    case 0:
        toy->has_news = false;
        return -EAGAIN;
    case 'E':
        toy->was_ended = true;
        return 0;
    case 'D':
        break;
    default:
        return -EPROTO;
    }
    count = toy->input.data[1] < length ? toy->input.data[1] : length;
    for (size_t i = 0; i < count; i++)
        target[i] = toy->input.data[2 + i] ^ KEY;
    if (count == toy->input.data[1]) {
        drop_frame(toy);
        return (ssize_t)count;
    }
    /* The rest of the frame becomes a frame of its own. */
    toy->input.data[count] = toy->input.data[0];
    toy->input.data[count + 1] = (unsigned char)(toy->input.data[1] - count);
    bytes_remove_front(&toy->input, count);
    return (ssize_t)count;
}

static int toy_write(void *user, const void *data, size_t length)
{
    struct toy *toy = user;
    int error = meet(toy, STEP_WRITE);

    if (error < 0)
        return error;
    if (toy->must_wait)
        return -EAGAIN;
    for (size_t done = 0; done < length; done += FRAME)
        put_frame(toy, 'D', (const unsigned char *)data + done,
                  length - done < FRAME ? length - done : FRAME);
    return 0;
}

static int toy_shutdown(void *user)
{
    struct toy *toy = user;
    int error = meet(toy, STEP_SHUTDOWN);

    toy->shutdowns++;
    if (error < 0)
        return error;
    if (toy->is_busy)
        return -EBUSY;
    if (!toy->has_ended)
        put_frame(toy, 'E', NULL, 0);
    toy->has_ended = true;
    return toy->was_ended ? 0 : -EAGAIN;
}

static int toy_feed(void *user, const void *data, size_t length)
{
    struct toy *toy = user;
    int error = meet(toy, STEP_FEED);

    bytes_append(&toy->input, data, length);
    toy->has_news = true;
    return error;
}

static int toy_settle(void *user)
{
    return meet(user, STEP_SETTLE);
}

static int toy_has_input(void *user)
{
    const struct toy *toy = user;

    return toy->has_news && toy->input.length > 0;
}

static void toy_drain(void *user, const void **ret_data, size_t *ret_length)
{
    struct toy *toy = user;

    toy->given.length = 0;
    bytes_append(&toy->given, toy->output.data, toy->output.length);
    toy->output.length = 0;
    *ret_data = toy->given.data;
    *ret_length = toy->given.length;
}

static void toy_destroy(void *user)
{
    struct toy *toy = user;

    toy->destroyed++;
    toy->stream = NULL;
}

static const struct afn_engine_ops toy_ops = {
    .size = sizeof toy_ops,
    .handshake = toy_handshake,
    .read = toy_read,
    .write = toy_write,
    .shutdown = toy_shutdown,
    .feed = toy_feed,
    .settle = toy_settle,
    .has_input = toy_has_input,
    .drain = toy_drain,
    .destroy = toy_destroy,
};

/* Two streams with an engine each, joined. */
struct side {
    struct afn_stream *stream;
    struct recorder recorder;
    struct toy toy;
    bool has_engine;
};

static void side_open(struct side *side, struct world *world, int fd)
{
    memset(side, 0, sizeof *side);
    side->toy.fails_at = STEPS;
    require_equal(
        afn_stream_new(world->reactor, fd, &recorder_handler, &side->recorder, 0, &side->stream),
        0);
    recorder_open(&side->recorder, side->stream);
    side->toy.stream = side->stream;
    side->toy.recorder = &side->recorder;
}

static void side_start(struct side *side)
{
    static const struct afn_tls_options options = {
        .size = sizeof options,
        .handshake_timeout = MINUTE,
        .shutdown_timeout = MINUTE,
    };

    require_equal(afn_stream_start_engine(side->stream, &toy_ops, &side->toy, &options), 0);
    side->has_engine = true;
    require(afn_stream_get_ssl(side->stream) == NULL);
    require_equal(afn_stream_get_tls_error(side->stream), 0);
}

static void side_close(struct side *side)
{
    afn_stream_unref(side->stream);
    require_equal(side->toy.destroyed, side->has_engine);
    bytes_free(&side->toy.input);
    bytes_free(&side->toy.output);
    bytes_free(&side->toy.given);
    recorder_close(&side->recorder);
}

static void open_both(struct world *world, struct side *left, struct side *right)
{
    int fds[2];

    world_open(world);
    sockets_make_pair(PAIR_UNIX, fds);
    side_open(left, world, fds[0]);
    side_open(right, world, fds[1]);
}

static void close_both(struct world *world, struct side *left, struct side *right)
{
    side_close(left);
    side_close(right);
    world_close(world);
}

static void start_both(struct world *world, struct side *left, struct side *right)
{
    side_start(left);
    side_start(right);
    pump_until(world, left->recorder.counts[EVENT_SECURED] == 1 &&
                          right->recorder.counts[EVENT_SECURED] == 1);
    pump_idle(world);
}

START_TEST(engine_of_the_program_carries_bytes_both_ways)
{
    struct world world;
    struct side left, right;
    struct bytes up = {0};
    struct bytes down = {0};

    open_both(&world, &left, &right);
    start_both(&world, &left, &right);
    bytes_fill(&up, 500000, 60);
    bytes_fill(&down, 500000, 61);
    require(afn_stream_write(left.stream, up.data, up.length) >= 0);
    require(afn_stream_write(right.stream, down.data, down.length) >= 0);
    pump_until(&world,
               left.recorder.data.length >= down.length && right.recorder.data.length >= up.length);
    require_same(&right.recorder.data, &up);
    require_same(&left.recorder.data, &down);
    bytes_free(&up);
    bytes_free(&down);
    close_both(&world, &left, &right);
}
END_TEST

START_TEST(engine_of_the_program_ends_in_both_directions)
{
    struct world world;
    struct side left, right;

    open_both(&world, &left, &right);
    start_both(&world, &left, &right);
    require_equal(afn_stream_write(left.stream, "bye", 3), 0);
    recorder_end(&left.recorder);
    pump_until(&world, recorder_is_closed(&left.recorder) && recorder_is_closed(&right.recorder));
    require_story(&left.recorder, "secured closed(0)");
    require_story(&right.recorder, "secured data(3) eof closed(0)");
    require(right.toy.has_ended && left.toy.was_ended);
    close_both(&world, &left, &right);
}
END_TEST

START_TEST(engine_of_the_program_takes_received_bytes)
{
    struct world world;
    struct side left, right;
    static const char received[] = "H\0D\5\x32\x3f\x36\x36\x35";
    const struct afn_tls_options options = {
        .size = sizeof options, .received = received, .received_length = sizeof received - 1};

    open_both(&world, &left, &right);
    require_equal(afn_stream_start_engine(left.stream, &toy_ops, &left.toy, &options), 0);
    require_equal(afn_stream_start_engine(right.stream, &toy_ops, &right.toy, NULL), 0);
    left.has_engine = right.has_engine = true;
    pump_until(&world, left.recorder.data.length == 5);
    require_content(&left.recorder.data, "hello");
    close_both(&world, &left, &right);
}
END_TEST

START_TEST(engine_that_must_read_before_it_writes_is_asked_again)
{
    struct world world;
    struct side left, right;

    open_both(&world, &left, &right);
    start_both(&world, &left, &right);
    left.toy.must_wait = true;
    require_equal(afn_stream_write(left.stream, "later", 5), 0);
    require_equal(afn_stream_write(left.stream, " on", 3), 0);
    pump_idle(&world);
    require_equal(afn_stream_get_write_buffer_size(left.stream), 8);
    require_equal(right.recorder.data.length, 0);
    put_frame(&right.toy, 'G', NULL, 0);
    require_equal(afn_stream_write(right.stream, "x", 1), 0);
    pump_until(&world, right.recorder.data.length == 8);
    require_content(&right.recorder.data, "later on");
    close_both(&world, &left, &right);
}
END_TEST

static void start_busy(struct world *world, struct side *left, struct side *right)
{
    open_both(world, left, right);
    start_both(world, left, right);
    left->toy.is_busy = true;
}

/* Lets an engine that is busy say its goodbye. */
static void release_busy(struct world *world, struct side *side, struct side *other)
{
    pump_idle(world);
    require_equal(side->toy.shutdowns, 1);
    require(!side->toy.has_ended && !recorder_is_closed(&side->recorder));
    put_frame(&other->toy, 'G', NULL, 0);
    require_equal(afn_stream_write(other->stream, "x", 1), 0);
    pump_until(world, side->toy.has_ended);
    require(side->toy.shutdowns > 1);
}

START_TEST(engine_that_is_busy_at_the_close_is_asked_again)
{
    struct world world;
    struct side left, right;

    start_busy(&world, &left, &right);
    recorder_end(&left.recorder);
    release_busy(&world, &left, &right);
    pump_until(&world, recorder_is_closed(&left.recorder) && recorder_is_closed(&right.recorder));
    require_story(&left.recorder, "secured closed(0)");
    require_story(&right.recorder, "secured eof closed(0)");
    close_both(&world, &left, &right);
}
END_TEST

START_TEST(engine_that_is_busy_at_write_eof_is_asked_again)
{
    struct world world;
    struct side left, right;

    start_busy(&world, &left, &right);
    right.recorder.keeps_open = true;
    require_equal(afn_stream_write_eof(left.stream), 0);
    release_busy(&world, &left, &right);
    pump_until(&world, right.recorder.counts[EVENT_EOF] == 1);
    require_story(&left.recorder, "secured data(1)");
    close_both(&world, &left, &right);
}
END_TEST

/* An engine that was busy has not said goodbye: what ends the stream meanwhile is told. */
START_TEST(engine_that_is_busy_at_the_close_may_still_fail)
{
    struct world world;
    struct side left, right;

    start_busy(&world, &left, &right);
    recorder_end(&left.recorder);
    pump_idle(&world);
    require_equal(left.toy.shutdowns, 1);
    if (_i == 0)
        fault_sys_advance_clock(2 * MINUTE);
    else
        recorder_abort(&right.recorder, 0);
    pump_until(&world, recorder_is_closed(&left.recorder));
    require_equal(left.recorder.error, _i == 0 ? AFN_ERR_SHUTDOWN_TIMEOUT : 0);
    close_both(&world, &left, &right);
}
END_TEST

/* T16: every function of an engine may fail, or abort the stream. */
static void provoke(struct world *world, struct side *left, struct side *right)
{
    side_start(left);
    side_start(right);
    afn_stream_write(left->stream, "left", 4);
    afn_stream_write(right->stream, "right", 5);
    for (int i = 0; i < 50 && !recorder_is_closed(&left->recorder) && pump_is_ready(world); i++)
        pump_dispatch(world);
    recorder_end(&left->recorder);
    pump_until(world, recorder_is_closed(&left->recorder));
}

START_TEST(engine_that_fails_ends_the_stream_with_its_error)
{
    for (enum step step = 0; step < STEPS; step++) {
        struct world world;
        struct side left, right;

        /* What fails after the goodbye has nothing to say any more. */
        if (step == STEP_SHUTDOWN)
            continue;
        open_both(&world, &left, &right);
        left.toy.fails_at = step;
        left.toy.error = -EBADMSG;
        provoke(&world, &left, &right);
        require_equal(left.recorder.error, -EBADMSG);
        /* settle comes after the data. */
        require_equal(left.recorder.data.length, step == STEP_SETTLE ? 5 : 0);
        close_both(&world, &left, &right);
    }
}
END_TEST

START_TEST(engine_may_abort_its_stream)
{
    for (enum step step = 0; step < STEPS; step++) {
        struct world world;
        struct side left, right;

        open_both(&world, &left, &right);
        left.toy.fails_at = step;
        left.toy.aborts = true;
        /* With and without an error of its own besides. */
        left.toy.error = _i ? -EBADMSG : 0;
        provoke(&world, &left, &right);
        require_equal(left.recorder.error, -ECANCELED);
        close_both(&world, &left, &right);
    }
}
END_TEST

START_TEST(engine_is_destroyed_once_however_the_stream_ends)
{
    for (int way = 0; way < 4; way++) {
        struct world world;
        struct side left, right;

        open_both(&world, &left, &right);
        if (way < 3)
            start_both(&world, &left, &right);
        else
            side_start(&left);
        if (way == 0)
            recorder_abort(&left.recorder, 0);
        else if (way == 1)
            recorder_end(&left.recorder);
        if (way < 2)
            pump_until(&world, recorder_is_closed(&left.recorder));
        /* side_close() counts. */
        close_both(&world, &left, &right);
    }
}
END_TEST

START_TEST(engine_that_is_refused_stays_the_callers)
{
    struct world world;
    struct side left, right;
    struct afn_engine_ops ops = toy_ops;
    struct afn_tls_options bad = {.size = sizeof bad, .received_length = 1};

    open_both(&world, &left, &right);
    ops.settle = NULL;
    require_equal(afn_stream_start_engine(left.stream, NULL, &left.toy, NULL), -EINVAL);
    require_equal(afn_stream_start_engine(left.stream, &ops, &left.toy, NULL), -EINVAL);
    ops = toy_ops;
    ops.size = offsetof(struct afn_engine_ops, destroy);
    require_equal(afn_stream_start_engine(left.stream, &ops, &left.toy, NULL), -EINVAL);
    require_equal(afn_stream_start_engine(left.stream, &toy_ops, &left.toy, &bad), -EINVAL);
    require_equal(left.toy.destroyed, 0);
    start_both(&world, &left, &right);
    require_equal(afn_stream_start_engine(left.stream, &toy_ops, &left.toy, NULL), -EBUSY);
    recorder_abort(&right.recorder, 0);
    pump_until(&world, recorder_is_closed(&left.recorder) && recorder_is_closed(&right.recorder));
    require(afn_stream_start_engine(left.stream, &toy_ops, &left.toy, NULL) < 0);
    close_both(&world, &left, &right);
}
END_TEST

START_TEST(engine_that_is_refused_for_lack_of_memory_was_fed_nothing)
{
    struct world world;
    struct side left, right;
    const struct afn_tls_options options = {
        .size = sizeof options, .received = "H", .received_length = 2};

    open_both(&world, &left, &right);
    afn_stream_cork(left.stream);
    require_equal(afn_stream_write(left.stream, "clear", 5), 0);
    fault_alloc_arm(1, false);
    require_equal(afn_stream_start_engine(left.stream, &toy_ops, &left.toy, &options), -ENOMEM);
    require(fault_alloc_disarm());
    require_equal(left.toy.input.length, 0);
    afn_stream_uncork(left.stream);
    pump_until(&world, right.recorder.data.length == 5);
    close_both(&world, &left, &right);
}
END_TEST

START_TEST(engine_whose_peer_leaves_without_a_goodbye_is_truncated)
{
    struct world world;
    struct side left, right;

    open_both(&world, &left, &right);
    start_both(&world, &left, &right);
    require_equal(afn_stream_write(right.stream, "last", 4), 0);
    recorder_abort(&right.recorder, 0);
    pump_until(&world, recorder_is_closed(&left.recorder));
    require_content(&left.recorder.data, "last");
    require_equal(left.recorder.error, AFN_ERR_TRUNCATED);
    close_both(&world, &left, &right);
}
END_TEST

START_TEST(engine_without_an_answer_meets_the_time_limits)
{
    struct world world;
    struct side left, right;

    open_both(&world, &left, &right);
    side_start(&left);
    pump_idle(&world);
    fault_sys_advance_clock(2 * MINUTE);
    pump_until(&world, recorder_is_closed(&left.recorder));
    require_equal(left.recorder.error, AFN_ERR_HANDSHAKE_TIMEOUT);
    close_both(&world, &left, &right);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {engine_of_the_program_carries_bytes_both_ways, 1},
        {engine_of_the_program_ends_in_both_directions, 1},
        {engine_of_the_program_takes_received_bytes, 1},
        {engine_that_must_read_before_it_writes_is_asked_again, 1},
        {engine_that_is_busy_at_the_close_is_asked_again, 1},
        {engine_that_is_busy_at_write_eof_is_asked_again, 1},
        {engine_that_is_busy_at_the_close_may_still_fail, 2},
        {engine_that_fails_ends_the_stream_with_its_error, 1},
        {engine_may_abort_its_stream, 2},
        {engine_is_destroyed_once_however_the_stream_ends, 1},
        {engine_that_is_refused_stays_the_callers, 1},
        {engine_that_is_refused_for_lack_of_memory_was_fed_nothing, 1},
        {engine_whose_peer_leaves_without_a_goodbye_is_truncated, 1},
        {engine_without_an_answer_meets_the_time_limits, 1},
    };

    return harness_main("stream-engine", cases, COUNT_OF(cases));
}
