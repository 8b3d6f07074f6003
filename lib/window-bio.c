/* SPDX-License-Identifier: MIT */
#include "window-bio.h"

#include <limits.h>
#include <pthread.h>
#include <string.h>

static BIO_METHOD *method;
static pthread_mutex_t method_lock = PTHREAD_MUTEX_INITIALIZER;

static int window_read(BIO *bio, char *buffer, size_t length, size_t *ret_length)
{
    struct afn__window *window = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (!window || !window->length) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (length > window->length)
        length = window->length;
    memcpy(buffer, window->data, length);
    window->data += length;
    window->length -= length;
    *ret_length = length;
    return 1;
}

static int window_write(BIO *bio, const char *data, size_t length, size_t *ret_length)
{
    struct afn__window *window = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (!window || window->put(window->user, data, length) < 0)
        return -1;
    *ret_length = length;
    return 1;
}

/* OpenSSL asks for much that only a socket has; 0 says "no" to all of it. */
static long window_ctrl(BIO *bio, int command, long number, void *pointer)
{
    const struct afn__window *window = BIO_get_data(bio);

    (void)number;
    (void)pointer;
    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_PENDING:
        return window && window->length < LONG_MAX ? (long)window->length : 0;
    default:
        return 0;
    }
}

static int window_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *make_method(void)
{
    BIO_METHOD *made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "window");

    if (!made)
        return NULL;
    if (BIO_meth_set_read_ex(made, window_read) && BIO_meth_set_write_ex(made, window_write) &&
        BIO_meth_set_ctrl(made, window_ctrl) && BIO_meth_set_create(made, window_create))
        return made;
    BIO_meth_free(made);
    return NULL;
}

/* The one method of the process; tried again after a failure. */
static BIO_METHOD *get_method(void)
{
    BIO_METHOD *result;

    pthread_mutex_lock(&method_lock);
    if (!method)
        method = make_method();
    result = method;
    pthread_mutex_unlock(&method_lock);
    return result;
}

BIO *afn__window_bio_new(struct afn__window *window)
{
    BIO_METHOD *used = get_method();
    BIO *bio = used ? BIO_new(used) : NULL;

    if (bio)
        BIO_set_data(bio, window);
    return bio;
}

void afn__window_bio_detach(BIO *bio)
{
    BIO_set_data(bio, NULL);
}
