/* SPDX-License-Identifier: MIT */
#include "tls-capture.h"

#include <openssl/crypto.h>
#include <openssl/ssl.h>

/* OpenSSL's index is the process's, and so is the place that its function can reach. */
static CRYPTO_ONCE setup_once = CRYPTO_ONCE_STATIC_INIT;
static int capture_index = -1;
static _Thread_local SSL **capture_place;

static void on_new_ssl(void *parent, void *value, CRYPTO_EX_DATA *data, int index, long number,
                       void *pointer)
{
    (void)value;
    (void)data;
    (void)index;
    (void)number;
    (void)pointer;
    if (capture_place != NULL && *capture_place == NULL)
        *capture_place = parent;
}

static void setup(void)
{
    capture_index = SSL_get_ex_new_index(0, NULL, on_new_ssl, NULL, NULL);
}

int tls_capture_setup(void)
{
    if (CRYPTO_THREAD_run_once(&setup_once, setup) && capture_index >= 0)
        return 0;
    PyErr_SetString(PyExc_ImportError, "OpenSSL refuses an ex_data index");
    return -1;
}

PyObject *tls_capture_wrap(PyObject *context, PyObject *incoming, PyObject *outgoing,
                           bool server_side, PyObject *hostname, PyObject *session, SSL **ret_ssl)
{
    PyObject *method = PyObject_GetAttrString(context, "wrap_bio");
    PyObject *arguments = PyTuple_Pack(2, incoming, outgoing);
    PyObject *keywords =
        Py_BuildValue("{s:O,s:O,s:O}", "server_side", server_side ? Py_True : Py_False,
                      "server_hostname", hostname, "session", session);
    PyObject *object = NULL;
    SSL **outer = capture_place;

    *ret_ssl = NULL;
    if (method != NULL && arguments != NULL && keywords != NULL) {
        capture_place = ret_ssl;
        object = PyObject_Call(method, arguments, keywords);
        capture_place = outer;
    }
    Py_XDECREF(method);
    Py_XDECREF(arguments);
    Py_XDECREF(keywords);
    if (object == NULL)
        *ret_ssl = NULL;
    return object;
}

int tls_capture_probe(struct module_state *state)
{
    PyObject *context =
        PyObject_CallOneArg(state->imports.ssl_context, state->imports.protocol_tls_client);
    PyObject *incoming = PyObject_CallNoArgs(state->imports.memory_bio);
    PyObject *outgoing = PyObject_CallNoArgs(state->imports.memory_bio);
    PyObject *hostname = PyUnicode_FromString("localhost");
    PyObject *object = NULL;
    SSL *ssl = NULL;

    if (context != NULL && incoming != NULL && outgoing != NULL && hostname != NULL)
        object = tls_capture_wrap(context, incoming, outgoing, false, hostname, Py_None, &ssl);
    Py_XDECREF(context);
    Py_XDECREF(incoming);
    Py_XDECREF(outgoing);
    Py_XDECREF(hostname);
    if (object == NULL)
        return -1;
    Py_DECREF(object);
    return ssl != NULL;
}
