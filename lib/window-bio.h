/* SPDX-License-Identifier: MIT */
#ifndef AFN_WINDOW_BIO_H
#define AFN_WINDOW_BIO_H

#include <openssl/bio.h>
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

/* Takes the window away: reads find nothing from now on, and writes fail. */
void afn__window_bio_detach(BIO *bio);

#endif
