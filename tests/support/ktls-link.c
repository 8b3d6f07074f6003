/* SPDX-License-Identifier: MIT */
#include "ktls-link.h"

#include <openssl/opensslv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "sys.h"

static const struct {
    const char *tls_two; /* of TLS 1.2 */
    const char *tls_three;
} ciphers[KTLS_CIPHERS] = {
    {"ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256"},
    {"ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_AES_256_GCM_SHA384"},
    {"ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_CHACHA20_POLY1305_SHA256"},
};

struct ktls_setting ktls_get_setting(int variant)
{
    struct ktls_setting setting;

    setting.version = certificate_get_version(variant % TLS_VERSIONS);
    variant /= TLS_VERSIONS;
    setting.is_server = variant % 2;
    variant /= 2;
    setting.mode = (enum ktls_mode)(variant % KTLS_MODES);
    setting.cipher = (unsigned int)(variant / KTLS_MODES);
    return setting;
}

struct ktls_setting ktls_get_short_setting(int variant)
{
    /* KTLS_OFF comes first. */
    return ktls_get_setting(TLS_VERSIONS * 2 + variant);
}

bool ktls_is_there(void)
{
    static int result = -1;
    int fds[2];

    if (result < 0) {
        sockets_make_pair(PAIR_TCP, fds);
        result = afn__sys_enable_tls(fds[0]) == 0;
        afn__sys_close(fds[0]);
        afn__sys_close(fds[1]);
    }
    return result > 0;
}

bool ktls_must_be_there(void)
{
    const char *wanted = getenv("AFN_TEST_KTLS");

    return wanted != NULL && strcmp(wanted, "1") == 0;
}

unsigned int ktls_expect(const struct ktls_setting *setting)
{
    bool receives = setting->mode == KTLS_BOTH;

    if (setting->mode == KTLS_OFF || !ktls_is_there() || !afn_has_ktls())
        return 0;
#if OPENSSL_VERSION_NUMBER < 0x30200000L
    if (setting->version == TLS1_3_VERSION)
        receives = false;
#endif
    return AFN_KTLS_SEND | (receives ? AFN_KTLS_RECEIVE : 0);
}

long ktls_read_statistic(const char *name)
{
    FILE *file = fopen("/proc/net/tls_stat", "r");
    char word[64];
    long value, result = 0;

    while (file != NULL && fscanf(file, "%63s %ld", word, &value) == 2)
        if (strcmp(word, name) == 0)
            result = value;
    if (file != NULL)
        fclose(file);
    return result;
}

void ktls_require_growth(const char *name, long before, long expected)
{
    long growth = ktls_read_statistic(name) - before;

    if (ktls_must_be_there())
        require_equal(growth, expected);
    else
        require(growth >= expected);
}

void link_start_ktls(struct link *link, const struct ktls_setting *setting)
{
    struct afn_tls_options options = {.size = sizeof(options)};
    SSL *ssl = certificate_make_ssl(setting->version, setting->is_server);

    if (setting->mode == KTLS_BOTH)
        options.flags = AFN_TLS_KTLS_RX;
    if (setting->mode != KTLS_OFF)
        SSL_set_options(ssl, SSL_OP_ENABLE_KTLS);
    if (setting->version == TLS1_2_VERSION)
        require_equal(SSL_set_cipher_list(ssl, ciphers[setting->cipher].tls_two), 1);
    else
        require_equal(SSL_set_ciphersuites(ssl, ciphers[setting->cipher].tls_three), 1);
    require_equal(afn_stream_start_tls(link->stream, ssl, &options), 0);
    SSL_free(ssl);
    peer_start_tls(&link->peer, setting->version, !setting->is_server);
}

void link_open_ktls(struct link *link, struct world *world, const struct ktls_setting *setting)
{
    world_open(world);
    link_open(link, world, PAIR_TCP, NULL);
    link_start_ktls(link, setting);
    link_await_secured(link);
}
