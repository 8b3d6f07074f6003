/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* Files in the queue of a stream. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pipe2 */
#endif
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "delivery.h"
#include "fault-alloc.h"
#include "fault-sys.h"
#include "harness.h"
#include "world.h"

/* ---- what arrives ---- */

START_TEST(file_arrives_in_the_order_of_the_writes)
{
    struct parcel parcel;
    struct delivery deliveries[3];
    struct bytes expected = {0};

    parcel_open(&parcel, (enum way)_i, 3000000, 1);
    require(afn_stream_write(parcel.link.stream, "head", 4) >= 0);
    delivery_start(&deliveries[0], &parcel.link, parcel.file, 0, AFN_SENDFILE_TO_END);
    require(afn_stream_write(parcel.link.stream, "middle", 6) >= 0);
    delivery_start(&deliveries[1], &parcel.link, parcel.file, 12345, 600000);
    delivery_start(&deliveries[2], &parcel.link, parcel.file, 5, 1);
    require(afn_stream_write(parcel.link.stream, "tail", 4) >= 0);
    require_equal(afn_stream_write_eof(parcel.link.stream), 0);

    bytes_append(&expected, "head", 4);
    bytes_append(&expected, parcel.content.data, parcel.content.length);
    bytes_append(&expected, "middle", 6);
    bytes_append(&expected, parcel.content.data + 12345, 600000);
    bytes_append(&expected, parcel.content.data + 5, 1);
    bytes_append(&expected, "tail", 4);
    pump_until(&parcel.world, parcel.link.peer.has_eof || parcel.link.peer.is_notified);
    require_same(&parcel.link.peer.received, &expected);
    require_delivered(&deliveries[0], parcel.content.length, 0);
    require_delivered(&deliveries[1], 600000, 0);
    require_delivered(&deliveries[2], 1, 0);
    require_equal(lseek(parcel.file, 0, SEEK_CUR), parcel.content.length);
    require_equal(afn_stream_get_write_buffer_size(parcel.link.stream), 0);
    parcel_close(&parcel);
    bytes_free(&expected);
}
END_TEST

START_TEST(file_is_sent_by_the_kernel_where_it_can_be)
{
    struct parcel parcel;
    struct delivery delivery;
    bool is_direct = _i == WAY_UNIX || _i == WAY_TCP;

    parcel_open(&parcel, (enum way)_i, 100000, 2);
    delivery_start(&delivery, &parcel.link, parcel.file, 0, parcel.content.length);
    pump_until(&parcel.world, parcel.link.peer.received.length == parcel.content.length);
    require_same(&parcel.link.peer.received, &parcel.content);
    require_equal(fault_sys_count(FAULT_PREAD) == 0, is_direct);
    require_equal(fault_sys_count(FAULT_SENDFILE) > 0, _i < WAY_TLS);
    parcel_close(&parcel);
}
END_TEST

START_TEST(file_lasts_through_short_sends_and_busy_sockets)
{
    struct parcel parcel;
    struct delivery delivery;

    parcel_open(&parcel, (enum way)_i, 200000, 3);
    sockets_shrink(parcel.link.fd);
    fault_sys_limit(FAULT_SENDFILE, 777);
    fault_sys_limit(FAULT_PREAD, 5555);
    fault_sys_limit(FAULT_SEND, 3333);
    delivery_start(&delivery, &parcel.link, parcel.file, 0, parcel.content.length);
    while (parcel.link.peer.received.length < parcel.content.length) {
        if (_i == WAY_UNIX || _i == WAY_TCP)
            fault_sys_fail(FAULT_SENDFILE, 3, 1, -EAGAIN);
        fault_sys_fail(FAULT_SEND, 3, 1, -EAGAIN);
        pump_wait(&parcel.world);
    }
    fault_sys_fail(FAULT_SEND, 0, 0, -EAGAIN);
    pump_idle(&parcel.world);
    require_same(&parcel.link.peer.received, &parcel.content);
    require_delivered(&delivery, parcel.content.length, 0);
    parcel_close(&parcel);
}
END_TEST

START_TEST(file_waits_for_the_handshake)
{
    struct world world;
    struct link link;
    struct delivery delivery;
    struct bytes content = {0};
    int file;

    bytes_fill(&content, 50000, 4);
    file = delivery_make_file(&content);
    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    link_start_tls(&link, certificate_get_version(_i), 1, NULL);
    delivery_start(&delivery, &link, file, 0, AFN_SENDFILE_TO_END);
    require_equal(fault_sys_count(FAULT_PREAD), 0);
    pump_until(&world, link.peer.received.length == content.length);
    require_same(&link.peer.received, &content);
    require_delivered(&delivery, content.length, 0);
    link_close(&link);
    world_close(&world);
    bytes_free(&content);
    close(file);
}
END_TEST

/* ---- files that are not what they were said to be ---- */

START_TEST(file_that_is_too_short_ends_where_it_ends)
{
    const uint64_t offsets[] = {0, 60000, 99999, 100000, 200000, INT64_MAX};
    struct parcel parcel;
    struct bytes expected = {0};

    parcel_open(&parcel, (enum way)_i, 100000, 5);
    for (size_t i = 0; i < COUNT_OF(offsets); i++) {
        uint64_t there =
            offsets[i] < parcel.content.length ? parcel.content.length - offsets[i] : 0;
        struct delivery delivery;

        delivery_start(&delivery, &parcel.link, parcel.file, offsets[i], parcel.content.length + 1);
        require(afn_stream_write(parcel.link.stream, ".", 1) >= 0);
        pump_until(&parcel.world, delivery.calls);
        require_delivered(&delivery, there, 0);
        bytes_append(&expected, parcel.content.data + parcel.content.length - there, there);
        bytes_append(&expected, ".", 1);
    }
    pump_until(&parcel.world, parcel.link.peer.received.length >= expected.length);
    require_same(&parcel.link.peer.received, &expected);
    parcel_close(&parcel);
    bytes_free(&expected);
}
END_TEST

START_TEST(file_of_no_bytes_is_done_in_a_dispatch)
{
    struct parcel parcel;
    struct delivery deliveries[2];

    parcel_open(&parcel, (enum way)_i, 0, 0);
    delivery_start(&deliveries[0], &parcel.link, parcel.file, 0, AFN_SENDFILE_TO_END);
    delivery_start(&deliveries[1], &parcel.link, parcel.file, 0, 0);
    require(pump_is_ready(&parcel.world));
    pump_until(&parcel.world, deliveries[1].calls);
    require_delivered(&deliveries[0], 0, 0);
    require_delivered(&deliveries[1], 0, 0);
    parcel_close(&parcel);
}
END_TEST

START_TEST(file_truncated_while_it_is_sent_ends_with_what_was_sent)
{
    struct parcel parcel;
    struct delivery delivery;

    parcel_open(&parcel, (enum way)_i, 1500000, 6);
    sockets_shrink(parcel.link.fd);
    parcel.link.peer.is_deaf = true;
    delivery_start(&delivery, &parcel.link, parcel.file, 0, parcel.content.length);
    pump_idle(&parcel.world);
    require_equal(delivery.calls, 0);
    require_equal(ftruncate(parcel.file, 700000), 0);
    parcel.link.peer.is_deaf = false;
    pump_until(&parcel.world, delivery.calls);
    pump_idle(&parcel.world);
    /* What the kernel had in its hands may be more than is left, but is no more than was told. */
    require_equal(delivery.error, 0);
    require(delivery.sent < parcel.content.length);
    require_equal(parcel.link.peer.received.length, delivery.sent);
    parcel.content.length = delivery.sent < 700000 ? delivery.sent : 700000;
    parcel.link.peer.received.length = parcel.content.length;
    require_same(&parcel.link.peer.received, &parcel.content);
    parcel_close(&parcel);
}
END_TEST

START_TEST(file_that_grows_is_sent_to_its_new_end)
{
    struct parcel parcel;
    struct delivery delivery;

    parcel_open(&parcel, (enum way)_i, 1500000, 7);
    sockets_shrink(parcel.link.fd);
    parcel.link.peer.is_deaf = true;
    delivery_start(&delivery, &parcel.link, parcel.file, 0, AFN_SENDFILE_TO_END);
    pump_idle(&parcel.world);
    require_equal(delivery.calls, 0);
    require_equal(pwrite(parcel.file, "more", 4, (off_t)parcel.content.length), 4);
    bytes_append(&parcel.content, "more", 4);
    parcel.link.peer.is_deaf = false;
    pump_until(&parcel.world, parcel.link.peer.received.length >= parcel.content.length);
    require_same(&parcel.link.peer.received, &parcel.content);
    require_delivered(&delivery, parcel.content.length, 0);
    parcel_close(&parcel);
}
END_TEST

static void abort_short_one(struct delivery *delivery)
{
    recorder_abort(&delivery->link->recorder, -EPROTO);
}

START_TEST(file_that_cannot_be_read_ends_with_the_reason)
{
    struct parcel parcel;
    struct delivery delivery;
    bool aborts = _i >= WAYS;
    enum way way = (enum way)(_i % WAYS);
    bool is_tls = way >= WAY_TLS;
    const char *story = is_tls && aborts ? "secured closed(-71)"
                        : is_tls         ? "secured"
                        : aborts         ? "closed(-71)"
                                         : "";

    parcel_open(&parcel, way, 100000, 8);
    fault_sys_limit(FAULT_SENDFILE, 20000);
    fault_sys_limit(FAULT_PREAD, 10000);
    if (way == WAY_UNIX || way == WAY_TCP)
        fault_sys_fail(FAULT_SENDFILE, 1, 1, -EIO);
    fault_sys_fail(FAULT_PREAD, way == WAY_UNIX || way == WAY_TCP ? 0 : 2, 1, -EIO);
    delivery_start(&delivery, &parcel.link, parcel.file, 0, parcel.content.length);
    delivery.hook = aborts ? abort_short_one : NULL;
    require(afn_stream_write(parcel.link.stream, "behind", 6) >= 0);
    pump_until(&parcel.world, delivery.calls);
    pump_idle(&parcel.world);
    require_delivered(&delivery, 20000, -EIO);
    parcel.content.length = 20000;
    if (!aborts)
        bytes_append(&parcel.content, "behind", 6);
    pump_until(&parcel.world, parcel.link.peer.received.length >= parcel.content.length);
    pump_idle(&parcel.world);
    require_same(&parcel.link.peer.received, &parcel.content);
    require_story(&parcel.link.recorder, story);
    parcel_close(&parcel);
}
END_TEST

START_TEST(descriptor_that_cannot_be_read_ends_the_range_only)
{
    struct world world;
    struct link link;
    struct delivery delivery;
    int fds[2];

    require_equal(pipe2(fds, O_CLOEXEC), 0);
    require_equal(write(fds[1], "pipe", 4), 4);
    world_open(&world);
    delivery_open_link(&link, &world, (enum way)_i);
    delivery_start(&delivery, &link, fds[0], 0, 4);
    pump_until(&world, delivery.calls);
    require_delivered(&delivery, 0, -ESPIPE);
    require(afn_stream_write(link.stream, "alive", 5) >= 0);
    pump_until(&world, link.peer.received.length == 5);
    require_content(&link.peer.received, "alive");
    link_close(&link);
    world_close(&world);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(file_that_the_kernel_must_send_is_refused_or_ended)
{
    struct world world;
    struct link link;
    struct delivery delivery = {.link = &link};
    int file = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    int expected = _i < WAY_TLS ? 0 : -EOPNOTSUPP;

    require(file >= 0);
    world_open(&world);
    delivery_open_link(&link, &world, (enum way)_i);
    fault_sys_fail(FAULT_SENDFILE, 0, 1, -EINVAL);
    require_equal(afn_stream_sendfile(link.stream, file, 0, 100, AFN_SENDFILE_BY_KERNEL,
                                      delivery_done, &delivery),
                  expected);
    pump_idle(&world);
    if (expected == 0)
        require_delivered(&delivery, 0, -EOPNOTSUPP);
    require_equal(fault_sys_count(FAULT_PREAD), 0);
    require_equal(link.peer.received.length, 0);
    link_close(&link);
    world_close(&world);
    close(file);
}
END_TEST

/* ---- limits ---- */

START_TEST(file_counts_only_as_what_was_read)
{
    struct parcel parcel;
    struct delivery delivery;
    size_t bound = _i == WAY_UNIX || _i == WAY_TCP ? 0 : 300000;

    parcel_open(&parcel, (enum way)_i, 0, 0);
    require_equal(ftruncate(parcel.file, (off_t)1 << 30), 0);
    parcel.link.peer.is_deaf = true;
    require_equal(afn_stream_set_write_limits(parcel.link.stream, 0, 0), 0);
    delivery_start(&delivery, &parcel.link, parcel.file, 0, AFN_SENDFILE_TO_END);
    pump_idle(&parcel.world);
    require(afn_stream_get_write_buffer_size(parcel.link.stream) <= bound);
    require_equal(parcel.link.recorder.counts[EVENT_WRITABLE], 0);
    require_equal(afn_stream_write(parcel.link.stream, "x", 1), 1);
    require(afn_stream_get_write_buffer_size(parcel.link.stream) <= bound + 1);
    parcel_close(&parcel);
}
END_TEST

START_TEST(file_to_the_fastest_peer_starves_nobody)
{
    struct world world;
    struct link links[2];
    struct delivery delivery;
    struct afn_stream_stats stats;
    uint64_t length = UINT64_C(1) << 30;
    int file = delivery_make_file(NULL);

    require_equal(ftruncate(file, (off_t)length), 0);
    world_open(&world);
    delivery_open_link(&links[0], &world, WAY_TCP);
    delivery_open_link(&links[1], &world, WAY_TCP);
    fault_sys_swallow_files(true);
    delivery_start(&delivery, &links[0], file, 0, length);
    require_equal(afn_stream_get_stats(links[0].stream, &stats, sizeof stats), 0);
    require(stats.bytes_sent < 1 << 20);
    require_equal(write(links[1].peer.fd, "quiet", 5), 5);
    pump_dispatch(&world);
    require_equal(links[1].recorder.data.length, 5);
    require_equal(afn_stream_get_stats(links[0].stream, &stats, sizeof stats), 0);
    require(stats.bytes_sent < 8 << 20);
    require_equal(delivery.calls, 0);
    pump_until(&world, delivery.calls);
    require_delivered(&delivery, length, 0);
    link_close(&links[0]);
    link_close(&links[1]);
    world_close(&world);
    close(file);
}
END_TEST

struct series {
    unsigned int left;
    int file;
};

static void send_another(struct delivery *delivery)
{
    struct series *series = delivery->hook_user;

    if (--series->left > 0)
        require_equal(afn_stream_sendfile(delivery->link->stream, series->file, 0, 1, 0,
                                          delivery_done, delivery),
                      0);
}

START_TEST(done_that_sends_another_file_starves_nobody)
{
    struct world world;
    struct link link;
    struct delivery delivery;
    struct series series = {.left = 1000, .file = delivery_make_file(NULL)};

    world_open(&world);
    delivery_open_link(&link, &world, (enum way)_i);
    delivery_start(&delivery, &link, series.file, 0, AFN_SENDFILE_TO_END);
    delivery.hook = send_another;
    delivery.hook_user = &series;
    pump_dispatch(&world);
    require(series.left > 900);
    pump_until(&world, series.left == 0);
    require_equal(delivery.calls, 1000);
    link_close(&link);
    world_close(&world);
    close(series.file);
}
END_TEST

START_TEST(header_says_that_a_file_follows)
{
    struct world world;
    struct link link;
    struct delivery deliveries[2];
    struct bytes content = {0};
    int file, empty = delivery_make_file(NULL);

    bytes_fill(&content, 1000, 17);
    file = delivery_make_file(&content);
    world_open(&world);
    delivery_open_link(&link, &world, (enum way)_i);
    afn_stream_cork(link.stream);
    require(afn_stream_write(link.stream, "head", 4) >= 0);
    delivery_start(&deliveries[0], &link, file, 0, AFN_SENDFILE_TO_END);
    afn_stream_uncork(link.stream);
    require(fault_sys_had_more());
    pump_until(&world, deliveries[0].calls);
    afn_stream_cork(link.stream);
    require(afn_stream_write(link.stream, "head", 4) >= 0);
    delivery_start(&deliveries[1], &link, empty, 0, AFN_SENDFILE_TO_END);
    afn_stream_uncork(link.stream);
    require(!fault_sys_had_more());
    pump_until(&world, link.peer.received.length == 1008);
    link_close(&link);
    world_close(&world);
    bytes_free(&content);
    close(file);
    close(empty);
}
END_TEST

/* ---- refusals ---- */

START_TEST(sendfile_that_is_refused_is_never_done)
{
    struct parcel parcel;
    struct delivery delivery = {.link = &parcel.link};
    struct afn_stream *stream;
    SSL *ssl = certificate_make_ssl(certificate_get_version(0), 1);

    parcel_open(&parcel, (enum way)_i, 1000, 18);
    stream = parcel.link.stream;
    require_equal(afn_stream_sendfile(stream, -1, 0, 1, 0, delivery_done, &delivery), -EINVAL);
    require_equal(afn_stream_sendfile(stream, parcel.file, UINT64_MAX, 1, 0, delivery_done,
                                      &delivery),
                  -EINVAL);
    require_equal(afn_stream_sendfile(stream, parcel.file, 0, 1, 2, delivery_done, &delivery),
                  -EINVAL);
    require_equal(afn_stream_sendfile(stream, parcel.file, 0, 1, 0, NULL, &delivery), -EINVAL);
    for (unsigned int k = 1; k <= 2; k++) {
        fault_alloc_arm(k, false);
        require_equal(afn_stream_sendfile(stream, parcel.file, 0, 1, 0, delivery_done, &delivery),
                      -ENOMEM);
        require(fault_alloc_disarm());
    }
    require_equal(afn_stream_cancel_sendfile(stream, &delivery), -ENOENT);
    afn_stream_cork(stream);
    delivery_start(&delivery, &parcel.link, parcel.file, 0, 1);
    require_equal(afn_stream_start_tls(stream, ssl, NULL), -EBUSY);
    require_equal(afn_stream_cancel_sendfile(stream, &delivery), 0);
    afn_stream_uncork(stream);
    require_equal(afn_stream_write_eof(stream), 0);
    require_equal(afn_stream_sendfile(stream, parcel.file, 0, 1, 0, delivery_done, &delivery),
                  -EPIPE);
    pump_idle(&parcel.world);
    require_equal(delivery.calls, 0);
    require_equal(parcel.link.peer.received.length, 0);
    SSL_free(ssl);
    parcel_close(&parcel);
}
END_TEST

static bool send_with_failing_allocation(unsigned int k, enum way way, const struct bytes *content,
                                         int file)
{
    struct world world;
    struct link link;
    struct delivery delivery = {.link = &link};
    bool has_failed;
    int result;

    world_open(&world);
    delivery_open_link(&link, &world, way);
    sockets_shrink(link.fd);
    fault_alloc_arm(k, false);
    result =
        afn_stream_sendfile(link.stream, file, 0, AFN_SENDFILE_TO_END, 0, delivery_done, &delivery);
    if (result == 0) {
        pump_until(&world, delivery.calls);
        pump_until(&world, link.peer.received.length >= content->length ||
                               recorder_is_closed(&link.recorder));
    }
    has_failed = fault_alloc_disarm();
    require_equal(delivery.calls, result == 0);
    require(result == 0 || (has_failed && result == -ENOMEM));
    if (result == 0 && link.recorder.error == 0)
        require_same(&link.peer.received, content);
    else
        require(has_failed);
    link_close(&link);
    world_close(&world);
    return has_failed;
}

START_TEST(failing_allocations_lose_no_callback)
{
    struct bytes content = {0};
    unsigned int k = 1;
    int file;

    bytes_fill(&content, 500000, 19);
    file = delivery_make_file(&content);
    while (send_with_failing_allocation(k, (enum way)_i, &content, file))
        k++;
    require(k > 2);
    bytes_free(&content);
    close(file);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {file_arrives_in_the_order_of_the_writes, WAYS},
        {file_is_sent_by_the_kernel_where_it_can_be, WAYS},
        {file_lasts_through_short_sends_and_busy_sockets, WAYS},
        {file_waits_for_the_handshake, TLS_VERSIONS},
        {file_that_is_too_short_ends_where_it_ends, WAYS},
        {file_of_no_bytes_is_done_in_a_dispatch, WAYS},
        {file_truncated_while_it_is_sent_ends_with_what_was_sent, WAYS},
        {file_that_grows_is_sent_to_its_new_end, WAYS},
        {file_that_cannot_be_read_ends_with_the_reason, 2 * WAYS},
        {descriptor_that_cannot_be_read_ends_the_range_only, WAYS},
        {file_that_the_kernel_must_send_is_refused_or_ended, WAYS},
        {file_counts_only_as_what_was_read, WAYS},
        {file_to_the_fastest_peer_starves_nobody, 1},
        {done_that_sends_another_file_starves_nobody, WAYS},
        {header_says_that_a_file_follows, 2},
        {sendfile_that_is_refused_is_never_done, WAY_TLS},
        {failing_allocations_lose_no_callback, WAYS},
    };

    return harness_main("sendfile", cases, COUNT_OF(cases));
}
