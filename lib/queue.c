/* SPDX-License-Identifier: MIT */
#include "queue.h"

#include "glance.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Small copies share an item of this size. */
#define SHARED_SIZE 4096

struct afn__queue_item {
    struct afn__queue_item *next;
    const unsigned char *data; /* what is left */
    size_t length;
    size_t room; /* of memory, behind data: of copies only */
    struct afn__file_range *range; /* instead of bytes in memory */
    void (*release)(void *user);
    void *user;
    unsigned char memory[];
};

static struct afn__queue_item *item_new(struct afn__queue *queue, size_t memory)
{
    struct afn__queue_item *item;

    if (memory > SIZE_MAX - sizeof(*item))
        return NULL;
    item = malloc(sizeof(*item) + memory);
    if (!item)
        return NULL;
    *item = (struct afn__queue_item){.data = item->memory, .room = memory};
    if (queue->last)
        queue->last->next = item;
    else
        queue->first = item;
    queue->last = item;
    return item;
}

static void append(struct afn__queue *queue, struct afn__queue_item *item, const void *data,
                   size_t length)
{
    memcpy((unsigned char *)item->data + item->length, data, length);
    item->length += length;
    item->room -= length;
    AFN__SHOW(queue->length, queue->length + length);
}

int afn__queue_append_copy(struct afn__queue *queue, const void *data, size_t length)
{
    struct afn__queue_item *tail = queue->last;
    size_t fits = tail ? tail->room : 0;
    size_t rest;

    if (fits > length)
        fits = length;
    rest = length - fits;
    if (rest && !item_new(queue, rest < SHARED_SIZE ? SHARED_SIZE : rest))
        return -ENOMEM;
    if (fits)
        append(queue, tail, data, fits);
    if (rest)
        append(queue, queue->last, (const unsigned char *)data + fits, rest);
    return 0;
}

int afn__queue_append_reference(struct afn__queue *queue, const void *data, size_t length,
                                void (*release)(void *user), void *user)
{
    struct afn__queue_item *item = item_new(queue, 0);

    if (!item)
        return -ENOMEM;
    item->data = data;
    item->length = length;
    item->release = release;
    item->user = user;
    AFN__SHOW(queue->length, queue->length + length);
    return 0;
}

int afn__queue_append_range(struct afn__queue *queue, struct afn__file_range *range)
{
    struct afn__queue_item *item = item_new(queue, 0);

    if (!item)
        return -ENOMEM;
    item->range = range;
    queue->ranges++;
    return 0;
}

struct afn__file_range *afn__queue_get_range(const struct afn__queue *queue)
{
    return queue->first ? queue->first->range : NULL;
}

struct afn__file_range *afn__queue_find_range(const struct afn__queue *queue,
                                              afn__range_matches *matches, const void *key)
{
    const struct afn__queue_item *item = queue->ranges ? queue->first : NULL;

    while (item && !(item->range && matches(item->range, key)))
        item = item->next;
    return item ? item->range : NULL;
}

void afn__queue_remove_range(struct afn__queue *queue, const struct afn__file_range *range)
{
    struct afn__queue_item *previous = NULL, *item = queue->first;

    while (item->range != range) {
        previous = item;
        item = item->next;
    }
    if (previous)
        previous->next = item->next;
    else
        queue->first = item->next;
    if (!item->next)
        queue->last = previous;
    queue->ranges--;
    free(item);
}

size_t afn__queue_peek(const struct afn__queue *queue, struct iovec *parts, size_t capacity)
{
    const struct afn__queue_item *item;
    size_t count = 0;

    for (item = queue->first; item && !item->range && count < capacity; item = item->next) {
        parts[count].iov_base = (void *)item->data;
        parts[count].iov_len = item->length;
        count++;
    }
    return count;
}

size_t afn__queue_copy(const struct afn__queue *queue, void *target, size_t capacity)
{
    const struct afn__queue_item *item;
    size_t done = 0;

    for (item = queue->first; item && !item->range && done < capacity; item = item->next) {
        size_t piece = item->length < capacity - done ? item->length : capacity - done;

        memcpy((unsigned char *)target + done, item->data, piece);
        done += piece;
    }
    return done;
}

static void remove_first(struct afn__queue *queue)
{
    struct afn__queue_item *item = queue->first;

    queue->first = item->next;
    if (!queue->first)
        queue->last = NULL;
    AFN__SHOW(queue->length, queue->length - item->length);
    if (item->release)
        item->release(item->user);
    free(item);
}

void afn__queue_consume(struct afn__queue *queue, size_t length)
{
    assert(length <= queue->length);
    while (queue->first && !queue->first->range && length >= queue->first->length) {
        length -= queue->first->length;
        remove_first(queue);
    }
    if (length) {
        queue->first->data += length;
        queue->first->length -= length;
        AFN__SHOW(queue->length, queue->length - length);
    }
}

void afn__queue_clear(struct afn__queue *queue)
{
    assert(!queue->ranges);
    while (queue->first)
        remove_first(queue);
}
