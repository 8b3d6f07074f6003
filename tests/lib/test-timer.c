/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
#include <errno.h>

#include "fault-alloc.h"
#include "harness.h"
#include "timer.h"

#define TIMERS 500

static uint64_t make_deadline(size_t i)
{
    return (i * 7919) % 251 + 1;
}

static void add_many(struct afn__timers *timers, struct afn__timer *items)
{
    for (size_t i = 0; i < TIMERS; i++)
        require_equal(afn__timers_add(timers, &items[i], make_deadline(i)), 0);
}

/* Takes all of them out, the earliest first. */
static size_t empty(struct afn__timers *timers)
{
    struct afn__timer *timer;
    uint64_t last = 0;
    size_t count = 0;

    while ((timer = afn__timers_first(timers)) != NULL) {
        require(timer->deadline >= last);
        last = timer->deadline;
        afn__timers_remove(timers, timer);
        require_equal(timer->position, 0);
        count++;
    }
    return count;
}

START_TEST(timers_come_out_in_the_order_of_their_deadlines)
{
    struct afn__timers timers = {0};
    struct afn__timer items[TIMERS] = {0};

    add_many(&timers, items);
    require_equal(empty(&timers), TIMERS);
    afn__timers_release(&timers);
}
END_TEST

START_TEST(timers_stay_in_order_when_others_are_removed)
{
    for (size_t stride = 2; stride < 12; stride++) {
        struct afn__timers timers = {0};
        struct afn__timer items[TIMERS] = {0};
        size_t removed = 0;

        add_many(&timers, items);
        for (size_t i = 0; i < TIMERS; i += stride) {
            afn__timers_remove(&timers, &items[(i * 31) % TIMERS]);
            afn__timers_remove(&timers, &items[(i * 31) % TIMERS]);
        }
        for (size_t i = 0; i < TIMERS; i++)
            removed += items[i].position == 0;
        require(removed > 0);
        require_equal(empty(&timers), TIMERS - removed);
        afn__timers_release(&timers);
    }
}
END_TEST

START_TEST(timer_may_be_set_again_after_it_was_removed)
{
    struct afn__timers timers = {0};
    struct afn__timer early = {0};
    struct afn__timer late = {0};

    require_equal(afn__timers_add(&timers, &early, 1), 0);
    require_equal(afn__timers_add(&timers, &late, 5), 0);
    require(afn__timers_first(&timers) == &early);
    afn__timers_remove(&timers, &early);
    require(afn__timers_first(&timers) == &late);
    require_equal(afn__timers_add(&timers, &early, UINT64_MAX), 0);
    require(afn__timers_first(&timers) == &late);
    require_equal(empty(&timers), 2);
    afn__timers_release(&timers);
}
END_TEST

START_TEST(timer_that_was_never_set_can_be_removed)
{
    struct afn__timers timers = {0};
    struct afn__timer timer = {0};

    afn__timers_remove(&timers, &timer);
    require(afn__timers_first(&timers) == NULL);
    afn__timers_release(&timers);
}
END_TEST

START_TEST(timer_that_finds_no_memory_is_not_set)
{
    struct afn__timers timers = {0};
    struct afn__timer items[TIMERS] = {0};
    size_t count = 0;

    fault_alloc_arm(2, true);
    while (count < TIMERS && afn__timers_add(&timers, &items[count], make_deadline(count)) == 0)
        count++;
    require(fault_alloc_disarm());
    require(count > 0 && count < TIMERS);
    require_equal(items[count].position, 0);
    require_equal(empty(&timers), count);
    afn__timers_release(&timers);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {timers_come_out_in_the_order_of_their_deadlines, 1},
        {timers_stay_in_order_when_others_are_removed, 1},
        {timer_may_be_set_again_after_it_was_removed, 1},
        {timer_that_was_never_set_can_be_removed, 1},
        {timer_that_finds_no_memory_is_not_set, 1},
    };

    return harness_main("timer", cases, COUNT_OF(cases));
}
