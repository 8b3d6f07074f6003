/* SPDX-License-Identifier: MIT */
#ifndef AFN_QUEUE_H
#define AFN_QUEUE_H

#include <stddef.h>
#include <sys/uio.h>

struct afn__queue_item;

/*
 * Bytes that wait to be written, in order: copies, and references to memory of somebody else with a
 * function that gives it back.  All zero is an empty queue.
 */
struct afn__queue {
    struct afn__queue_item *first, *last;
    size_t length; /* bytes; for glances */
};

/* Appends a copy: 0 or -ENOMEM, and then nothing was appended. */
int afn__queue_append_copy(struct afn__queue *queue, const void *data, size_t length);

/* Appends a reference: 0; or -ENOMEM, and then release was not called. */
int afn__queue_append_reference(struct afn__queue *queue, const void *data, size_t length,
                                void (*release)(void *user), void *user);

/* Shows the first pieces, up to capacity of them; returns how many. */
size_t afn__queue_peek(const struct afn__queue *queue, struct iovec *parts, size_t capacity);

/* Copies the first bytes, up to capacity of them; returns how many. */
size_t afn__queue_copy(const struct afn__queue *queue, void *target, size_t capacity);

/* Removes the first bytes and gives back what is done with. */
void afn__queue_consume(struct afn__queue *queue, size_t length);

/* Removes everything. */
void afn__queue_clear(struct afn__queue *queue);

#endif
