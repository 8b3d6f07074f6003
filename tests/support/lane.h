/* SPDX-License-Identifier: MIT */
#ifndef LANE_H
#define LANE_H

#include "world.h"

/* A stream over a pipe or a device, and its other end as a descriptor of the test. */
struct lane {
    struct world world;
    struct recorder recorder;
    struct afn_stream *stream;
    int fd;    /* the stream's */
    int other; /* non-blocking; -1 once closed */
};

/* Takes both descriptors; other may be -1. */
void lane_open(struct lane *lane, int fd, int other, unsigned int flags);
void lane_open_pipe(struct lane *lane, bool is_reader);
void lane_close_other(struct lane *lane);
void lane_close(struct lane *lane);

/* Reads at the other end until so many bytes are there, or the end, which it returns. */
bool lane_read(struct lane *lane, struct bytes *target, size_t length);
void lane_write(struct lane *lane, const char *text);

#endif
