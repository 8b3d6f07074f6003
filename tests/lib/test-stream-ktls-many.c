/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* A thousand connections at a time over kernel TLS; a hundred where the kernel has none. */
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "delivery.h"
#include "fault-alloc.h"
#include "harness.h"
#include "ktls-link.h"

#define QUESTION "question"
#define FILE_SIZE 2000

struct crowd {
    struct world world;
    size_t count;
    struct link *links;
    struct delivery *deliveries;
    int file;
};

/* Two descriptors a connection, which is more than the usual limit. */
static void allow_descriptors(size_t count)
{
    struct rlimit limit;

    require_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 2 * count + 100;
    require(limit.rlim_cur <= limit.rlim_max);
    require_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void open_crowd(struct crowd *crowd, const struct ktls_setting *setting)
{
    world_open(&crowd->world);
    crowd->count = ktls_is_there() ? WORLD_PEERS : 100;
    allow_descriptors(crowd->count);
    fault_alloc_suspend();
    crowd->links = calloc(crowd->count, sizeof(*crowd->links));
    crowd->deliveries = calloc(crowd->count, sizeof(*crowd->deliveries));
    fault_alloc_resume();
    for (size_t i = 0; i < crowd->count; i++) {
        link_open(&crowd->links[i], &crowd->world, PAIR_TCP, NULL);
        link_start_ktls(&crowd->links[i], setting);
    }
    for (size_t i = 0; i < crowd->count; i++)
        link_await_secured(&crowd->links[i]);
}

static void close_crowd(struct crowd *crowd)
{
    for (size_t i = 0; i < crowd->count; i++)
        link_close(&crowd->links[i]);
    world_close(&crowd->world);
    free(crowd->links);
    free(crowd->deliveries);
}

/* A question is sent back, and a file follows. */
static void converse(struct crowd *crowd, const struct bytes *content)
{
    struct bytes expected = {0};
    bool is_over = false;

    bytes_append(&expected, QUESTION, sizeof(QUESTION) - 1);
    bytes_append(&expected, content->data, content->length);
    for (size_t i = 0; i < crowd->count; i++) {
        crowd->links[i].recorder.echoes = true;
        peer_write_text(&crowd->links[i].peer, QUESTION);
    }
    pump_idle(&crowd->world);
    for (size_t i = 0; i < crowd->count; i++)
        delivery_start(&crowd->deliveries[i], &crowd->links[i], crowd->file, 0,
                       AFN_SENDFILE_TO_END);
    while (!is_over) {
        is_over = true;
        for (size_t i = 0; i < crowd->count; i++)
            is_over &= crowd->links[i].peer.received.length >= expected.length;
        if (!is_over)
            pump_wait(&crowd->world);
    }
    for (size_t i = 0; i < crowd->count; i++) {
        require_same(&crowd->links[i].peer.received, &expected);
        require_delivered(&crowd->deliveries[i], content->length, 0);
    }
    bytes_free(&expected);
}

/* The kernel lets go of a connection some time after it was closed. */
static void await_statistic(const char *name, long expected)
{
    /* Other programs of the machine come and go. */
    if (!ktls_must_be_there())
        return;
    for (int i = 0; i < 1000 && ktls_read_statistic(name) != expected; i++)
        usleep(10000);
    require_equal(ktls_read_statistic(name), expected);
}

START_TEST(thousand_connections_leave_nothing_behind)
{
    /* Of this version the kernel has both keys, whatever the OpenSSL. */
    struct ktls_setting setting = {TLS1_2_VERSION, 1, KTLS_BOTH, 0};
    unsigned int expected = ktls_expect(&setting);
    long sending = ktls_read_statistic("TlsCurrTxSw");
    long receiving = ktls_read_statistic("TlsCurrRxSw");
    struct crowd crowd;
    struct bytes content = {0};

    bytes_fill(&content, FILE_SIZE, 1);
    crowd.file = delivery_make_file(&content);
    open_crowd(&crowd, &setting);
    converse(&crowd, &content);
    if (expected != 0 && ktls_must_be_there()) {
        require_equal(ktls_read_statistic("TlsCurrTxSw") - sending, (long)crowd.count);
        require_equal(ktls_read_statistic("TlsCurrRxSw") - receiving, (long)crowd.count);
    }
    for (size_t i = 0; i < crowd.count; i++) {
        crowd.links[i].peer.is_polite = true;
        recorder_end(&crowd.links[i].recorder);
    }
    for (size_t i = 0; i < crowd.count; i++) {
        pump_until(&crowd.world, recorder_is_closed(&crowd.links[i].recorder));
        require_equal(crowd.links[i].recorder.error, 0);
    }
    close_crowd(&crowd);
    await_statistic("TlsCurrTxSw", sending);
    await_statistic("TlsCurrRxSw", receiving);
    bytes_free(&content);
    close(crowd.file);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {{thousand_connections_leave_nothing_behind, 1}};

    return harness_main("stream-ktls-many", cases, COUNT_OF(cases));
}
