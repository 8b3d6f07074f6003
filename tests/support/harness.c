/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault-alloc.h"
#include "fault-sys.h"

/* Seconds; for a test that hangs, not for one that is slow. */
#define TIME_LIMIT 60

static int open_at_start;

static int count_descriptors(void)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");

    if (directory == NULL)
        return -1;
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

static void set_up(void)
{
    /* The library must never rely on SIGPIPE being ignored: it stays as the system has it. */
    signal(SIGPIPE, SIG_DFL);
    fault_sys_reset();
    fault_alloc_disarm();
    open_at_start = count_descriptors();
    fault_alloc_start_count();
}

static void tear_down(void)
{
    fault_alloc_disarm();
    harness_equal(__FILE__, __LINE__, "open descriptors", count_descriptors(), open_at_start);
    harness_equal(__FILE__, __LINE__, "live allocations", fault_alloc_get_live(), 0);
}

int harness_main(const char *name, const struct harness_case *cases, size_t count)
{
    Suite *suite = suite_create(name);
    TCase *tests = tcase_create(name);
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, TIME_LIMIT);
    for (size_t i = 0; i < count; i++)
        tcase_add_loop_test(tests, cases[i].test, 0, cases[i].variants);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

void harness_fail(const char *file, int line, const char *format, ...)
{
    char message[1024];
    va_list arguments;

    fault_alloc_disarm();
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    ck_abort_msg("%s:%d: %s", file, line, message);
    abort();
}

void harness_equal(const char *file, int line, const char *text, intmax_t actual, intmax_t expected)
{
    if (actual != expected)
        harness_fail(file, line, "%s is %" PRIdMAX ", not %" PRIdMAX, text, actual, expected);
}

void harness_string(const char *file, int line, const char *text, const char *actual,
                    const char *expected)
{
    if (strcmp(actual, expected) != 0)
        harness_fail(file, line, "%s is \"%s\", not \"%s\"", text, actual, expected);
}

void harness_bytes(const char *file, int line, const void *actual, size_t actual_length,
                   const void *expected, size_t expected_length)
{
    const unsigned char *left = actual;
    const unsigned char *right = expected;
    size_t common = actual_length < expected_length ? actual_length : expected_length;

    for (size_t i = 0; i < common; i++)
        if (left[i] != right[i])
            harness_fail(file, line, "byte %zu of %zu is %u, not %u", i, actual_length, left[i],
                         right[i]);
    if (actual_length != expected_length)
        harness_fail(file, line, "%zu bytes came, not %zu", actual_length, expected_length);
}
