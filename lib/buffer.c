/* SPDX-License-Identifier: MIT */
#include "buffer.h"

#include "glance.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int afn__buffer_reserve(struct afn__buffer *buffer, size_t length)
{
    size_t needed, capacity;
    unsigned char *memory;

    if (length <= buffer->capacity - buffer->start - buffer->length)
        return 0;
    if (length > SIZE_MAX / 2 - buffer->length)
        return -ENOMEM;
    needed = buffer->length + length;
    if (needed <= buffer->capacity) {
        memmove(buffer->memory, afn__buffer_data(buffer), buffer->length);
        buffer->start = 0;
        return 0;
    }
    /* The first allocation fits exactly: most buffers are filled once and then emptied. */
    capacity = buffer->capacity && needed < buffer->capacity * 2 ? buffer->capacity * 2 : needed;
    memory = malloc(capacity);
    if (!memory)
        return -ENOMEM;
    if (buffer->length)
        memcpy(memory, afn__buffer_data(buffer), buffer->length);
    free(buffer->memory);
    buffer->memory = memory;
    buffer->start = 0;
    buffer->capacity = capacity;
    return 0;
}

int afn__buffer_append(struct afn__buffer *buffer, const void *data, size_t length)
{
    int result;

    if (!length)
        return 0;
    result = afn__buffer_reserve(buffer, length);
    if (result < 0)
        return result;
    memcpy(afn__buffer_data(buffer) + buffer->length, data, length);
    AFN__SHOW(buffer->length, buffer->length + length);
    return 0;
}

void afn__buffer_consume(struct afn__buffer *buffer, size_t length)
{
    assert(length <= buffer->length);
    buffer->start += length;
    AFN__SHOW(buffer->length, buffer->length - length);
    if (!buffer->length)
        afn__buffer_release(buffer);
}

void afn__buffer_reset(struct afn__buffer *buffer)
{
    buffer->start = 0;
    AFN__SHOW(buffer->length, 0);
}

void afn__buffer_release(struct afn__buffer *buffer)
{
    free(buffer->memory);
    buffer->memory = NULL;
    buffer->capacity = 0;
    afn__buffer_reset(buffer);
}
