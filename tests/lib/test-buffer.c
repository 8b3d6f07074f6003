/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
#include <errno.h>
#include <stdint.h>

#include "buffer.h"
#include "bytes.h"
#include "fault-alloc.h"
#include "harness.h"

START_TEST(buffer_of_zeros_is_empty_and_owns_nothing)
{
    struct afn__buffer buffer = {0};

    afn__buffer_reset(&buffer);
    require_equal(buffer.length, 0);
    afn__buffer_release(&buffer);
    require(buffer.memory == NULL);
}
END_TEST

START_TEST(buffer_gives_back_in_order_what_was_appended)
{
    struct afn__buffer buffer = {0};
    struct bytes expected = {0};
    struct bytes actual = {0};
    size_t written = 0;

    bytes_fill(&expected, 20000, 1);
    for (size_t step = 1; actual.length < expected.length; step = step % 97 + 1) {
        size_t piece = step * 3;

        if (piece > expected.length - written)
            piece = expected.length - written;
        require_equal(afn__buffer_append(&buffer, expected.data + written, piece), 0);
        written += piece;
        piece = step * 2 < buffer.length ? step * 2 : buffer.length;
        bytes_append(&actual, afn__buffer_data(&buffer), piece);
        afn__buffer_consume(&buffer, piece);
    }
    require_same(&actual, &expected);
    require_equal(buffer.length, 0);
    afn__buffer_release(&buffer);
    bytes_free(&expected);
    bytes_free(&actual);
}
END_TEST

START_TEST(buffer_that_becomes_empty_gives_its_memory_back)
{
    struct afn__buffer buffer = {0};
    long live = fault_alloc_get_live();

    require_equal(afn__buffer_append(&buffer, "abc", 3), 0);
    require(fault_alloc_get_live() > live);
    afn__buffer_consume(&buffer, 3);
    require_equal(fault_alloc_get_live(), live);
}
END_TEST

START_TEST(buffer_uses_the_room_at_its_front_before_it_grows)
{
    struct afn__buffer buffer = {0};

    require_equal(afn__buffer_append(&buffer, "0123456789", 10), 0);
    afn__buffer_consume(&buffer, 6);
    fault_alloc_arm(1, true);
    require_equal(afn__buffer_append(&buffer, "abcdef", 6), 0);
    require(!fault_alloc_disarm());
    require_bytes(afn__buffer_data(&buffer), buffer.length, "6789abcdef", 10);
    afn__buffer_release(&buffer);
}
END_TEST

START_TEST(buffer_that_was_reset_keeps_its_memory)
{
    struct afn__buffer buffer = {0};

    require_equal(afn__buffer_append(&buffer, "0123456789", 10), 0);
    afn__buffer_reset(&buffer);
    require_equal(buffer.length, 0);
    fault_alloc_arm(1, true);
    require_equal(afn__buffer_append(&buffer, "abcdefghij", 10), 0);
    require(!fault_alloc_disarm());
    require_bytes(afn__buffer_data(&buffer), buffer.length, "abcdefghij", 10);
    afn__buffer_release(&buffer);
}
END_TEST

START_TEST(buffer_without_memory_keeps_what_it_has)
{
    struct afn__buffer buffer = {0};

    require_equal(afn__buffer_append(&buffer, "abc", 3), 0);
    fault_alloc_arm(1, true);
    require_equal(afn__buffer_reserve(&buffer, 1000), -ENOMEM);
    require_equal(afn__buffer_append(&buffer, "0123456789", 10), -ENOMEM);
    require(fault_alloc_disarm());
    require_bytes(afn__buffer_data(&buffer), buffer.length, "abc", 3);
    afn__buffer_release(&buffer);
}
END_TEST

START_TEST(buffer_refuses_a_length_that_no_memory_has)
{
    struct afn__buffer buffer = {0};

    require_equal(afn__buffer_append(&buffer, "abc", 3), 0);
    require_equal(afn__buffer_reserve(&buffer, SIZE_MAX), -ENOMEM);
    require_equal(afn__buffer_reserve(&buffer, SIZE_MAX - 3), -ENOMEM);
    require_bytes(afn__buffer_data(&buffer), buffer.length, "abc", 3);
    afn__buffer_release(&buffer);
}
END_TEST

START_TEST(buffer_accepts_nothing_without_memory)
{
    struct afn__buffer buffer = {0};

    require_equal(afn__buffer_append(&buffer, NULL, 0), 0);
    require(buffer.memory == NULL);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {buffer_of_zeros_is_empty_and_owns_nothing, 1},
        {buffer_gives_back_in_order_what_was_appended, 1},
        {buffer_that_becomes_empty_gives_its_memory_back, 1},
        {buffer_uses_the_room_at_its_front_before_it_grows, 1},
        {buffer_that_was_reset_keeps_its_memory, 1},
        {buffer_without_memory_keeps_what_it_has, 1},
        {buffer_refuses_a_length_that_no_memory_has, 1},
        {buffer_accepts_nothing_without_memory, 1},
    };

    return harness_main("buffer", cases, COUNT_OF(cases));
}
