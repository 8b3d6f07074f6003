/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check, pthread. */
/* T55: what another thread may ask while the reactor's is at work; for the thread sanitizer. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"
#include "world.h"

#define GLANCES 20000 /* until the work may end */
#define WORK 4096     /* bytes of one write */

/* Another thread that asks again and again, and what it was told. */
struct watcher {
    const void *object;
    void (*look)(struct watcher *watcher);
    size_t high, low;
    size_t largest; /* of the write buffers that it saw */
    atomic_uint count;
    atomic_bool is_told_closing;
};

static void note(struct watcher *watcher, size_t size, bool is_reading, bool is_closing)
{
    require(watcher->low == 100 && watcher->high == 1000);
    if (size > watcher->largest)
        watcher->largest = size;
    require(!is_closing || !is_reading);
    atomic_store(&watcher->is_told_closing, is_closing);
    atomic_fetch_add(&watcher->count, 1);
}

static void look_at_stream(struct watcher *watcher)
{
    const struct afn_stream *stream = watcher->object;
    bool is_closing = afn_stream_is_closing(stream);

    afn_stream_get_write_limits(stream, &watcher->high, &watcher->low);
    note(watcher, afn_stream_get_write_buffer_size(stream),
         is_closing && afn_stream_is_reading(stream), is_closing);
}

static void look_at_datagram(struct watcher *watcher)
{
    const struct afn_datagram *datagram = watcher->object;
    bool is_closing = afn_datagram_is_closing(datagram);

    afn_datagram_get_write_limits(datagram, &watcher->high, &watcher->low);
    note(watcher, afn_datagram_get_write_buffer_size(datagram),
         is_closing && afn_datagram_is_reading(datagram), is_closing);
}

static void *watch(void *user)
{
    struct watcher *watcher = user;

    while (!atomic_load(&watcher->is_told_closing))
        watcher->look(watcher);
    return watcher;
}

static void start(struct watcher *watcher, pthread_t *thread, const void *object,
                  void (*look)(struct watcher *watcher))
{
    *watcher = (struct watcher){.object = object, .look = look};
    require(pthread_create(thread, NULL, watch, watcher) == 0);
}

/* It ends by itself once it was told of the end. */
static void join(struct watcher *watcher, pthread_t thread, size_t most)
{
    void *result;

    require(pthread_join(thread, &result) == 0);
    require(result == watcher);
    require(watcher->largest <= most);
}

START_TEST(stream_tells_another_thread_what_it_is_doing)
{
    static const char data[WORK];
    struct world world;
    struct link link;
    struct watcher watcher;
    pthread_t thread;

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, NULL);
    require_equal(afn_stream_set_write_limits(link.stream, 1000, 100), 0);
    start(&watcher, &thread, link.stream, look_at_stream);
    while (atomic_load(&watcher.count) < GLANCES) {
        while (afn_stream_get_write_buffer_size(link.stream) < 3 * sizeof data)
            require(afn_stream_write(link.stream, data, sizeof data) >= 0);
        afn_stream_pause_reading(link.stream);
        afn_stream_resume_reading(link.stream);
        pump_idle(&world);
    }
    recorder_end(&link.recorder);
    join(&watcher, thread, 4 * sizeof data);
    pump_until(&world, recorder_is_closed(&link.recorder));
    link_close(&link);
    world_close(&world);
}
END_TEST

static void on_received(struct afn_datagram *datagram, void *user, const void *data, size_t length,
                        const struct sockaddr *address, socklen_t address_length)
{
    (void)datagram;
    (void)user;
    (void)data;
    (void)length;
    (void)address;
    (void)address_length;
}

static void send_until_queued(struct afn_datagram *datagram)
{
    static const char data[WORK];

    while (afn_datagram_get_write_buffer_size(datagram) < 3 * sizeof data)
        require(afn_datagram_send(datagram, data, sizeof data, NULL, 0) >= 0);
}

static void take_all(int fd)
{
    char data[WORK];

    while (recv(fd, data, sizeof data, MSG_DONTWAIT) > 0)
        continue;
}

START_TEST(datagram_tells_another_thread_what_it_is_doing)
{
    const struct afn_datagram_handler handler = {.size = sizeof handler, .received = on_received};
    struct world world;
    struct afn_datagram *datagram;
    struct watcher watcher;
    pthread_t thread;
    int fds[2];

    world_open(&world);
    require_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
    require_equal(afn_datagram_new(world.reactor, fds[0], &handler, NULL, 0, &datagram), 0);
    require_equal(afn_datagram_set_write_limits(datagram, 1000, 100), 0);
    start(&watcher, &thread, datagram, look_at_datagram);
    while (atomic_load(&watcher.count) < GLANCES) {
        send_until_queued(datagram);
        afn_datagram_pause_reading(datagram);
        afn_datagram_resume_reading(datagram);
        take_all(fds[1]);
        pump_until(&world, afn_datagram_get_write_buffer_size(datagram) == 0);
    }
    afn_datagram_close(datagram);
    /* The bytes and the headers of datagrams are two numbers. */
    join(&watcher, thread, 4 * (WORK + 8));
    pump_until(&world, afn_datagram_get_fd(datagram) < 0);
    afn_datagram_unref(datagram);
    close(fds[1]);
    world_close(&world);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {stream_tells_another_thread_what_it_is_doing, 1},
        {datagram_tells_another_thread_what_it_is_doing, 1},
    };

    return harness_main("glance", cases, COUNT_OF(cases));
}
