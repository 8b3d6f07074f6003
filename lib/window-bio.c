/* SPDX-License-Identifier: MIT */
#include "window-bio.h"

#include <limits.h>
#include <string.h>

int afn__window_read(BIO *bio, struct afn__window *window, char *buffer, size_t length,
                     size_t *ret_length)
{
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

int afn__window_write(BIO *bio, struct afn__window *window, const char *data, size_t length,
                      size_t *ret_length)
{
    BIO_clear_retry_flags(bio);
    if (!window || window->put(window->user, data, length) < 0)
        return -1;
    *ret_length = length;
    return 1;
}

static int window_read(BIO *bio, char *buffer, size_t length, size_t *ret_length)
{
    return afn__window_read(bio, BIO_get_data(bio), buffer, length, ret_length);
}

static int window_write(BIO *bio, const char *data, size_t length, size_t *ret_length)
{
    return afn__window_write(bio, BIO_get_data(bio), data, length, ret_length);
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

static int create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *make_method(const struct afn__bio_type *type)
{
    BIO_METHOD *made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, type->name);

    if (!made)
        return NULL;
    if (BIO_meth_set_read_ex(made, type->read) && BIO_meth_set_write_ex(made, type->write) &&
        BIO_meth_set_ctrl(made, type->ctrl) && BIO_meth_set_create(made, create))
        return made;
    BIO_meth_free(made);
    return NULL;
}

/* The one method of the process; tried again after a failure. */
static BIO_METHOD *get_method(struct afn__bio_type *type)
{
    BIO_METHOD *result;

    pthread_mutex_lock(&type->lock);
    if (!type->method)
        type->method = make_method(type);
    result = type->method;
    pthread_mutex_unlock(&type->lock);
    return result;
}

BIO *afn__bio_new(struct afn__bio_type *type, void *data)
{
    BIO_METHOD *used = get_method(type);
    BIO *bio = used ? BIO_new(used) : NULL;

    if (bio)
        BIO_set_data(bio, data);
    return bio;
}

static struct afn__bio_type window_type = {
    .name = "aiofastnet window",
    .read = window_read,
    .write = window_write,
    .ctrl = window_ctrl,
    .lock = PTHREAD_MUTEX_INITIALIZER,
};

BIO *afn__window_bio_new(struct afn__window *window)
{
    return afn__bio_new(&window_type, window);
}

void afn__window_bio_detach(BIO *bio)
{
    BIO_set_data(bio, NULL);
}
