/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create */
#endif

#include "delivery.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fault-sys.h"

#define FOR_EVER 1000000

void delivery_done(struct afn_stream *stream, void *user, uint64_t sent, int error)
{
    struct delivery *delivery = user;
    struct recorder *recorder = &delivery->link->recorder;

    require(recorder_is_dispatching);
    require(!recorder->is_inside);
    require(!recorder->is_gone);
    require(!recorder_is_closed(recorder));
    require(stream == delivery->link->stream);
    delivery->calls++;
    delivery->sent = sent;
    delivery->error = error;
    if (delivery->hook != NULL)
        delivery->hook(delivery);
}

void delivery_open_link(struct link *link, struct world *world, enum way way)
{
    link_open(link, world, way == WAY_UNIX ? PAIR_UNIX : PAIR_TCP, NULL);
    if (way == WAY_COPIED)
        fault_sys_fail(FAULT_SENDFILE, 0, FOR_EVER, -EINVAL);
    if (way >= WAY_TLS)
        link_secure(link, certificate_get_version((int)way - WAY_TLS), 1);
    fault_sys_clear_counts();
}

int delivery_make_file(const struct bytes *content)
{
    int file = memfd_create("test", MFD_CLOEXEC);

    require(file >= 0);
    if (content != NULL)
        require_equal(write(file, content->data, content->length), content->length);
    return file;
}

void delivery_start(struct delivery *delivery, struct link *link, int file, uint64_t offset,
                    uint64_t count)
{
    *delivery = (struct delivery){.link = link};
    require_equal(
        afn_stream_sendfile(link->stream, file, offset, count, 0, delivery_done, delivery), 0);
    require_equal(delivery->calls, 0);
}

void parcel_open(struct parcel *parcel, enum way way, size_t length, unsigned int seed)
{
    *parcel = (struct parcel){0};
    bytes_fill(&parcel->content, length, seed);
    parcel->file = delivery_make_file(&parcel->content);
    world_open(&parcel->world);
    delivery_open_link(&parcel->link, &parcel->world, way);
}

void parcel_close(struct parcel *parcel)
{
    link_close(&parcel->link);
    world_close(&parcel->world);
    bytes_free(&parcel->content);
    close(parcel->file);
}
