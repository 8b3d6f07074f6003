/* SPDX-License-Identifier: MIT */
#include "certificate.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "harness.h"

static EVP_PKEY *key;
static X509 *certificate;

static void make_certificate(void)
{
    const unsigned char *name = (const unsigned char *)"localhost";
    X509_NAME *subject;

    key = EVP_EC_gen("P-256");
    certificate = X509_new();
    require(key != NULL && certificate != NULL);
    require(X509_set_version(certificate, X509_VERSION_3) == 1);
    require(ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) == 1);
    require(X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) != NULL);
    require(X509_gmtime_adj(X509_getm_notAfter(certificate), 24 * 3600) != NULL);
    require(X509_set_pubkey(certificate, key) == 1);
    subject = X509_get_subject_name(certificate);
    require(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, name, -1, -1, 0) == 1);
    require(X509_set_issuer_name(certificate, subject) == 1);
    require(X509_sign(certificate, key, EVP_sha256()) > 0);
}

int certificate_get_version(int variant)
{
    return variant == 0 ? TLS1_3_VERSION : TLS1_2_VERSION;
}

static SSL_CTX *make_context(int version)
{
    SSL_CTX *context = SSL_CTX_new(TLS_method());

    if (certificate == NULL)
        make_certificate();
    require(context != NULL);
    require(SSL_CTX_set_min_proto_version(context, version) == 1);
    require(SSL_CTX_set_max_proto_version(context, version) == 1);
    return context;
}

SSL_CTX *certificate_make_server(int version)
{
    SSL_CTX *context = make_context(version);

    require(SSL_CTX_use_certificate(context, certificate) == 1);
    require(SSL_CTX_use_PrivateKey(context, key) == 1);
    return context;
}

SSL_CTX *certificate_make_client(int version)
{
    SSL_CTX *context = make_context(version);

    require(X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate) == 1);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    return context;
}

SSL *certificate_make_ssl(int version, int is_server)
{
    SSL_CTX *context =
        is_server ? certificate_make_server(version) : certificate_make_client(version);
    SSL *ssl = SSL_new(context);

    SSL_CTX_free(context);
    require(ssl != NULL);
    if (is_server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    return ssl;
}
