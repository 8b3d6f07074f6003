/* SPDX-License-Identifier: MIT */
#ifndef HARNESS_H
#define HARNESS_H

#include <check.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What every test program is made of: libcheck, and for each test a time limit and the proof that
 * it left no descriptor open and no allocation of the library's behind.
 *
 * The checks of this file replace ck_assert(): that one allocates at each use, and so would be hit
 * by the allocation failures that tests ask for.
 */

#define require(condition)                                                                         \
    ((condition) ? (void)0 : harness_fail(__FILE__, __LINE__, "%s", #condition))
#define require_equal(actual, expected)                                                            \
    harness_equal(__FILE__, __LINE__, #actual, (intmax_t)(actual), (intmax_t)(expected))
#define require_string(actual, expected)                                                           \
    harness_string(__FILE__, __LINE__, #actual, actual, expected)
#define require_bytes(actual, actual_length, expected, expected_length)                            \
    harness_bytes(__FILE__, __LINE__, actual, actual_length, expected, expected_length)

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* A test, and how often it runs, with the values 0, 1, ... of _i. */
struct harness_case {
    const TTest *test;
    int variants;
};

int harness_main(const char *name, const struct harness_case *cases, size_t count);

void harness_fail(const char *file, int line, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));
void harness_equal(const char *file, int line, const char *text, intmax_t actual,
                   intmax_t expected);
void harness_string(const char *file, int line, const char *text, const char *actual,
                    const char *expected);
void harness_bytes(const char *file, int line, const void *actual, size_t actual_length,
                   const void *expected, size_t expected_length);

#endif
