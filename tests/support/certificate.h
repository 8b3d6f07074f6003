/* SPDX-License-Identifier: MIT */
#ifndef CERTIFICATE_H
#define CERTIFICATE_H

#include <openssl/ssl.h>

/* The TLS versions that tests run with, as variants. */
#define TLS_VERSIONS 2
int certificate_get_version(int variant);

/*
 * Contexts for exactly one version of TLS, with a certificate that is made in memory.  The client's
 * trusts that certificate.  The caller frees them.
 */
SSL_CTX *certificate_make_server(int version);
SSL_CTX *certificate_make_client(int version);

/* An SSL of a new context, with its role set. */
SSL *certificate_make_ssl(int version, int is_server);

#endif
