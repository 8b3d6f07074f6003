/* SPDX-License-Identifier: MIT */
#include "lane.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"

void lane_open(struct lane *lane, int fd, int other, unsigned int flags)
{
    *lane = (struct lane){.fd = fd, .other = other};
    world_open(&lane->world);
    require_equal(afn_stream_new(lane->world.reactor, fd, &recorder_handler, &lane->recorder, flags,
                                 &lane->stream),
                  0);
    recorder_open(&lane->recorder, lane->stream);
}

void lane_open_pipe(struct lane *lane, bool is_reader)
{
    int fds[2];

    require(pipe(fds) == 0);
    require(fcntl(fds[is_reader ? 1 : 0], F_SETFL, O_NONBLOCK) == 0);
    lane_open(lane, fds[is_reader ? 0 : 1], fds[is_reader ? 1 : 0], 0);
}

void lane_close_other(struct lane *lane)
{
    if (lane->other >= 0)
        close(lane->other);
    lane->other = -1;
}

void lane_close(struct lane *lane)
{
    lane_close_other(lane);
    require(afn_stream_unref(lane->stream) == NULL);
    recorder_close(&lane->recorder);
    world_close(&lane->world);
}

bool lane_read(struct lane *lane, struct bytes *target, size_t length)
{
    char buffer[65536];
    ssize_t count = 1;

    while (target->length < length && count != 0) {
        count = read(lane->other, buffer, sizeof buffer);
        require(count >= 0 || errno == EAGAIN);
        if (count > 0)
            bytes_append(target, buffer, (size_t)count);
        pump_idle(&lane->world);
    }
    return count == 0;
}

void lane_write(struct lane *lane, const char *text)
{
    require_equal(write(lane->other, text, strlen(text)), strlen(text));
}
