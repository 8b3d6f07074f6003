/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "fault-alloc.h"
#include "harness.h"
#include "queue.h"

#define PARTS 64

static void count_release(void *user)
{
    unsigned int *releases = user;

    ++*releases;
}

/* Moves what the queue shows first to the end of target. */
static void take(struct afn__queue *queue, struct bytes *target, size_t length)
{
    struct iovec parts[PARTS];
    size_t count = afn__queue_peek(queue, parts, PARTS);
    size_t left = length;

    for (size_t i = 0; i < count && left > 0; i++) {
        size_t piece = parts[i].iov_len < left ? parts[i].iov_len : left;

        bytes_append(target, parts[i].iov_base, piece);
        left -= piece;
    }
    afn__queue_consume(queue, length - left);
}

START_TEST(queue_of_zeros_is_empty)
{
    struct afn__queue queue = {0};
    struct iovec parts[PARTS];
    char target[4];

    require_equal(afn__queue_peek(&queue, parts, PARTS), 0);
    require_equal(afn__queue_copy(&queue, target, sizeof target), 0);
    afn__queue_consume(&queue, 0);
    afn__queue_clear(&queue);
}
END_TEST

START_TEST(queue_keeps_the_order_of_copies_and_references)
{
    struct afn__queue queue = {0};
    struct bytes expected = {0};
    struct bytes actual = {0};
    unsigned int releases = 0;
    unsigned int references = 0;
    size_t written = 0;

    bytes_fill(&expected, 300000, 2);
    for (size_t step = 1; written < expected.length; step = (step * 7) % 9973) {
        size_t piece = step < expected.length - written ? step : expected.length - written;
        const unsigned char *data = expected.data + written;

        if (step % 3 == 0) {
            require_equal(
                afn__queue_append_reference(&queue, data, piece, count_release, &releases), 0);
            references++;
        } else {
            require_equal(afn__queue_append_copy(&queue, data, piece), 0);
        }
        written += piece;
        require_equal(queue.length + actual.length, written);
        take(&queue, &actual, step / 2);
    }
    while (queue.length > 0)
        take(&queue, &actual, 5000);
    require_same(&actual, &expected);
    require_equal(releases, references);
    afn__queue_clear(&queue);
    bytes_free(&expected);
    bytes_free(&actual);
}
END_TEST

START_TEST(queue_copies_what_it_was_told_to_copy)
{
    struct afn__queue queue = {0};
    char source[] = "first";
    char target[16];

    require_equal(afn__queue_append_copy(&queue, source, 5), 0);
    memcpy(source, "XXXXX", 5);
    require_equal(afn__queue_append_copy(&queue, " then", 5), 0);
    require_bytes(target, afn__queue_copy(&queue, target, sizeof target), "first then", 10);
    require_equal(afn__queue_copy(&queue, target, 7), 7);
    afn__queue_clear(&queue);
}
END_TEST

START_TEST(queue_points_at_referenced_memory)
{
    struct afn__queue queue = {0};
    static const char memory[] = "memory";
    struct iovec part;
    unsigned int releases = 0;

    require_equal(afn__queue_append_reference(&queue, memory, 6, count_release, &releases), 0);
    require_equal(afn__queue_peek(&queue, &part, 1), 1);
    require(part.iov_base == memory);
    afn__queue_consume(&queue, 5);
    require_equal(releases, 0);
    require_equal(afn__queue_peek(&queue, &part, 1), 1);
    require(part.iov_base == memory + 5);
    afn__queue_consume(&queue, 1);
    require_equal(releases, 1);
    require_equal(afn__queue_peek(&queue, &part, 1), 0);
}
END_TEST

START_TEST(queue_puts_small_copies_together)
{
    struct afn__queue queue = {0};
    struct iovec parts[PARTS];

    for (int i = 0; i < 100; i++)
        require_equal(afn__queue_append_copy(&queue, "0123456789", 10), 0);
    require_equal(afn__queue_peek(&queue, parts, PARTS), 1);
    require_equal(parts[0].iov_len, 1000);
    afn__queue_clear(&queue);
}
END_TEST

START_TEST(queue_shows_no_more_parts_than_asked_for)
{
    struct afn__queue queue = {0};
    struct iovec parts[4];

    for (int i = 0; i < 9; i++)
        require_equal(afn__queue_append_reference(&queue, "abc", 3, NULL, NULL), 0);
    require_equal(afn__queue_peek(&queue, parts, 4), 4);
    afn__queue_clear(&queue);
    require_equal(queue.length, 0);
}
END_TEST

START_TEST(queue_that_is_cleared_releases_each_reference_once)
{
    struct afn__queue queue = {0};
    unsigned int releases = 0;

    for (int i = 0; i < 3; i++) {
        require_equal(afn__queue_append_copy(&queue, "abc", 3), 0);
        require_equal(afn__queue_append_reference(&queue, "abc", 3, count_release, &releases), 0);
    }
    afn__queue_consume(&queue, 8);
    require_equal(releases, 1);
    afn__queue_clear(&queue);
    require_equal(releases, 3);
    require_equal(queue.length, 0);
    /* It can be used again. */
    require_equal(afn__queue_append_copy(&queue, "abc", 3), 0);
    require_equal(queue.length, 3);
    afn__queue_clear(&queue);
}
END_TEST

START_TEST(queue_without_memory_is_unchanged)
{
    struct afn__queue queue = {0};
    struct bytes big = {0};
    unsigned int releases = 0;
    char target[8];

    bytes_fill(&big, 10000, 3);
    require_equal(afn__queue_append_copy(&queue, "abc", 3), 0);
    fault_alloc_arm(1, true);
    require_equal(afn__queue_append_copy(&queue, big.data, big.length), -ENOMEM);
    require_equal(afn__queue_append_reference(&queue, "def", 3, count_release, &releases), -ENOMEM);
    require(fault_alloc_disarm());
    require_equal(releases, 0);
    require_equal(queue.length, 3);
    require_bytes(target, afn__queue_copy(&queue, target, sizeof target), "abc", 3);
    require_equal(afn__queue_append_copy(&queue, "def", 3), 0);
    require_bytes(target, afn__queue_copy(&queue, target, sizeof target), "abcdef", 6);
    afn__queue_clear(&queue);
    bytes_free(&big);
}
END_TEST

static bool is_range(const struct afn__file_range *range, const void *key)
{
    return (const void *)range == key;
}

START_TEST(queue_shows_bytes_up_to_a_file_range)
{
    /* The queue knows no more of a range than where it is. */
    char places[2];
    struct afn__file_range *ranges[2] = {(void *)&places[0], (void *)&places[1]};
    struct afn__queue queue = {0};
    struct iovec parts[PARTS];
    char target[8];

    require_equal(afn__queue_append_copy(&queue, "one", 3), 0);
    require_equal(afn__queue_append_range(&queue, ranges[0]), 0);
    require_equal(afn__queue_append_copy(&queue, "two", 3), 0);
    require_equal(afn__queue_append_range(&queue, ranges[1]), 0);
    require_equal(queue.length, 6);
    require_equal(queue.ranges, 2);
    require(afn__queue_get_range(&queue) == NULL);
    require(afn__queue_find_range(&queue, is_range, ranges[1]) == ranges[1]);
    require(afn__queue_find_range(&queue, is_range, &queue) == NULL);
    require_equal(afn__queue_peek(&queue, parts, PARTS), 1);
    require_bytes(target, afn__queue_copy(&queue, target, sizeof target), "one", 3);

    afn__queue_consume(&queue, 3);
    require(afn__queue_get_range(&queue) == ranges[0]);
    require_equal(afn__queue_peek(&queue, parts, PARTS), 0);
    afn__queue_consume(&queue, 0);
    afn__queue_remove_range(&queue, ranges[1]);
    require_equal(afn__queue_append_copy(&queue, "+", 1), 0);
    afn__queue_remove_range(&queue, ranges[0]);
    require(afn__queue_find_range(&queue, is_range, ranges[0]) == NULL);
    require_bytes(target, afn__queue_copy(&queue, target, sizeof target), "two+", 4);
    afn__queue_clear(&queue);
    require(afn__queue_is_empty(&queue));
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {queue_of_zeros_is_empty, 1},
        {queue_keeps_the_order_of_copies_and_references, 1},
        {queue_copies_what_it_was_told_to_copy, 1},
        {queue_points_at_referenced_memory, 1},
        {queue_puts_small_copies_together, 1},
        {queue_shows_no_more_parts_than_asked_for, 1},
        {queue_that_is_cleared_releases_each_reference_once, 1},
        {queue_without_memory_is_unchanged, 1},
        {queue_shows_bytes_up_to_a_file_range, 1},
    };

    return harness_main("queue", cases, COUNT_OF(cases));
}
