/* SPDX-License-Identifier: MIT */
#ifndef KTLS_LINK_H
#define KTLS_LINK_H

#include "certificate.h"
#include "world.h"

/*
 * Links whose stream wants the kernel to do TLS, with an ordinary OpenSSL as the peer.  Where the
 * kernel has none, the same tests see that the connection is as good without.
 */
enum ktls_mode { KTLS_OFF, KTLS_SEND, KTLS_BOTH, KTLS_MODES };

/* What a test runs with, worked out of its variant. */
struct ktls_setting {
    int version;
    int is_server;
    enum ktls_mode mode;
    unsigned int cipher;
};

/* Of AES-GCM and ChaCha20-Poly1305. */
#define KTLS_CIPHERS 3
/* The short ones are those with the first cipher and with the kernel wanted. */
#define KTLS_SHORT_SETTINGS (TLS_VERSIONS * 2 * (KTLS_MODES - 1))
#define KTLS_SETTINGS (TLS_VERSIONS * 2 * KTLS_MODES * KTLS_CIPHERS)
struct ktls_setting ktls_get_setting(int variant);
struct ktls_setting ktls_get_short_setting(int variant);

/* Does the kernel do TLS? */
bool ktls_is_there(void);

/* AFN_TEST_KTLS=1: is this a machine of the tests' own, which must have kernel TLS? */
bool ktls_must_be_there(void);

/* The directions that the kernel is to have with this OpenSSL: the table of
 * afn_stream_start_tls(3). */
unsigned int ktls_expect(const struct ktls_setting *setting);

/* A line of /proc/net/tls_stat, or 0. */
long ktls_read_statistic(const char *name);

/* Has it grown by so much since it was `before`?  Elsewhere than on a machine of the tests' own
 * other programs may have added to it. */
void ktls_require_growth(const char *name, long before, long expected);

/* Starts TLS on both ends. */
void link_start_ktls(struct link *link, const struct ktls_setting *setting);

/* A world with one such link in it, secured; link_close_world() is its end. */
void link_open_ktls(struct link *link, struct world *world, const struct ktls_setting *setting);

#endif
