/* SPDX-License-Identifier: MIT */
#ifndef AFN_WINDOW_BIO_H
#define AFN_WINDOW_BIO_H

#include <openssl/bio.h>
#include <pthread.h>
#include <stddef.h>

/*
 * The BIO between OpenSSL and an engine.  It reads from bytes that are lent to the window and
 * passes on what OpenSSL writes; it never blocks and never touches a descriptor.
 */
struct afn__window {
    const unsigned char *data; /* not yet read */
    size_t length;
    /* Takes bytes for the wire: 0, or a negative number when there is no memory. */
    int (*put)(void *user, const void *data, size_t length);
    void *user;
};

/* A new BIO on a window, or NULL.  It may outlive the window once it was detached. */
BIO *afn__window_bio_new(struct afn__window *window);

/* What such BIOs do, on any window or none; for BIOs that do more. */
int afn__window_read(BIO *bio, struct afn__window *window, char *buffer, size_t length,
                     size_t *ret_length);
int afn__window_write(BIO *bio, struct afn__window *window, const char *data, size_t length,
                      size_t *ret_length);

/* A kind of BIO, of which OpenSSL is told when the first one is made. */
struct afn__bio_type {
    const char *name;
    int (*read)(BIO *bio, char *buffer, size_t length, size_t *ret_length);
    int (*write)(BIO *bio, const char *data, size_t length, size_t *ret_length);
    long (*ctrl)(BIO *bio, int command, long number, void *pointer);
    BIO_METHOD *method;
    pthread_mutex_t lock;
};

/* A new BIO with its data, or NULL. */
BIO *afn__bio_new(struct afn__bio_type *type, void *data);

/* Takes the window away: reads find nothing from now on, and writes fail. */
void afn__window_bio_detach(BIO *bio);

#endif
