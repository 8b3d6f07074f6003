/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_TLS_CAPTURE_H
#define AIOFASTNET_TLS_CAPTURE_H

#include "module.h"

#include <openssl/types.h>

/*
 * Finds the SSL of an ssl.SSLObject without a look into CPython's structs: OpenSSL tells an ex_data
 * index about every SSL that is made, and the one that is made inside wrap_bio() is the one.  When
 * the module ssl uses another copy of OpenSSL than this module, nothing is told.
 */

/* Once for each import; 0, or -1 with an exception. */
int tls_capture_setup(void);

/*
 * context.wrap_bio() of an ssl.SSLContext; hostname and session may be None.
 *
 * Ownership: the SSL is the object's.
 * Returns: the SSLObject, or NULL with an exception; *ret_ssl is NULL when nothing was captured.
 */
PyObject *tls_capture_wrap(PyObject *context, PyObject *incoming, PyObject *outgoing,
                           bool server_side, PyObject *hostname, PyObject *session, SSL **ret_ssl);

/* Can anything be captured here?  1, 0, or -1 with an exception. */
int tls_capture_probe(struct module_state *state);

#endif
