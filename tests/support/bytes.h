/* SPDX-License-Identifier: MIT */
#ifndef BYTES_H
#define BYTES_H

#include <stddef.h>

/* A string of bytes that grows, for what a test collects. */
struct bytes {
    unsigned char *data;
    size_t length;
    size_t capacity;
};

void bytes_append(struct bytes *bytes, const void *data, size_t length);
void bytes_remove_front(struct bytes *bytes, size_t length);
void bytes_free(struct bytes *bytes);

/* Bytes that no shift, loss or repetition leaves the same. */
void bytes_fill(struct bytes *bytes, size_t length, unsigned int seed);

#define require_content(bytes, text)                                                               \
    require_bytes((bytes)->data, (bytes)->length, text, sizeof(text) - 1)
#define require_same(actual, expected)                                                             \
    require_bytes((actual)->data, (actual)->length, (expected)->data, (expected)->length)

#endif
