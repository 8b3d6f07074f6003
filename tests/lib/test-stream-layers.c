/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* Streams that other streams carry. */
#include <aiofastnet/carrier.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "certificate.h"
#include "delivery.h"
#include "harness.h"
#include "world.h"

/* One end: a stream on a socket, and the one that it carries. */
struct end {
    struct afn_stream *lower, *upper;
    struct recorder recorder; /* of the upper one */
    struct bytes incoming;    /* from the lower one, for the upper one */
    size_t piece;             /* the most that one call takes */
    bool frames;              /* puts its length in front of each */
    struct bytes framed;      /* what came of such ones */
    bool is_full;
    bool is_secured; /* the lower one */
};

static void take_frames(struct end *end)
{
    size_t length;

    while (end->framed.length >= sizeof(length)) {
        memcpy(&length, end->framed.data, sizeof(length));
        if (end->framed.length - sizeof(length) < length)
            break;
        bytes_append(&end->incoming, end->framed.data + sizeof(length), length);
        bytes_remove_front(&end->framed, sizeof(length) + length);
    }
}

static void on_data(struct afn_stream *stream, void *user, const void *data, size_t length)
{
    struct end *end = user;

    (void)stream;
    bytes_append(end->frames ? &end->framed : &end->incoming, data, length);
    take_frames(end);
    if (end->upper != NULL)
        afn_stream_notify(end->upper, AFN_STREAM_READABLE);
}

static void on_secured(struct afn_stream *stream, void *user)
{
    struct end *end = user;

    (void)stream;
    end->is_secured = true;
}

static void on_writable(struct afn_stream *stream, void *user)
{
    struct end *end = user;

    (void)stream;
    end->is_full = false;
    afn_stream_notify(end->upper, AFN_STREAM_WRITABLE);
}

static const struct afn_stream_handler lower_handler = {
    .size = sizeof(lower_handler),
    .data = on_data,
    .secured = on_secured,
    .writable = on_writable,
};

static ssize_t end_receive(void *carrier, void *buffer, size_t length)
{
    struct end *end = carrier;
    size_t count = end->incoming.length < length ? end->incoming.length : length;

    if (count == 0)
        return -EAGAIN;
    memcpy(buffer, end->incoming.data, count);
    bytes_remove_front(&end->incoming, count);
    return (ssize_t)count;
}

static int pass_on(struct end *end, const void *data, size_t length)
{
    const struct afn_buffer parts[] = {{&length, sizeof(length)}, {data, length}};

    return end->frames ? afn_stream_writev(end->lower, parts, COUNT_OF(parts))
                       : afn_stream_write(end->lower, data, length);
}

static ssize_t end_send(void *carrier, const struct afn_buffer *buffers, size_t count)
{
    struct end *end = carrier;
    size_t length = buffers[0].length < end->piece ? buffers[0].length : end->piece;
    int result;

    require(count > 0);
    if (end->is_full)
        return -EAGAIN;
    result = pass_on(end, buffers[0].data, length);
    require(result >= 0);
    end->is_full = result == 1;
    return (ssize_t)length;
}

static int end_write_eof(void *carrier)
{
    struct end *end = carrier;

    return afn_stream_write_eof(end->lower);
}

static void end_close(void *carrier, int error)
{
    struct end *end = carrier;

    (void)error;
    end->upper = NULL;
}

static const struct afn_carrier_ops end_ops = {
    .size = sizeof(end_ops),
    .receive = end_receive,
    .send = end_send,
    .write_eof = end_write_eof,
    .close = end_close,
};

static void start_tls(struct afn_stream *stream, int variant, int is_server)
{
    SSL *ssl = certificate_make_ssl(certificate_get_version(variant), is_server);

    require_equal(afn_stream_start_tls(stream, ssl, NULL), 0);
    SSL_free(ssl);
}

struct layers {
    struct world world;
    struct end ends[2];
};

/* Pieces that are smaller than what the upper stream sends at once, and all of it. */
static const size_t pieces[] = {5000, SIZE_MAX};

#define PIECES ((int)COUNT_OF(pieces))
#define VARIANTS (TLS_VERSIONS * PIECES * 2)

static void layers_open(struct layers *layers, int variant)
{
    int fds[2];

    *layers = (struct layers){0};
    world_open(&layers->world);
    sockets_make_pair(PAIR_TCP, fds);
    for (int i = 0; i < 2; i++) {
        struct end *end = &layers->ends[i];

        require_equal(afn_stream_new(layers->world.reactor, fds[i], &lower_handler, end, 0,
                                     &end->lower),
                      0);
        start_tls(end->lower, variant % TLS_VERSIONS, i);
        end->piece = pieces[variant / TLS_VERSIONS % PIECES];
        end->frames = variant / TLS_VERSIONS >= PIECES;
    }
    pump_until(&layers->world, layers->ends[0].is_secured && layers->ends[1].is_secured);
    for (int i = 0; i < 2; i++) {
        struct end *end = &layers->ends[i];

        require_equal(afn_stream_new_over(layers->world.reactor, &end_ops, end, &recorder_handler,
                                          &end->recorder, 0, &end->upper),
                      0);
        recorder_open(&end->recorder, end->upper);
    }
}

static void layers_close(struct layers *layers)
{
    for (int i = 0; i < 2; i++) {
        struct end *end = &layers->ends[i];

        require(afn_stream_unref(end->upper) == NULL);
        require(afn_stream_unref(end->lower) == NULL);
        recorder_close(&end->recorder);
        bytes_free(&end->incoming);
        bytes_free(&end->framed);
    }
    world_close(&layers->world);
}

START_TEST(tls_over_tls_arrives_whole)
{
    struct layers layers;
    struct bytes sent = {0};

    layers_open(&layers, _i);
    start_tls(layers.ends[0].upper, _i % TLS_VERSIONS, 0);
    start_tls(layers.ends[1].upper, _i % TLS_VERSIONS, 1);
    bytes_fill(&sent, 600000, 1);
    require(afn_stream_write(layers.ends[0].upper, sent.data, sent.length) >= 0);
    pump_until(&layers.world, layers.ends[1].recorder.data.length >= sent.length ||
                                  recorder_is_closed(&layers.ends[1].recorder));
    require_same(&layers.ends[1].recorder.data, &sent);
    bytes_free(&sent);
    layers_close(&layers);
}
END_TEST

START_TEST(file_over_tls_arrives_whole)
{
    struct layers layers;
    struct bytes sent = {0};
    struct link link = {0};
    struct delivery delivery;
    int file;

    layers_open(&layers, _i);
    bytes_fill(&sent, 600000, 2);
    file = delivery_make_file(&sent);
    link.stream = layers.ends[0].upper;
    delivery_start(&delivery, &link, file, 0, AFN_SENDFILE_TO_END);
    pump_until(&layers.world, layers.ends[1].recorder.data.length >= sent.length);
    require_same(&layers.ends[1].recorder.data, &sent);
    require_delivered(&delivery, sent.length, 0);
    bytes_free(&sent);
    close(file);
    layers_close(&layers);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {tls_over_tls_arrives_whole, VARIANTS},
        {file_over_tls_arrives_whole, VARIANTS},
    };

    return harness_main("stream-layers", cases, COUNT_OF(cases));
}
