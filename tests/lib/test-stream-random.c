/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* Two streams and a long row of things that happen to them, the same row in every run. */
#include <errno.h>
#include <string.h>

#include "certificate.h"
#include "fault-sys.h"
#include "harness.h"
#include "world.h"

#define SEEDS 40
#define STEPS 150
#define LARGEST 40000

struct side {
    struct afn_stream *stream;
    struct recorder recorder;
    struct bytes accepted; /* what its writes took, in order */
    unsigned int corks;
    unsigned int references;
    unsigned int releases;
};

static uint32_t state;

static uint32_t draw(uint32_t limit)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return (state >> 7) % limit;
}

static void count_release(void *user)
{
    unsigned int *releases = user;

    ++*releases;
}

static void side_open(struct side *side, struct world *world, int fd)
{
    memset(side, 0, sizeof *side);
    require_equal(afn_stream_new(world->reactor, fd,
                                 draw(2) ? &recorder_handler : &recorder_buffered_handler,
                                 &side->recorder, 0, &side->stream),
                  0);
    recorder_open(&side->recorder, side->stream);
    side->recorder.buffer_size = 1 + draw(4096);
    side->recorder.keeps_open = true;
}

static void side_close(struct side *side)
{
    afn_stream_unref(side->stream);
    require_equal(side->releases, side->references);
    recorder_close(&side->recorder);
    bytes_free(&side->accepted);
}

static void start_tls(struct side *side, int version, int is_server)
{
    SSL *ssl = certificate_make_ssl(version, is_server);

    require_equal(afn_stream_start_tls(side->stream, ssl, NULL), 0);
    SSL_free(ssl);
}

/* The next bytes of a text that depends on nothing but their place. */
static size_t prepare(struct bytes *data)
{
    data->length = 0;
    bytes_fill(data, draw(8) ? draw(500) : draw(LARGEST), state);
    return data->length;
}

static void write_some(struct side *side, struct bytes *data, const struct bytes *lent)
{
    size_t length = prepare(data);
    struct afn_buffer parts[3] = {
        {data->data, length / 4}, {data->data, 0}, {data->data + length / 4, length - length / 4}};

    switch (draw(3)) {
    case 0:
        require(afn_stream_write(side->stream, data->data, length) >= 0);
        break;
    case 1:
        require(afn_stream_writev(side->stream, parts, 3) >= 0);
        break;
    default:
        side->references++;
        length = draw(LARGEST);
        require(afn_stream_write_ref(side->stream, lent->data, length, count_release,
                                     &side->releases) >= 0);
        bytes_append(&side->accepted, lent->data, length);
        return;
    }
    bytes_append(&side->accepted, data->data, length);
}

static void disturb(struct side *side)
{
    switch (draw(8)) {
    case 0:
        recorder_pause(&side->recorder);
        break;
    case 1:
    case 2:
        recorder_resume(&side->recorder);
        break;
    case 3:
        afn_stream_cork(side->stream);
        side->corks++;
        break;
    case 4:
        if (side->corks > 0) {
            afn_stream_uncork(side->stream);
            side->corks--;
        }
        break;
    case 5:
        require(afn_stream_set_write_limits(side->stream, draw(100000), 0) >= 0);
        break;
    case 6:
        fault_sys_limit(draw(2) ? FAULT_SEND : FAULT_RECV, draw(3) ? 1 + draw(5000) : 0);
        break;
    default:
        fault_sys_fail(draw(2) ? FAULT_SEND : FAULT_RECV, draw(4), 1 + draw(3), -EAGAIN);
        break;
    }
}

static void settle_down(struct side *side)
{
    while (side->corks > 0) {
        afn_stream_uncork(side->stream);
        side->corks--;
    }
    recorder_resume(&side->recorder);
}

/* Each side ends its writing; when both have read everything, both are closed. */
static void part(struct world *world, struct side *left, struct side *right)
{
    settle_down(left);
    settle_down(right);
    require_equal(afn_stream_write_eof(left->stream), 0);
    require_equal(afn_stream_write_eof(right->stream), 0);
    pump_until(world,
               left->recorder.counts[EVENT_EOF] == 1 && right->recorder.counts[EVENT_EOF] == 1);
    require_same(&right->recorder.data, &left->accepted);
    require_same(&left->recorder.data, &right->accepted);
    recorder_end(&left->recorder);
    recorder_end(&right->recorder);
    pump_until(world, recorder_is_closed(&left->recorder) && recorder_is_closed(&right->recorder));
    require_equal(left->recorder.error, 0);
    require_equal(right->recorder.error, 0);
}

/* Variants: in the clear, TLS 1.3, TLS 1.2. */
static void live(int variant, uint32_t seed)
{
    struct world world;
    struct side sides[2];
    struct bytes data = {0};
    struct bytes lent = {0};
    enum pair_kind kind;
    int fds[2];

    state = seed * 2654435761u + 12345;
    kind = draw(2) ? PAIR_UNIX : PAIR_TCP;
    fault_sys_reset();
    world_open(&world);
    sockets_make_pair(kind, fds);
    /* Not TCP: with windows as small as these it waits for its timers. */
    if (kind == PAIR_UNIX && draw(2))
        sockets_shrink(fds[0]);
    bytes_fill(&lent, LARGEST, seed);
    for (int i = 0; i < 2; i++)
        side_open(&sides[i], &world, fds[i]);
    for (int i = 0; i < 2 && variant > 0; i++)
        start_tls(&sides[i], certificate_get_version(variant - 1), i);
    for (int step = 0; step < STEPS; step++) {
        struct side *side = &sides[draw(2)];

        if (draw(3) == 0)
            write_some(side, &data, &lent);
        else
            disturb(side);
        if (draw(2) && pump_is_ready(&world))
            pump_dispatch(&world);
    }
    /* The rest runs on a system without moods. */
    fault_sys_reset();
    part(&world, &sides[0], &sides[1]);
    bytes_free(&data);
    bytes_free(&lent);
    side_close(&sides[0]);
    side_close(&sides[1]);
    world_close(&world);
}

START_TEST(streams_lose_nothing_whatever_happens)
{
    for (uint32_t seed = 1; seed <= SEEDS; seed++)
        live(_i, seed);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {streams_lose_nothing_whatever_happens, 3},
    };

    return harness_main("stream-random", cases, COUNT_OF(cases));
}
