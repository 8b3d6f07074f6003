/* SPDX-License-Identifier: MIT */
#include "fault-alloc.h"

#include <openssl/bio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A power of two, and far more than any test has alive. */
#define SLOTS (1u << 17)

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *memory);
BIO *__real_BIO_new(const BIO_METHOD *method);
BIO_METHOD *__real_BIO_meth_new(int type, const char *name);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *memory);
BIO *__wrap_BIO_new(const BIO_METHOD *method);
BIO_METHOD *__wrap_BIO_meth_new(int type, const char *name);

static unsigned int fail_at; /* 0: never */
static bool fail_persistently;
static bool failed;
static unsigned int allocations;
static unsigned int suspensions;

/* A hash table of what is alive, with linear probing. */
static void *slots[SLOTS];
static long live;

void fault_alloc_arm(unsigned int k, bool persistent)
{
    fail_at = k;
    fail_persistently = persistent;
    failed = false;
    allocations = 0;
}

bool fault_alloc_disarm(void)
{
    fail_at = 0;
    return failed;
}

void fault_alloc_suspend(void)
{
    suspensions++;
}

void fault_alloc_resume(void)
{
    suspensions--;
}

void fault_alloc_start_count(void)
{
    memset(slots, 0, sizeof slots);
    live = 0;
}

long fault_alloc_get_live(void)
{
    return live;
}

static bool must_fail(void)
{
    if (fail_at == 0 || suspensions > 0)
        return false;
    allocations++;
    if (allocations != fail_at && !(fail_persistently && allocations > fail_at))
        return false;
    failed = true;
    return true;
}

static size_t find_home(const void *memory)
{
    return (size_t)(((uintptr_t)memory >> 4) * UINT64_C(0x9E3779B97F4A7C15) >> 47) % SLOTS;
}

static void *note(void *memory)
{
    size_t slot;

    if (memory == NULL)
        return NULL;
    for (slot = find_home(memory); slots[slot] != NULL; slot = (slot + 1) % SLOTS)
        ;
    slots[slot] = memory;
    live++;
    return memory;
}

static void forget(const void *memory)
{
    size_t gap = find_home(memory);
    size_t slot;

    while (slots[gap] != memory) {
        if (slots[gap] == NULL)
            return;
        gap = (gap + 1) % SLOTS;
    }
    live--;
    /* Moves back whatever the gap would hide. */
    for (slot = (gap + 1) % SLOTS; slots[slot] != NULL; slot = (slot + 1) % SLOTS) {
        size_t home = find_home(slots[slot]);

        if ((slot - home) % SLOTS >= (slot - gap) % SLOTS) {
            slots[gap] = slots[slot];
            gap = slot;
        }
    }
    slots[gap] = NULL;
}

void *__wrap_malloc(size_t size)
{
    return must_fail() ? NULL : note(__real_malloc(size));
}

void *__wrap_calloc(size_t items, size_t size)
{
    return must_fail() ? NULL : note(__real_calloc(items, size));
}

void *__wrap_realloc(void *old, size_t size)
{
    if (must_fail())
        return NULL;
    if (old != NULL)
        forget(old);
    return note(__real_realloc(old, size));
}

void __wrap_free(void *memory)
{
    if (memory != NULL)
        forget(memory);
    __real_free(memory);
}

BIO *__wrap_BIO_new(const BIO_METHOD *method)
{
    return must_fail() ? NULL : __real_BIO_new(method);
}

BIO_METHOD *__wrap_BIO_meth_new(int type, const char *name)
{
    return must_fail() ? NULL : __real_BIO_meth_new(type, name);
}
