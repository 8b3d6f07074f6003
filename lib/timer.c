/* SPDX-License-Identifier: MIT */
#include "timer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static void put(struct afn__timers *timers, size_t position, struct afn__timer *timer)
{
    timers->heap[position - 1] = timer;
    timer->position = position;
}

static struct afn__timer *get(const struct afn__timers *timers, size_t position)
{
    return timers->heap[position - 1];
}

static void move_up(struct afn__timers *timers, struct afn__timer *timer, size_t position)
{
    while (position > 1 && timer->deadline < get(timers, position / 2)->deadline) {
        put(timers, position, get(timers, position / 2));
        position /= 2;
    }
    put(timers, position, timer);
}

static void move_down(struct afn__timers *timers, struct afn__timer *timer, size_t position)
{
    for (;;) {
        size_t child = position * 2;

        if (child > timers->count)
            break;
        if (child < timers->count &&
            get(timers, child + 1)->deadline < get(timers, child)->deadline)
            child++;
        if (timer->deadline <= get(timers, child)->deadline)
            break;
        put(timers, position, get(timers, child));
        position = child;
    }
    put(timers, position, timer);
}

int afn__timers_add(struct afn__timers *timers, struct afn__timer *timer, uint64_t deadline)
{
    assert(!timer->position);
    if (timers->count == timers->capacity) {
        size_t capacity = timers->capacity ? timers->capacity * 2 : 16;
        struct afn__timer **heap = realloc(timers->heap, capacity * sizeof(struct afn__timer *));

        if (!heap)
            return -ENOMEM;
        timers->heap = heap;
        timers->capacity = capacity;
    }
    timers->count++;
    timer->deadline = deadline;
    move_up(timers, timer, timers->count);
    return 0;
}

void afn__timers_remove(struct afn__timers *timers, struct afn__timer *timer)
{
    size_t position = timer->position;
    struct afn__timer *last;

    if (!position)
        return;
    timer->position = 0;
    last = get(timers, timers->count);
    timers->count--;
    if (last == timer)
        return;
    if (position > 1 && last->deadline < get(timers, position / 2)->deadline)
        move_up(timers, last, position);
    else
        move_down(timers, last, position);
}

struct afn__timer *afn__timers_first(const struct afn__timers *timers)
{
    return timers->count ? timers->heap[0] : NULL;
}

void afn__timers_release(struct afn__timers *timers)
{
    assert(!timers->count);
    free(timers->heap);
    *timers = (struct afn__timers){0};
}
