/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* Files over kernel TLS: with the keys in the kernel nobody reads them but sendfile(2). */
#include <errno.h>
#include <unistd.h>

#include "delivery.h"
#include "fault-sys.h"
#include "harness.h"
#include "ktls-link.h"
#include "tls-link.h"

/* A link and a file. */
struct scene {
    struct world world;
    struct link link;
    struct bytes content;
    int file;
};

static void open_scene(struct scene *scene, int variant, size_t length)
{
    struct ktls_setting setting = ktls_get_short_setting(variant);

    scene->content = (struct bytes){0};
    bytes_fill(&scene->content, length, (unsigned int)variant);
    scene->file = delivery_make_file(&scene->content);
    link_open_ktls(&scene->link, &scene->world, &setting);
}

static void close_scene(struct scene *scene)
{
    link_close_world(&scene->link);
    bytes_free(&scene->content);
    close(scene->file);
}

static bool is_sent_by_kernel(const struct scene *scene)
{
    return afn_stream_get_ktls(scene->link.stream) & AFN_KTLS_SEND;
}

START_TEST(files_and_writes_arrive_in_their_order)
{
    struct scene scene;
    struct link *link = &scene.link;
    struct delivery deliveries[3];
    struct bytes expected = {0};

    open_scene(&scene, _i, 1000000);
    require(afn_stream_write(link->stream, "head", 4) >= 0);
    delivery_start(&deliveries[0], link, scene.file, 0, AFN_SENDFILE_TO_END);
    require(afn_stream_write(link->stream, "middle", 6) >= 0);
    delivery_start(&deliveries[1], link, scene.file, 12345, 300000);
    delivery_start(&deliveries[2], link, scene.file, 5, 1);
    require(afn_stream_write(link->stream, "tail", 4) >= 0);
    link->peer.is_polite = true;
    recorder_end(&link->recorder);

    bytes_append(&expected, "head", 4);
    bytes_append(&expected, scene.content.data, scene.content.length);
    bytes_append(&expected, "middle", 6);
    bytes_append(&expected, scene.content.data + 12345, 300000);
    bytes_append(&expected, scene.content.data + 5, 1);
    bytes_append(&expected, "tail", 4);
    pump_until(&scene.world, link->peer.is_notified && recorder_is_closed(&link->recorder));
    require_equal(link->recorder.error, 0);
    require_same(&link->peer.received, &expected);
    require_delivered(&deliveries[0], scene.content.length, 0);
    require_delivered(&deliveries[1], 300000, 0);
    require_delivered(&deliveries[2], 1, 0);
    bytes_free(&expected);
    close_scene(&scene);
}
END_TEST

START_TEST(file_is_not_read_where_the_kernel_has_the_keys)
{
    struct scene scene;
    struct delivery delivery;

    open_scene(&scene, _i, 100000);
    delivery_start(&delivery, &scene.link, scene.file, 0, AFN_SENDFILE_TO_END);
    pump_until(&scene.world, scene.link.peer.received.length == scene.content.length);
    require_same(&scene.link.peer.received, &scene.content);
    require_equal(fault_sys_count(FAULT_PREAD) == 0, is_sent_by_kernel(&scene));
    require_equal(fault_sys_count(FAULT_SENDFILE) > 0, is_sent_by_kernel(&scene));
    close_scene(&scene);
}
END_TEST

START_TEST(file_is_refused_where_only_the_kernel_may_send_it_and_cannot)
{
    struct scene scene;
    struct delivery delivery = {0};
    int expected;

    open_scene(&scene, _i, 1000);
    expected = is_sent_by_kernel(&scene) ? 0 : -EOPNOTSUPP;
    delivery.link = &scene.link;
    require_equal(afn_stream_sendfile(scene.link.stream, scene.file, 0, 1000,
                                      AFN_SENDFILE_BY_KERNEL, delivery_done, &delivery),
                  expected);
    pump_idle(&scene.world);
    require_equal(delivery.calls, expected == 0);
    close_scene(&scene);
}
END_TEST

START_TEST(file_lasts_through_short_sends)
{
    struct scene scene;
    struct delivery delivery;

    open_scene(&scene, _i, 200000);
    fault_sys_limit(FAULT_SENDFILE, 7777);
    delivery_start(&delivery, &scene.link, scene.file, 0, AFN_SENDFILE_TO_END);
    pump_until(&scene.world, scene.link.peer.received.length == scene.content.length);
    require_same(&scene.link.peer.received, &scene.content);
    close_scene(&scene);
}
END_TEST

/* Of a file that is more than the sockets hold, to a peer that does not read. */
static void stop_in_the_middle(struct scene *scene, int variant, struct delivery *delivery)
{
    open_scene(scene, variant, 16 << 20);
    scene->link.peer.is_deaf = true;
    delivery_start(delivery, &scene->link, scene->file, 0, AFN_SENDFILE_TO_END);
    pump_idle(&scene->world);
    require_equal(delivery->calls, 0);
}

START_TEST(abort_in_the_middle_of_a_file_ends_it)
{
    struct scene scene;
    struct delivery delivery;

    stop_in_the_middle(&scene, _i, &delivery);
    recorder_abort(&scene.link.recorder, 0);
    pump_until(&scene.world, recorder_is_closed(&scene.link.recorder));
    require_equal(delivery.calls, 1);
    require_equal(delivery.error, -ECANCELED);
    require(delivery.sent > 0 && delivery.sent < scene.content.length);
    scene.link.peer.is_deaf = false;
    pump_until(&scene.world, scene.link.peer.has_eof || scene.link.peer.error != 0);
    require(!scene.link.peer.is_notified);
    close_scene(&scene);
}
END_TEST

START_TEST(reset_of_the_peer_in_the_middle_of_a_file_ends_it)
{
    struct scene scene;
    struct delivery delivery;

    stop_in_the_middle(&scene, _i, &delivery);
    peer_reset(&scene.link.peer);
    pump_until(&scene.world, recorder_is_closed(&scene.link.recorder));
    require_equal(delivery.calls, 1);
    require(delivery.error < 0);
    require(scene.link.recorder.error == -ECONNRESET || scene.link.recorder.error == -EPIPE);
    close_scene(&scene);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {files_and_writes_arrive_in_their_order, KTLS_SHORT_SETTINGS},
        {file_is_not_read_where_the_kernel_has_the_keys, KTLS_SHORT_SETTINGS},
        {file_is_refused_where_only_the_kernel_may_send_it_and_cannot, KTLS_SHORT_SETTINGS},
        {file_lasts_through_short_sends, KTLS_SHORT_SETTINGS},
        {abort_in_the_middle_of_a_file_ends_it, KTLS_SHORT_SETTINGS},
        {reset_of_the_peer_in_the_middle_of_a_file_ends_it, KTLS_SHORT_SETTINGS},
    };

    return harness_main("stream-ktls-files", cases, COUNT_OF(cases));
}
