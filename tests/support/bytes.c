/* SPDX-License-Identifier: MIT */
#include "bytes.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fault-alloc.h"
#include "harness.h"

static void reserve(struct bytes *bytes, size_t length)
{
    if (bytes->capacity - bytes->length >= length)
        return;
    fault_alloc_suspend();
    bytes->capacity = (bytes->length + length) * 2;
    bytes->data = realloc(bytes->data, bytes->capacity);
    fault_alloc_resume();
    require(bytes->data != NULL);
}

void bytes_append(struct bytes *bytes, const void *data, size_t length)
{
    if (length == 0)
        return;
    reserve(bytes, length);
    memcpy(bytes->data + bytes->length, data, length);
    bytes->length += length;
}

void bytes_remove_front(struct bytes *bytes, size_t length)
{
    require(length <= bytes->length);
    if (length == 0)
        return;
    bytes->length -= length;
    memmove(bytes->data, bytes->data + length, bytes->length);
}

void bytes_free(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){0};
}

void bytes_fill(struct bytes *bytes, size_t length, unsigned int seed)
{
    uint32_t state = seed * 2654435761u + 1;

    reserve(bytes, length);
    for (size_t i = 0; i < length; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes->data[bytes->length++] = (unsigned char)(state >> 11);
    }
}
