/* SPDX-License-Identifier: MIT */
#include "watermarks.h"

#include "glance.h"

#include <errno.h>

int afn__watermarks_set(struct afn__watermarks *marks, size_t high, size_t low)
{
    if (high == AFN__DEFAULT_LIMIT) {
        if (low == AFN__DEFAULT_LIMIT)
            high = AFN__HIGH_WATER;
        else
            high = low < SIZE_MAX / 4 ? low * 4 : SIZE_MAX;
    }
    if (low == AFN__DEFAULT_LIMIT)
        low = high / 4;
    if (low > high)
        return -EINVAL;
    AFN__SHOW(marks->high, high);
    AFN__SHOW(marks->low, low);
    return 0;
}
