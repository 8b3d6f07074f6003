/* SPDX-License-Identifier: MIT */
#ifndef AFN_TIMER_H
#define AFN_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One point in time; all zero is a timer that is not set. */
struct afn__timer {
    uint64_t deadline; /* microseconds of CLOCK_MONOTONIC */
    size_t position;   /* in the heap, from 1; 0 when it is not set */
    void (*fire)(struct afn__timer *timer);
};

/* The timers that are set, the earliest first: a binary heap.  All zero is empty. */
struct afn__timers {
    struct afn__timer **heap;
    size_t count;
    size_t capacity;
};

/* Sets a timer that is not set: 0 or -ENOMEM. */
int afn__timers_add(struct afn__timers *timers, struct afn__timer *timer, uint64_t deadline);

/* Unsets a timer; harmless when it is not set. */
void afn__timers_remove(struct afn__timers *timers, struct afn__timer *timer);

/* The earliest one, or NULL. */
struct afn__timer *afn__timers_first(const struct afn__timers *timers);

/* Gives the memory of an empty heap back. */
void afn__timers_release(struct afn__timers *timers);

#endif
