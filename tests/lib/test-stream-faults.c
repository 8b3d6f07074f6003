/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* Streams on a system that does the least it may, fails at every step, or has no memory. */
#include <errno.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "certificate.h"
#include "fault-alloc.h"
#include "fault-sys.h"
#include "harness.h"
#include "world.h"

/* Variants: in the clear, TLS 1.3, TLS 1.2. */
#define VARIANTS 3

static void count_release(void *user)
{
    unsigned int *releases = user;

    ++*releases;
}

static void open_variant(struct link *link, struct world *world, int variant,
                         const struct afn_stream_handler *handler)
{
    world_open(world);
    link_open(link, world, PAIR_UNIX, handler);
    if (variant > 0)
        link_secure(link, certificate_get_version(variant - 1), 1);
}

/* Both directions at once, then a close; what arrives must be what was sent. */
static void exchange(int variant, const struct afn_stream_handler *handler, size_t length)
{
    struct world world;
    struct link link;
    struct bytes up = {0};
    struct bytes down = {0};
    unsigned int releases = 0;

    open_variant(&link, &world, variant, handler);
    link.peer.is_polite = true;
    bytes_fill(&up, length, 50);
    bytes_fill(&down, length, 51);
    peer_write(&link.peer, up.data, up.length);
    require(afn_stream_write(link.stream, down.data, length / 3) >= 0);
    require(afn_stream_write_ref(link.stream, down.data + length / 3, length - length / 3,
                                 count_release, &releases) >= 0);
    pump_until(&world, link.recorder.data.length >= length);
    recorder_end(&link.recorder);
    pump_until(&world, recorder_is_closed(&link.recorder));
    pump_until(&world, link.peer.has_eof || link.peer.error != 0);
    require_same(&link.recorder.data, &up);
    require_same(&link.peer.received, &down);
    require_equal(link.recorder.error, 0);
    require_equal(releases, 1);
    bytes_free(&up);
    bytes_free(&down);
    link_close(&link);
    world_close(&world);
}

START_TEST(short_transfers_lose_nothing)
{
    static const size_t limits[] = {1, 7, 1000, 16384};

    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        size_t length = limits[i] * 37 + 20000;

        fault_sys_reset();
        fault_sys_limit(FAULT_SEND, limits[i]);
        exchange(_i, &recorder_handler, length);
        fault_sys_reset();
        fault_sys_limit(FAULT_RECV, limits[i]);
        exchange(_i, &recorder_buffered_handler, length);
        fault_sys_limit(FAULT_SEND, limits[i]);
        exchange(_i, &recorder_handler, length);
    }
}
END_TEST

START_TEST(calls_that_must_be_tried_again_lose_nothing)
{
    for (unsigned int skip = 0; skip < 12; skip++) {
        fault_sys_reset();
        fault_sys_fail(FAULT_SEND, skip, 3, -EAGAIN);
        fault_sys_fail(FAULT_RECV, skip / 2, 2, -EAGAIN);
        fault_sys_limit(FAULT_SEND, 5000);
        exchange(_i, &recorder_handler, 100000);
    }
}
END_TEST

/* ---- errors ---- */

/* One call fails; the stream ends with that error, once, and gives everything back. */
static bool end_with(int variant, enum fault_call call, unsigned int skip, int error)
{
    struct world world;
    struct link link;
    struct bytes data = {0};
    unsigned int releases = 0;
    unsigned int accepted = 0;
    bool has_failed;

    fault_sys_reset();
    open_variant(&link, &world, variant, NULL);
    fault_sys_clear_counts();
    fault_sys_limit(call, 3000);
    fault_sys_fail(call, skip, 1, error);
    bytes_fill(&data, 20000, 52);
    peer_write(&link.peer, data.data, data.length);
    for (int i = 0; i < 3; i++) {
        require(afn_stream_write_ref(link.stream, data.data, data.length, count_release,
                                     &releases) >= -EPIPE);
        accepted++;
    }
    pump_until(&world, recorder_is_closed(&link.recorder) ||
                           (link.recorder.data.length == data.length &&
                            link.peer.received.length == data.length * 3));
    pump_idle(&world);
    has_failed = fault_sys_count(call) > skip;
    if (has_failed) {
        require_equal(link.recorder.counts[EVENT_CLOSED], 1);
        require_equal(link.recorder.error, error);
        require_equal(releases, accepted);
        require(!sockets_is_open(link.fd));
    }
    require_bytes(link.recorder.data.data, link.recorder.data.length, data.data,
                  link.recorder.data.length);
    link_close(&link);
    require_equal(releases, accepted);
    bytes_free(&data);
    world_close(&world);
    return has_failed;
}

START_TEST(stream_ends_with_the_error_of_its_receive)
{
    static const int errors[] = {-ECONNRESET, -ETIMEDOUT, -ENOMEM};
    unsigned int skip = 0;

    while (end_with(_i, FAULT_RECV, skip, errors[skip % COUNT_OF(errors)]))
        skip++;
    require(skip > 5);
}
END_TEST

START_TEST(stream_ends_with_the_error_of_its_send)
{
    static const int errors[] = {-EPIPE, -ECONNRESET, -ENOBUFS};
    unsigned int skip = 0;

    while (end_with(_i, FAULT_SEND, skip, errors[skip % COUNT_OF(errors)]))
        skip++;
    require(skip > 5);
}
END_TEST

START_TEST(stream_ends_when_it_cannot_wait_for_room)
{
    fault_sys_fail(FAULT_EPOLL_MODIFY, 0, 1, -ENOMEM);
    for (int is_paused = 0; is_paused < 2; is_paused++) {
        struct world world;
        struct link link;
        struct bytes data = {0};

        fault_sys_reset();
        open_variant(&link, &world, _i, NULL);
        if (is_paused)
            recorder_pause(&link.recorder);
        bytes_fill(&data, 8 << 20, 53);
        fault_sys_fail(FAULT_EPOLL_MODIFY, 0, 1, -ENOMEM);
        require(afn_stream_write(link.stream, data.data, data.length) >= 0);
        pump_until(&world, recorder_is_closed(&link.recorder));
        require_equal(link.recorder.error, -ENOMEM);
        bytes_free(&data);
        link_close(&link);
        world_close(&world);
    }
}
END_TEST

START_TEST(write_eof_that_fails_ends_the_stream)
{
    struct world world;
    struct link link;

    open_variant(&link, &world, 0, NULL);
    fault_sys_fail(FAULT_SHUTDOWN, 0, 1, -ENOTCONN);
    require_equal(afn_stream_write_eof(link.stream), 0);
    pump_until(&world, recorder_is_closed(&link.recorder));
    require_equal(link.recorder.error, -ENOTCONN);
    link_close(&link);
    world_close(&world);
}
END_TEST

/* T44 */
START_TEST(stream_that_cannot_be_made_leaves_the_descriptor)
{
    static const struct {
        enum fault_call call;
        int error;
    } faults[] = {
        {FAULT_GET_KIND, -EBADF},
        {FAULT_SET_NONBLOCKING, -EBADF},
        {FAULT_EPOLL_ADD, -ENOSPC},
    };
    struct world world;
    struct afn_stream *stream = NULL;
    int fds[2];

    world_open(&world);
    sockets_make_pair(PAIR_UNIX, fds);
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        fault_sys_fail(faults[i].call, 0, 1, faults[i].error);
        require_equal(afn_stream_new(world.reactor, fds[0], &recorder_handler, NULL, 0, &stream),
                      faults[i].error);
    }
    fault_alloc_arm(1, false);
    require_equal(afn_stream_new(world.reactor, fds[0], &recorder_handler, NULL, 0, &stream),
                  -ENOMEM);
    require(fault_alloc_disarm());
    require(stream == NULL);
    require(sockets_is_open(fds[0]));
    require_equal(fault_sys_count(FAULT_CLOSE), 0);
    close(fds[0]);
    close(fds[1]);
    world_close(&world);
}
END_TEST

/* ---- no memory ---- */

/* Writes in all ways; the bytes of those that were accepted are what the peer may get. */
static void write_all_ways(struct link *link, const struct bytes *data, struct bytes *accepted,
                           unsigned int *offers, unsigned int *releases)
{
    size_t third = data->length / 3;
    struct afn_buffer parts[2] = {{data->data, third}, {data->data + third, third}};

    if (afn_stream_write(link->stream, data->data, third) >= 0)
        bytes_append(accepted, data->data, third);
    ++*offers;
    if (afn_stream_write_ref(link->stream, data->data, data->length, count_release, releases) >= 0)
        bytes_append(accepted, data->data, data->length);
    if (afn_stream_writev(link->stream, parts, 2) >= 0)
        bytes_append(accepted, data->data, third * 2);
}

/* Returns the last result of start_tls. */
static int start_tls(struct link *link, int version)
{
    static const struct afn_tls_options options = {
        .size = sizeof options,
        .handshake_timeout = MINUTE,
        .shutdown_timeout = MINUTE,
    };
    SSL *ssl;
    const BIO *before;
    int result;

    fault_alloc_suspend();
    ssl = certificate_make_ssl(version, 1);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    fault_alloc_resume();
    before = SSL_get_rbio(ssl);
    result = afn_stream_start_tls(link->stream, ssl, &options);
    if (result < 0) {
        require_equal(result, -ENOMEM);
        require(SSL_get_rbio(ssl) == before);
        require(afn_stream_get_ssl(link->stream) == NULL);
    } else {
        peer_start_tls(&link->peer, version, 0);
    }
    SSL_free(ssl);
    return result;
}

/* A whole life; returns whether an allocation failed in it. */
static bool live(int variant, const struct bytes *data, unsigned int k, bool is_persistent)
{
    struct world world;
    struct link link;
    struct bytes accepted = {0};
    unsigned int offers = 0;
    unsigned int releases = 0;
    bool has_failed;
    int result = 0;

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, NULL);
    sockets_shrink(link.fd);
    link.peer.is_polite = true;
    fault_alloc_arm(k, is_persistent);
    if (variant > 0)
        result = start_tls(&link, certificate_get_version(variant - 1));
    write_all_ways(&link, data, &accepted, &offers, &releases);
    if (result == 0) {
        peer_write(&link.peer, data->data, data->length);
        pump_until(&world,
                   recorder_is_closed(&link.recorder) || link.recorder.data.length == data->length);
        write_all_ways(&link, data, &accepted, &offers, &releases);
    }
    recorder_end(&link.recorder);
    pump_until(&world, recorder_is_closed(&link.recorder));
    pump_until(&world, link.peer.has_eof || link.peer.error != 0 || link.peer.ssl_error != 0);
    has_failed = fault_alloc_disarm();
    require_equal(releases, offers);
    require(link.recorder.error == 0 || has_failed);
    if (link.recorder.error == 0)
        require_same(&link.peer.received, &accepted);
    else
        require(link.peer.received.length <= data->length * 4);
    ERR_clear_error();
    bytes_free(&accepted);
    link_close(&link);
    world_close(&world);
    return has_failed;
}

START_TEST(stream_survives_the_failure_of_every_allocation)
{
    struct bytes data = {0};
    unsigned int k = 1;

    bytes_fill(&data, 30000, 54);
    while (live(_i, &data, k, false))
        k++;
    require(k > 3);
    /* And that of all that follow. */
    for (unsigned int i = 1; i < k; i++)
        live(_i, &data, i, true);
    bytes_free(&data);
}
END_TEST

START_TEST(tls_survives_the_failure_of_every_allocation_while_it_reads_byte_by_byte)
{
    struct bytes data = {0};
    unsigned int k = 1;
    bool has_failed = true;

    bytes_fill(&data, 300, 55);
    for (; has_failed; k++) {
        fault_sys_reset();
        fault_sys_limit(FAULT_RECV, 100);
        has_failed = live(1 + _i, &data, k, k % 2);
    }
    require(k > 10);
    bytes_free(&data);
}
END_TEST

/* T44: with clear bytes in the queue, which would have to be moved. */
START_TEST(start_tls_without_memory_leaves_the_stream_in_the_clear)
{
    struct bytes data = {0};
    bool has_failed = true;
    unsigned int k;

    bytes_fill(&data, 2000000, 56);
    for (k = 1; has_failed; k++) {
        struct world world;
        struct link link;
        int result;

        world_open(&world);
        link_open(&link, &world, PAIR_UNIX, NULL);
        link.peer.is_deaf = true;
        require_equal(afn_stream_write(link.stream, data.data, data.length / 2), 1);
        fault_alloc_arm(k, false);
        result = start_tls(&link, TLS1_3_VERSION);
        has_failed = fault_alloc_disarm();
        require_equal(result, has_failed ? -ENOMEM : 0);
        if (has_failed) {
            require_equal(afn_stream_write(link.stream, data.data + data.length / 2,
                                           data.length - data.length / 2),
                          1);
            link.peer.is_deaf = false;
            pump_until(&world, link.peer.received.length >= data.length);
            require_same(&link.peer.received, &data);
        }
        link_close(&link);
        world_close(&world);
    }
    require(k > 4);
    bytes_free(&data);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {short_transfers_lose_nothing, VARIANTS},
        {calls_that_must_be_tried_again_lose_nothing, VARIANTS},
        {stream_ends_with_the_error_of_its_receive, VARIANTS},
        {stream_ends_with_the_error_of_its_send, VARIANTS},
        {stream_ends_when_it_cannot_wait_for_room, VARIANTS},
        {write_eof_that_fails_ends_the_stream, 1},
        {stream_that_cannot_be_made_leaves_the_descriptor, 1},
        {stream_survives_the_failure_of_every_allocation, VARIANTS},
        {tls_survives_the_failure_of_every_allocation_while_it_reads_byte_by_byte, TLS_VERSIONS},
        {start_tls_without_memory_leaves_the_stream_in_the_clear, 1},
    };

    return harness_main("stream-faults", cases, COUNT_OF(cases));
}
