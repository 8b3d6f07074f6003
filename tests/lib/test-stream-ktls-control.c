/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* What a peer may ask for once the kernel has the keys: new ones, in TLS 1.3, or a new handshake,
 * in TLS 1.2. */
#include <aiofastnet/error.h>
#include <openssl/err.h>

#include "harness.h"
#include "ktls-link.h"
#include "tls-link.h"

/* Of key updates: the stream's role, whether the peer wants one in return, and the directions. */
#define UPDATES (2 * 2 * (KTLS_MODES - 1))

static struct ktls_setting get_update(int variant, int *ret_type)
{
    struct ktls_setting setting = {.version = TLS1_3_VERSION, .is_server = variant % 2};

    *ret_type = variant / 2 % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED;
    setting.mode = KTLS_SEND + (variant / 4);
    return setting;
}

static void require_answer(struct link *link)
{
    size_t received = link->recorder.data.length, answered = link->peer.received.length;

    peer_write_text(&link->peer, "question");
    pump_until(link->world, link->recorder.data.length == received + 8);
    require_bytes(link->recorder.data.data + received, 8, "question", 8);
    require_equal(afn_stream_write(link->stream, "answer", 6), 0);
    pump_until(link->world, link->peer.received.length == answered + 6);
    require_bytes(link->peer.received.data + answered, 6, "answer", 6);
}

/* Only the peer changes its keys: the kernel keeps those that it sends with, however often the peer
 * asks for others. */
START_TEST(key_updates_go_unanswered_while_the_kernel_sends)
{
    int type;
    struct ktls_setting setting = get_update(_i, &type);
    struct world world;
    struct link link;

    link_open_ktls(&link, &world, &setting);
    for (int i = 0; i < 3 && !(ktls_expect(&setting) & AFN_KTLS_RECEIVE); i++) {
        peer_update_key(&link.peer, type);
        require_answer(&link);
    }
    link.peer.is_polite = true;
    recorder_end(&link.recorder);
    pump_until(&world, recorder_is_closed(&link.recorder) && link.peer.is_notified);
    require_equal(link.recorder.error, 0);
    require_equal(link.peer.ssl_error, 0);
    link_close_world(&link);
}
END_TEST

/* What came under the old key is delivered. */
START_TEST(key_update_is_an_error_where_the_kernel_receives)
{
    int type;
    struct ktls_setting setting = get_update(_i, &type);
    struct world world;
    struct link link;

    link_open_ktls(&link, &world, &setting);
    require_answer(&link);
    peer_write_text(&link.peer, "more");
    peer_update_key(&link.peer, type);
    peer_write_text(&link.peer, "under the new key");
    if (ktls_expect(&setting) & AFN_KTLS_RECEIVE) {
        pump_until(&world, recorder_is_closed(&link.recorder));
        require_equal(link.recorder.error, AFN_ERR_TLS);
        require_content(&link.recorder.data, "questionmore");
    } else {
        pump_until(&world, link.recorder.data.length == 29);
        require_content(&link.recorder.data, "questionmoreunder the new key");
    }
    link_close_world(&link);
}
END_TEST

/* The client has no room for its answer when it is asked, and more has come behind the question.
 * Variants: with and without the kernel, and while the program reads and does not. */
START_TEST(certificate_that_is_asked_for_waits_for_room)
{
    struct ktls_setting setting = {.version = TLS1_3_VERSION, .mode = _i % KTLS_MODES};
    bool is_paused = _i >= KTLS_MODES;
    struct world world;
    struct link link;
    struct bytes sent = {0};

    world_open(&world);
    link_open(&link, &world, PAIR_TCP, NULL);
    sockets_shrink(link.fd);
    link_start_ktls(&link, &setting);
    SSL_set_post_handshake_auth(afn_stream_get_ssl(link.stream), 1);
    link_await_secured(&link);
    link.peer.is_deaf = true;
    bytes_fill(&sent, 1 << 20, 14);
    require_equal(afn_stream_write(link.stream, sent.data, sent.length), 1);
    pump_idle(&world);
    SSL_set_verify(link.peer.ssl, SSL_VERIFY_PEER, NULL);
    require_equal(SSL_verify_client_post_handshake(link.peer.ssl), 1);
    require_equal(SSL_do_handshake(link.peer.ssl), 1);
    peer_write_text(&link.peer, "behind");
    pump_idle(&world);
    if (is_paused)
        recorder_pause(&link.recorder);
    link.peer.is_deaf = false;
    pump_until(&world, link.peer.received.length >= sent.length);
    if (is_paused)
        recorder_resume(&link.recorder);
    pump_until(&world, link.recorder.data.length >= 6);
    require_same(&link.peer.received, &sent);
    require_content(&link.recorder.data, "behind");
    require_equal(link.peer.ssl_error, 0);
    bytes_free(&sent);
    link_close_world(&link);
}
END_TEST

#define RENEGOTIATIONS (2 * KTLS_MODES)

static struct ktls_setting get_renegotiation(int variant)
{
    struct ktls_setting setting = {.version = TLS1_2_VERSION, .is_server = variant % 2};

    setting.mode = variant / 2;
    return setting;
}

/* OpenSSL as the peer gives up when it is refused, and says so; without the kernel's TLS it accepts
 * as a client only. */
START_TEST(renegotiation_is_refused_where_the_kernel_has_keys)
{
    struct ktls_setting setting = get_renegotiation(_i);
    bool is_refused = ktls_expect(&setting) != 0 || setting.is_server;
    struct world world;
    struct link link;

    link_open_ktls(&link, &world, &setting);
    require_answer(&link);
    require_equal(SSL_renegotiate(link.peer.ssl), 1);
    SSL_do_handshake(link.peer.ssl);
    if (is_refused) {
        pump_until(&world, recorder_is_closed(&link.recorder));
        require_equal(link.recorder.error, AFN_ERR_TLS);
        require_equal(ERR_GET_REASON(link.peer.tls_error), SSL_R_NO_RENEGOTIATION);
        require_equal(ERR_GET_REASON(afn_stream_get_tls_error(link.stream)),
                      SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE);
    } else {
        pump_idle(&world);
        require_answer(&link);
        require_equal(link.peer.ssl_error, 0);
    }
    link_close_world(&link);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {key_updates_go_unanswered_while_the_kernel_sends, UPDATES},
        {key_update_is_an_error_where_the_kernel_receives, UPDATES},
        {certificate_that_is_asked_for_waits_for_room, 2 * KTLS_MODES},
        {renegotiation_is_refused_where_the_kernel_has_keys, RENEGOTIATIONS},
    };

    return harness_main("stream-ktls-control", cases, COUNT_OF(cases));
}
