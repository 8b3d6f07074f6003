/* SPDX-License-Identifier: MIT */
#ifndef AFN_BUFFER_H
#define AFN_BUFFER_H

#include <stddef.h>

/*
 * Bytes that are appended at one end and consumed at the other.  All zero is an empty buffer, which
 * owns no memory.
 */
struct afn__buffer {
    unsigned char *memory;
    size_t start; /* of the bytes within memory */
    size_t length;   /* for glances */
    size_t capacity; /* of memory */
};

/* Makes room for length more bytes behind those there are: 0 or -ENOMEM. */
int afn__buffer_reserve(struct afn__buffer *buffer, size_t length);

/* Copies: 0 or -ENOMEM. */
int afn__buffer_append(struct afn__buffer *buffer, const void *data, size_t length);

/* Forgets the first bytes; an empty buffer gives its memory back. */
void afn__buffer_consume(struct afn__buffer *buffer, size_t length);

/* Forgets all bytes and keeps the memory. */
void afn__buffer_reset(struct afn__buffer *buffer);

/* Forgets all bytes and gives the memory back. */
void afn__buffer_release(struct afn__buffer *buffer);

static inline unsigned char *afn__buffer_data(const struct afn__buffer *buffer)
{
    return buffer->memory + buffer->start;
}

#endif
