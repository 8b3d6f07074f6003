/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* Streams on carriers, two of which are connected in memory. */
#include <aiofastnet/carrier.h>
#include <errno.h>
#include <string.h>

#include "certificate.h"
#include "fault-alloc.h"
#include "harness.h"
#include "world.h"

/* One end: what it holds came from the other one. */
struct wire {
    struct wire *other;
    struct afn_stream *stream;
    struct recorder recorder;
    struct bytes incoming;
    size_t capacity; /* of incoming */
    size_t piece;    /* the most that one call moves */
    bool was_full;
    bool takes_nothing; /* says 0 when it is full */
    bool has_ended;
    int receive_error, send_error;
    unsigned int closes;
    int close_error;
};

static ssize_t wire_receive(void *carrier, void *buffer, size_t length)
{
    struct wire *wire = carrier;
    size_t count = wire->incoming.length < length ? wire->incoming.length : length;

    require_equal(wire->closes, 0);
    if (count > wire->piece)
        count = wire->piece;
    if (count == 0)
        return wire->receive_error != 0 ? wire->receive_error : wire->has_ended ? 0 : -EAGAIN;
    memcpy(buffer, wire->incoming.data, count);
    bytes_remove_front(&wire->incoming, count);
    if (wire->was_full && wire->other->stream != NULL) {
        wire->was_full = false;
        afn_stream_notify(wire->other->stream, AFN_STREAM_WRITABLE);
    }
    return (ssize_t)count;
}

static ssize_t wire_send(void *carrier, const struct afn_buffer *buffers, size_t count)
{
    struct wire *wire = carrier, *other = wire->other;
    size_t room = other->capacity - other->incoming.length, done = 0;

    require_equal(wire->closes, 0);
    if (wire->send_error != 0)
        return wire->send_error;
    if (room > wire->piece)
        room = wire->piece;
    for (size_t i = 0; i < count && done < room; i++) {
        size_t length = buffers[i].length < room - done ? buffers[i].length : room - done;

        bytes_append(&other->incoming, buffers[i].data, length);
        done += length;
    }
    if (done == 0) {
        other->was_full = true;
        return wire->takes_nothing ? 0 : -EAGAIN;
    }
    if (other->stream != NULL)
        afn_stream_notify(other->stream, AFN_STREAM_READABLE);
    return (ssize_t)done;
}

static void end_other(struct wire *wire)
{
    wire->other->has_ended = true;
    if (wire->other->stream != NULL)
        afn_stream_notify(wire->other->stream, AFN_STREAM_READABLE);
}

static int wire_write_eof(void *carrier)
{
    end_other(carrier);
    return 0;
}

static void wire_close(void *carrier, int error)
{
    struct wire *wire = carrier;

    wire->closes++;
    wire->close_error = error;
    end_other(wire);
}

static const struct afn_carrier_ops wire_ops = {
    .size = sizeof(wire_ops),
    .receive = wire_receive,
    .send = wire_send,
    .write_eof = wire_write_eof,
    .close = wire_close,
};

struct wires {
    struct world world;
    struct wire left, right;
};

static void wire_open(struct wire *wire, struct wire *other, struct world *world)
{
    memset(wire, 0, sizeof(*wire));
    wire->other = other;
    wire->capacity = 100000;
    wire->piece = 10000;
    require_equal(afn_stream_new_over(world->reactor, &wire_ops, wire, &recorder_handler,
                                      &wire->recorder, 0, &wire->stream),
                  0);
    recorder_open(&wire->recorder, wire->stream);
}

static void wires_open(struct wires *wires)
{
    world_open(&wires->world);
    wire_open(&wires->left, &wires->right, &wires->world);
    wire_open(&wires->right, &wires->left, &wires->world);
}

static void wire_release(struct wire *wire)
{
    wire->stream = afn_stream_unref(wire->stream);
    bytes_free(&wire->incoming);
    recorder_close(&wire->recorder);
}

static void wires_close(struct wires *wires)
{
    wire_release(&wires->left);
    wire_release(&wires->right);
    pump_idle(&wires->world);
    require_equal(wires->left.closes, 1);
    require_equal(wires->right.closes, 1);
    world_close(&wires->world);
}

static void start_tls(struct wire *wire, int version, int is_server)
{
    SSL *ssl = certificate_make_ssl(version, is_server);

    require_equal(afn_stream_start_tls(wire->stream, ssl, NULL), 0);
    SSL_free(ssl);
}

static void secure(struct wires *wires, int variant)
{
    start_tls(&wires->left, certificate_get_version(variant), 0);
    start_tls(&wires->right, certificate_get_version(variant), 1);
    pump_until(&wires->world, wires->left.recorder.counts[EVENT_SECURED] > 0 &&
                                  wires->right.recorder.counts[EVENT_SECURED] > 0);
}

/* Variants: in the clear, then the versions of TLS. */
static void connect_wires(struct wires *wires, int variant)
{
    wires_open(wires);
    if (variant > 0)
        secure(wires, variant - 1);
}

START_TEST(bytes_go_both_ways_through_small_pieces)
{
    struct wires wires;
    struct bytes sent = {0};

    connect_wires(&wires, _i);
    wires.right.recorder.echoes = true;
    wires.left.piece = 777;
    bytes_fill(&sent, 500000, 7);
    require(afn_stream_write(wires.left.stream, sent.data, sent.length) >= 0);
    pump_until(&wires.world, wires.left.recorder.data.length >= sent.length);
    require_same(&wires.left.recorder.data, &sent);
    require_equal(afn_stream_get_fd(wires.left.stream), -1);
    bytes_free(&sent);
    wires_close(&wires);
}
END_TEST

START_TEST(a_full_carrier_fills_the_write_buffer_until_it_takes_more)
{
    struct wires wires;
    struct bytes sent = {0};

    connect_wires(&wires, _i);
    recorder_pause(&wires.right.recorder);
    pump_idle(&wires.world);
    bytes_fill(&sent, 600000, 8);
    require_equal(afn_stream_write(wires.left.stream, sent.data, sent.length), 1);
    pump_idle(&wires.world);
    require(afn_stream_get_write_buffer_size(wires.left.stream) > 100000);
    require_equal(wires.left.recorder.counts[EVENT_WRITABLE], 0);
    recorder_resume(&wires.right.recorder);
    pump_until(&wires.world, wires.right.recorder.data.length >= sent.length);
    pump_idle(&wires.world);
    require_same(&wires.right.recorder.data, &sent);
    require_equal(wires.left.recorder.counts[EVENT_WRITABLE], 1);
    bytes_free(&sent);
    wires_close(&wires);
}
END_TEST

START_TEST(a_carrier_that_takes_nothing_is_waited_for)
{
    const struct afn_buffer nothing[] = {{"", 0}, {"", 0}};
    struct wires wires;
    struct bytes sent = {0};

    connect_wires(&wires, _i);
    wires.left.takes_nothing = true;
    require_equal(afn_stream_writev(wires.left.stream, nothing, COUNT_OF(nothing)), 0);
    bytes_fill(&sent, 300000, 11);
    require_equal(afn_stream_write(wires.left.stream, sent.data, sent.length), 1);
    pump_until(&wires.world, wires.right.recorder.data.length >= sent.length);
    require_same(&wires.right.recorder.data, &sent);
    bytes_free(&sent);
    wires_close(&wires);
}
END_TEST

START_TEST(close_flushes_and_gives_the_carrier_back_once)
{
    struct wires wires;
    struct bytes sent = {0};

    connect_wires(&wires, _i);
    bytes_fill(&sent, 300000, 9);
    require(afn_stream_write(wires.left.stream, sent.data, sent.length) >= 0);
    recorder_end(&wires.left.recorder);
    pump_until(&wires.world, recorder_is_closed(&wires.left.recorder) &&
                                 recorder_is_closed(&wires.right.recorder));
    require_same(&wires.right.recorder.data, &sent);
    require_equal(wires.left.recorder.error, 0);
    require_equal(wires.left.close_error, 0);
    require_equal(wires.right.recorder.error, 0);
    bytes_free(&sent);
    wires_close(&wires);
}
END_TEST

START_TEST(an_error_of_the_carrier_is_the_reason_of_the_end)
{
    struct wires wires;

    connect_wires(&wires, _i);
    wires.left.receive_error = -ETIMEDOUT;
    afn_stream_notify(wires.left.stream, AFN_STREAM_READABLE);
    pump_until(&wires.world, recorder_is_closed(&wires.left.recorder));
    require_equal(wires.left.recorder.error, -ETIMEDOUT);
    require_equal(wires.left.close_error, -ETIMEDOUT);
    wires_close(&wires);
}
END_TEST

START_TEST(an_error_of_sending_comes_after_what_had_arrived)
{
    struct wires wires;

    connect_wires(&wires, _i);
    require_equal(afn_stream_write(wires.right.stream, "last words", 10), 0);
    wires.left.send_error = -EHOSTUNREACH;
    require_equal(afn_stream_write(wires.left.stream, "x", 1), 0);
    pump_until(&wires.world, recorder_is_closed(&wires.left.recorder));
    require_content(&wires.left.recorder.data, "last words");
    require_equal(wires.left.recorder.error, -EHOSTUNREACH);
    wires_close(&wires);
}
END_TEST

START_TEST(an_abort_is_told_to_the_carrier)
{
    struct wires wires;

    connect_wires(&wires, _i);
    recorder_abort(&wires.left.recorder, -ECANCELED);
    pump_until(&wires.world, recorder_is_closed(&wires.left.recorder));
    require_equal(wires.left.close_error, -ECANCELED);
    pump_until(&wires.world, recorder_is_closed(&wires.right.recorder));
    wires_close(&wires);
}
END_TEST

START_TEST(the_last_reference_gives_the_carrier_back_at_once)
{
    struct wires wires;

    connect_wires(&wires, _i);
    recorder_unref(&wires.left.recorder);
    wires.left.stream = NULL;
    require_equal(wires.left.closes, 1);
    require_equal(wires.left.close_error, AFN_ERR_ABORTED);
    pump_idle(&wires.world);
    require(recorder_is_closed(&wires.right.recorder));
    wires_close(&wires);
}
END_TEST

static void unref_when_closed(struct recorder *recorder, enum event_kind kind)
{
    struct wire *wire = recorder->hook_user;

    if (kind != EVENT_CLOSED)
        return;
    wire->stream = afn_stream_unref(wire->stream);
    require_equal(wire->closes, 0);
}

START_TEST(the_carrier_comes_back_after_a_closed_callback_that_let_the_stream_go)
{
    struct wires wires;

    connect_wires(&wires, _i);
    wires.left.recorder.hook = unref_when_closed;
    wires.left.recorder.hook_user = &wires.left;
    wires.left.receive_error = -ETIMEDOUT;
    afn_stream_notify(wires.left.stream, AFN_STREAM_READABLE);
    pump_until(&wires.world, recorder_is_closed(&wires.left.recorder));
    require_equal(wires.left.closes, 1);
    require_equal(wires.left.close_error, -ETIMEDOUT);
    wires_close(&wires);
}
END_TEST

START_TEST(a_half_close_in_the_clear_leaves_the_other_direction)
{
    struct wires wires;

    wires_open(&wires);
    wires.right.recorder.keeps_open = true;
    require_equal(afn_stream_write(wires.left.stream, "question", 8), 0);
    require_equal(afn_stream_write_eof(wires.left.stream), 0);
    pump_until(&wires.world, wires.right.recorder.counts[EVENT_EOF] > 0);
    require_equal(afn_stream_write(wires.right.stream, "answer", 6), 0);
    pump_until(&wires.world, wires.left.recorder.data.length >= 6);
    require_content(&wires.left.recorder.data, "answer");
    wires_close(&wires);
}
END_TEST

START_TEST(an_incomplete_carrier_is_refused)
{
    struct afn_carrier_ops ops = wire_ops;
    struct afn_stream *stream = NULL;
    struct world world;

    world_open(&world);
    ops.send = NULL;
    require_equal(afn_stream_new_over(world.reactor, &ops, &world, &recorder_handler, NULL, 0,
                                      &stream),
                  -EINVAL);
    require_equal(afn_stream_new_over(world.reactor, NULL, &world, &recorder_handler, NULL, 0,
                                      &stream),
                  -EINVAL);
    ops = wire_ops;
    ops.size = 1;
    require_equal(afn_stream_new_over(world.reactor, &ops, &world, &recorder_handler, NULL, 0,
                                      &stream),
                  -EINVAL);
    fault_alloc_arm(1, false);
    require_equal(afn_stream_new_over(world.reactor, &wire_ops, &world, &recorder_handler, NULL, 0,
                                      &stream),
                  -ENOMEM);
    require(fault_alloc_disarm());
    require(stream == NULL);
    world_close(&world);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {bytes_go_both_ways_through_small_pieces, 1 + TLS_VERSIONS},
        {a_full_carrier_fills_the_write_buffer_until_it_takes_more, 1 + TLS_VERSIONS},
        {a_carrier_that_takes_nothing_is_waited_for, 1 + TLS_VERSIONS},
        {close_flushes_and_gives_the_carrier_back_once, 1 + TLS_VERSIONS},
        {an_error_of_the_carrier_is_the_reason_of_the_end, 1 + TLS_VERSIONS},
        {an_error_of_sending_comes_after_what_had_arrived, 1 + TLS_VERSIONS},
        {an_abort_is_told_to_the_carrier, 1 + TLS_VERSIONS},
        {the_last_reference_gives_the_carrier_back_at_once, 1 + TLS_VERSIONS},
        {the_carrier_comes_back_after_a_closed_callback_that_let_the_stream_go, 1 + TLS_VERSIONS},
        {a_half_close_in_the_clear_leaves_the_other_direction, 1},
        {an_incomplete_carrier_is_refused, 1},
    };

    return harness_main("stream-carrier", cases, COUNT_OF(cases));
}
