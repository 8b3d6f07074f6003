/* SPDX-License-Identifier: MIT */
#ifndef AFN_QUEUE_H
#define AFN_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

struct afn__queue_item;
struct afn__file_range;

/*
 * What waits to be written, in order: copies, references to memory of somebody else with a
 * function that gives it back, and ranges of files, of which the queue knows the places only.  All
 * zero is an empty queue.
 */
struct afn__queue {
    struct afn__queue_item *first, *last;
    size_t length; /* bytes in memory; for glances */
    size_t ranges;
};

static inline bool afn__queue_is_empty(const struct afn__queue *queue)
{
    return !queue->first;
}

/* Appends a copy: 0 or -ENOMEM, and then nothing was appended. */
int afn__queue_append_copy(struct afn__queue *queue, const void *data, size_t length);

/* Appends a reference: 0; or -ENOMEM, and then release was not called. */
int afn__queue_append_reference(struct afn__queue *queue, const void *data, size_t length,
                                void (*release)(void *user), void *user);

/* Appends a range, which stays the caller's: 0 or -ENOMEM. */
int afn__queue_append_range(struct afn__queue *queue, struct afn__file_range *range);

/* The range that is next to be written, or NULL when bytes in memory, or nothing, are. */
struct afn__file_range *afn__queue_get_range(const struct afn__queue *queue);

/* The first range for which matches says so, wherever it is, or NULL. */
typedef bool afn__range_matches(const struct afn__file_range *range, const void *key);
struct afn__file_range *afn__queue_find_range(const struct afn__queue *queue,
                                              afn__range_matches *matches, const void *key);

/* Removes a range that is in the queue. */
void afn__queue_remove_range(struct afn__queue *queue, const struct afn__file_range *range);

/* Bytes in memory, up to the first range. */

/* Shows the first pieces, up to capacity of them; returns how many. */
size_t afn__queue_peek(const struct afn__queue *queue, struct iovec *parts, size_t capacity);

/* Copies the first bytes, up to capacity of them; returns how many. */
size_t afn__queue_copy(const struct afn__queue *queue, void *target, size_t capacity);

/* Removes the first bytes and gives back what is done with. */
void afn__queue_consume(struct afn__queue *queue, size_t length);

/* Removes everything; there must be no ranges. */
void afn__queue_clear(struct afn__queue *queue);

#endif
