/* SPDX-License-Identifier: MIT */
#ifndef AFN_WATERMARKS_H
#define AFN_WATERMARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The default high-water mark, bytes; the low one is a quarter. */
#define AFN__HIGH_WATER ((size_t)64 * 1024)

/* A limit that is left to the library. */
#define AFN__DEFAULT_LIMIT SIZE_MAX

/* The marks of a write buffer, and on which side of them it is. */
struct afn__watermarks {
    size_t high, low;
    uint64_t hits; /* how often the high mark was passed */
    bool is_above; /* the high mark, until the low one */
};

#define AFN__WATERMARKS_INITIAL                                                                    \
    ((struct afn__watermarks){.high = AFN__HIGH_WATER, .low = AFN__HIGH_WATER / 4})

/* Sets the marks: 0, or -EINVAL when low is above high, and nothing changed. */
int afn__watermarks_set(struct afn__watermarks *marks, size_t high, size_t low);

/* Notes that the buffer has grown to size, and says whether it is above. */
static inline bool afn__watermarks_rise(struct afn__watermarks *marks, size_t size)
{
    if (!marks->is_above && size > marks->high) {
        marks->is_above = true;
        marks->hits++;
    }
    return marks->is_above;
}

/* May one that was above be filled again? */
static inline bool afn__watermarks_is_low(const struct afn__watermarks *marks, size_t size)
{
    return marks->is_above && size <= marks->low;
}

#endif
