/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* Files that are not sent to their end. */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "delivery.h"
#include "fault-sys.h"
#include "harness.h"
#include "world.h"

/* ---- the end of the stream ---- */

START_TEST(close_sends_the_file_first)
{
    struct parcel parcel;
    struct delivery delivery;

    parcel_open(&parcel, (enum way)_i, 3000000, 9);
    parcel.link.peer.is_polite = true;
    delivery_start(&delivery, &parcel.link, parcel.file, 0, AFN_SENDFILE_TO_END);
    recorder_end(&parcel.link.recorder);
    pump_until(&parcel.world, recorder_is_closed(&parcel.link.recorder));
    require_delivered(&delivery, parcel.content.length, 0);
    require_equal(parcel.link.recorder.error, 0);
    pump_until(&parcel.world, parcel.link.peer.has_eof);
    require_same(&parcel.link.peer.received, &parcel.content);
    parcel_close(&parcel);
}
END_TEST

static void start_and_fill(struct link *link, struct delivery *deliveries, int file)
{
    sockets_shrink(link->fd);
    link->peer.is_deaf = true;
    delivery_start(&deliveries[0], link, file, 0, AFN_SENDFILE_TO_END);
    require(afn_stream_write(link->stream, "between", 7) >= 0);
    delivery_start(&deliveries[1], link, file, 0, AFN_SENDFILE_TO_END);
    pump_idle(link->world);
    require_equal(deliveries[0].calls, 0);
}

START_TEST(abort_ends_every_file_before_closed)
{
    const int errors[] = {0, -EPROTO};
    struct world world;
    struct bytes content = {0};
    int file;

    bytes_fill(&content, 1500000, 10);
    file = delivery_make_file(&content);
    world_open(&world);
    for (size_t i = 0; i < COUNT_OF(errors); i++) {
        struct link link;
        struct delivery deliveries[2];

        delivery_open_link(&link, &world, (enum way)_i);
        start_and_fill(&link, deliveries, file);
        recorder_abort(&link.recorder, errors[i]);
        require_equal(deliveries[0].calls, 0);
        pump_until(&world, recorder_is_closed(&link.recorder));
        require_equal(deliveries[0].calls, 1);
        require(deliveries[0].sent > 0 && deliveries[0].sent < content.length);
        require_equal(deliveries[0].error, errors[i] != 0 ? errors[i] : -ECANCELED);
        require_delivered(&deliveries[1], 0, errors[i] != 0 ? errors[i] : -ECANCELED);
        require_equal(link.recorder.error, errors[i]);
        link_close(&link);
        world.peer_count = 0;
    }
    world_close(&world);
    bytes_free(&content);
    close(file);
}
END_TEST

START_TEST(peer_that_is_gone_ends_the_file_with_its_error)
{
    struct parcel parcel;
    struct delivery deliveries[2];

    parcel_open(&parcel, (enum way)_i, 1500000, 11);
    start_and_fill(&parcel.link, deliveries, parcel.file);
    peer_reset(&parcel.link.peer);
    pump_until(&parcel.world, recorder_is_closed(&parcel.link.recorder));
    for (size_t i = 0; i < 2; i++) {
        require_equal(deliveries[i].calls, 1);
        require(deliveries[i].error == -ECONNRESET || deliveries[i].error == -EPIPE);
        require(deliveries[i].sent < parcel.content.length);
    }
    require_equal(parcel.link.recorder.error, deliveries[0].error);
    require_equal(afn_stream_sendfile(parcel.link.stream, parcel.file, 0, 1, 0, delivery_done,
                                      &deliveries[0]),
                  -EPIPE);
    parcel_close(&parcel);
}
END_TEST

START_TEST(broken_connection_raises_no_signal)
{
    struct parcel parcel;
    struct delivery delivery;
    sigset_t set;

    signal(SIGPIPE, SIG_DFL);
    parcel_open(&parcel, (enum way)_i, 100000, 12);
    afn_stream_pause_reading(parcel.link.stream);
    peer_close(&parcel.link.peer);
    delivery = (struct delivery){.link = &parcel.link};
    while (afn_stream_sendfile(parcel.link.stream, parcel.file, 0, AFN_SENDFILE_TO_END, 0,
                               delivery_done, &delivery) == 0)
        pump_idle(&parcel.world);
    sigpending(&set);
    require_equal(sigismember(&set, SIGPIPE), 0);
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    require_equal(sigismember(&set, SIGPIPE), 0);
    pump_until(&parcel.world, recorder_is_closed(&parcel.link.recorder));
    parcel_close(&parcel);
}
END_TEST

START_TEST(last_reference_forgets_files)
{
    struct world world;
    struct link link;
    struct delivery deliveries[2];
    struct bytes content = {0};
    int file;

    bytes_fill(&content, 1500000, 13);
    file = delivery_make_file(&content);
    world_open(&world);
    delivery_open_link(&link, &world, (enum way)_i);
    start_and_fill(&link, deliveries, file);
    link_close(&link);
    require_equal(deliveries[0].calls + deliveries[1].calls, 0);
    world_close(&world);
    bytes_free(&content);
    close(file);
}
END_TEST

static void unref(struct delivery *delivery)
{
    recorder_unref(&delivery->link->recorder);
}

static void close_and_unref(struct delivery *delivery)
{
    recorder_end(&delivery->link->recorder);
    recorder_unref(&delivery->link->recorder);
}

static void abort_and_unref(struct delivery *delivery)
{
    recorder_abort(&delivery->link->recorder, 0);
    recorder_unref(&delivery->link->recorder);
}

START_TEST(done_may_let_the_stream_go)
{
    static void (*const hooks[])(struct delivery *) = {unref, close_and_unref, abort_and_unref};
    size_t hook = (size_t)_i / WAYS;
    struct world world;
    struct link link;
    struct delivery deliveries[2];
    struct bytes content = {0};
    int file;

    bytes_fill(&content, 1000, 14);
    file = delivery_make_file(&content);
    world_open(&world);
    delivery_open_link(&link, &world, (enum way)(_i % WAYS));
    delivery_start(&deliveries[0], &link, file, 0, AFN_SENDFILE_TO_END);
    deliveries[0].hook = hooks[hook];
    delivery_start(&deliveries[1], &link, file, 0, AFN_SENDFILE_TO_END);
    pump_until(&world, link.peer.has_eof || link.peer.is_notified || link.peer.error != 0);
    require_delivered(&deliveries[0], content.length, 0);
    if (hook == 0)
        require_equal(deliveries[1].calls, 0);
    else
        require_delivered(&deliveries[1], hook == 1 ? content.length : 0,
                          hook == 1 ? 0 : -ECANCELED);
    peer_close(&link.peer);
    pump_idle(&world);
    recorder_close(&link.recorder);
    world_close(&world);
    bytes_free(&content);
    close(file);
}
END_TEST

/* Beyond the size that the file system allows a file to have, sendfile(2) fails. */
START_TEST(place_behind_the_end_of_the_file_is_no_error)
{
    const uint64_t offsets[] = {1001, (uint64_t)1 << 62, INT64_MAX};
    struct parcel parcel;
    struct delivery delivery;

    parcel_open(&parcel, (enum way)_i, 1000, 18);
    for (size_t i = 0; i < COUNT_OF(offsets); i++) {
        if (_i != WAY_COPIED)
            fault_sys_fail(FAULT_SENDFILE, 0, 1, -EOVERFLOW);
        delivery_start(&delivery, &parcel.link, parcel.file, offsets[i], AFN_SENDFILE_TO_END);
        pump_until(&parcel.world, delivery.calls > 0);
        require_delivered(&delivery, 0, 0);
    }
    require_equal(afn_stream_write(parcel.link.stream, "goes on", 7), 0);
    pump_until(&parcel.world, parcel.link.peer.received.length >= 7);
    parcel_close(&parcel);
}
END_TEST

/* ---- cancelling ---- */

START_TEST(cancelled_file_stops_and_what_is_behind_follows)
{
    struct parcel parcel;
    struct delivery deliveries[2];
    struct bytes expected = {0};
    int64_t sent;

    parcel_open(&parcel, (enum way)_i, 1500000, 15);
    start_and_fill(&parcel.link, deliveries, parcel.file);
    sent = afn_stream_cancel_sendfile(parcel.link.stream, &deliveries[0]);
    require(sent > 0 && sent < (int64_t)parcel.content.length);
    require_equal(afn_stream_cancel_sendfile(parcel.link.stream, &deliveries[1]), 0);
    require_equal(afn_stream_cancel_sendfile(parcel.link.stream, &deliveries[1]), -ENOENT);
    require_equal(afn_stream_write_eof(parcel.link.stream), 0);
    parcel.link.peer.is_deaf = false;
    bytes_append(&expected, parcel.content.data, (size_t)sent);
    bytes_append(&expected, "between", 7);
    pump_until(&parcel.world, parcel.link.peer.has_eof || parcel.link.peer.is_notified);
    require_same(&parcel.link.peer.received, &expected);
    require_equal(deliveries[0].calls + deliveries[1].calls, 0);
    parcel_close(&parcel);
    bytes_free(&expected);
}
END_TEST

START_TEST(cancelling_what_is_sent_but_not_told_tells_how_much)
{
    struct parcel parcel;
    struct delivery delivery;

    parcel_open(&parcel, (enum way)_i, 1000, 16);
    delivery_start(&delivery, &parcel.link, parcel.file, 0, AFN_SENDFILE_TO_END);
    require_equal(afn_stream_cancel_sendfile(parcel.link.stream, &delivery), parcel.content.length);
    recorder_end(&parcel.link.recorder);
    parcel.link.peer.is_polite = true;
    pump_until(&parcel.world, recorder_is_closed(&parcel.link.recorder));
    require_equal(delivery.calls, 0);
    pump_until(&parcel.world, parcel.link.peer.has_eof);
    require_same(&parcel.link.peer.received, &parcel.content);
    parcel_close(&parcel);
}
END_TEST

static void cancel_the_next(struct delivery *delivery)
{
    require_equal(afn_stream_cancel_sendfile(delivery->link->stream, delivery + 1), 0);
}

START_TEST(done_may_cancel_a_file_that_has_ended_too)
{
    struct parcel parcel;
    struct delivery deliveries[2];

    parcel_open(&parcel, (enum way)_i, 1500000, 17);
    start_and_fill(&parcel.link, deliveries, parcel.file);
    deliveries[0].hook = cancel_the_next;
    recorder_abort(&parcel.link.recorder, 0);
    pump_until(&parcel.world, recorder_is_closed(&parcel.link.recorder));
    require_equal(deliveries[0].calls, 1);
    require_equal(deliveries[1].calls, 0);
    parcel_close(&parcel);
}
END_TEST

static void stop_reactor(struct delivery *delivery)
{
    require(!recorder_is_closed(&delivery->link->recorder));
    afn_reactor_stop(delivery->link->world->reactor);
}

START_TEST(closed_waits_for_the_next_dispatch_when_done_stops_the_reactor)
{
    struct parcel parcel;
    struct delivery deliveries[2];

    parcel_open(&parcel, (enum way)_i, 1500000, 19);
    start_and_fill(&parcel.link, deliveries, parcel.file);
    deliveries[1].hook = stop_reactor;
    recorder_abort(&parcel.link.recorder, 0);
    while (deliveries[1].calls == 0)
        pump_dispatch(&parcel.world);
    require(!recorder_is_closed(&parcel.link.recorder));
    require(pump_is_ready(&parcel.world));
    pump_until(&parcel.world, recorder_is_closed(&parcel.link.recorder));
    parcel_close(&parcel);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {close_sends_the_file_first, WAYS},
        {abort_ends_every_file_before_closed, WAYS},
        {peer_that_is_gone_ends_the_file_with_its_error, WAYS},
        {broken_connection_raises_no_signal, WAYS},
        {last_reference_forgets_files, WAYS},
        {done_may_let_the_stream_go, 3 * WAYS},
        {place_behind_the_end_of_the_file_is_no_error, WAYS},
        {cancelled_file_stops_and_what_is_behind_follows, WAYS},
        {cancelling_what_is_sent_but_not_told_tells_how_much, WAYS},
        {done_may_cancel_a_file_that_has_ended_too, WAYS},
        {closed_waits_for_the_next_dispatch_when_done_stops_the_reactor, WAYS},
    };

    return harness_main("sendfile-end", cases, COUNT_OF(cases));
}
