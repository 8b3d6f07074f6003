/* SPDX-License-Identifier: MIT */
#include "python-engine.h"

#include "callbacks.h"
#include "tls.h"

#include <aiofastnet/error.h>
#include <errno.h>

struct python_engine {
    TransportObject *transport; /* borrowed; NULL once it is gone */
    struct module_names *names;
    PyObject *object;
    PyObject *incoming, *outgoing; /* ssl.MemoryBIO */
    PyObject *drained;             /* the bytes that drain lent last */
    PyObject *unsent;              /* plaintext that waits until TLS can write again, or NULL */
    bool started;                  /* a stream has it, and destroys it */
    bool starved;                  /* TLS has used all that was fed to it */
};

struct python_engine *python_engine_new(TransportObject *transport, PyObject *object,
                                        PyObject *incoming, PyObject *outgoing)
{
    struct python_engine *engine = PyMem_Calloc(1, sizeof(*engine));

    if (engine == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    engine->transport = transport;
    engine->names = &transport->reactor->state->names;
    engine->object = Py_NewRef(object);
    engine->incoming = Py_NewRef(incoming);
    engine->outgoing = Py_NewRef(outgoing);
    return engine;
}

static void free_engine(struct python_engine *engine)
{
    Py_DECREF(engine->object);
    Py_DECREF(engine->incoming);
    Py_DECREF(engine->outgoing);
    Py_XDECREF(engine->drained);
    Py_XDECREF(engine->unsent);
    PyMem_Free(engine);
}

int python_engine_traverse(struct python_engine *engine, visitproc visit, void *arg)
{
    Py_VISIT(engine->object);
    Py_VISIT(engine->incoming);
    Py_VISIT(engine->outgoing);
    return 0;
}

void python_engine_abandon(struct python_engine *engine)
{
    engine->transport = NULL;
    if (!engine->started)
        free_engine(engine);
}

/* Turns the raised exception into a result of the engine, and keeps it for connection_lost(). */
static int fail(struct python_engine *engine)
{
    TransportObject *transport = engine->transport;
    struct module_imports *imports;
    PyObject *exception;

    if (transport == NULL) {
        PyErr_Clear();
        return AFN_ERR_ENGINE;
    }
    imports = &transport->reactor->state->imports;
    if (PyErr_ExceptionMatches(imports->ssl_want_read_error) ||
        PyErr_ExceptionMatches(imports->ssl_want_write_error)) {
        PyErr_Clear();
        engine->starved = true;
        return -EAGAIN;
    }
    exception = callbacks_catch(transport->reactor);
    if (transport->tls->exception == NULL)
        transport->tls->exception = Py_XNewRef(exception);
    Py_XDECREF(exception);
    return AFN_ERR_ENGINE;
}

/* Encrypts as much as TLS takes; the number of bytes, or what fail() says. */
static Py_ssize_t write_some(struct python_engine *engine, const char *data, Py_ssize_t length)
{
    PyObject *view = PyMemoryView_FromMemory((char *)data, length, PyBUF_READ);
    PyObject *result = NULL;
    Py_ssize_t written;

    if (view != NULL)
        result = PyObject_CallMethodOneArg(engine->object, engine->names->write, view);
    Py_XDECREF(view);
    if (result == NULL)
        return fail(engine);
    written = PyLong_AsSsize_t(result);
    Py_DECREF(result);
    return written < 0 ? fail(engine) : written;
}

static int keep_unsent(struct python_engine *engine, const char *data, Py_ssize_t length)
{
    engine->unsent = PyBytes_FromStringAndSize(data, length);
    return engine->unsent == NULL ? fail(engine) : 0;
}

/* What TLS cannot take now, because it waits for the peer in a renegotiation, is kept, and then no
 * more is taken. */
static int engine_write(void *user, const void *data, size_t length)
{
    struct python_engine *engine = user;
    const char *next = data;
    Py_ssize_t left = (Py_ssize_t)length;

    if (engine->unsent != NULL)
        return -EAGAIN;
    while (left > 0) {
        Py_ssize_t written = write_some(engine, next, left);

        if (written == -EAGAIN)
            return keep_unsent(engine, next, left);
        if (written < 0)
            return (int)written;
        next += written;
        left -= written;
    }
    return 0;
}

static int flush_unsent(struct python_engine *engine)
{
    PyObject *unsent = engine->unsent;
    int r;

    if (unsent == NULL)
        return 0;
    engine->unsent = NULL;
    r = engine_write(engine, PyBytes_AS_STRING(unsent), (size_t)PyBytes_GET_SIZE(unsent));
    Py_DECREF(unsent);
    return r;
}

/* In the transport's context, for it is here that the callbacks of an SSLContext run. */
static int engine_handshake(void *user)
{
    struct python_engine *engine = user;
    PyObject *method = PyObject_GetAttr(engine->object, engine->names->do_handshake);
    PyObject *result = NULL;

    if (method != NULL && engine->transport != NULL)
        result = callbacks_run(engine->transport, method, NULL);
    Py_XDECREF(method);
    if (result == NULL)
        return fail(engine);
    Py_DECREF(result);
    return 0;
}

static ssize_t engine_read(void *user, void *buffer, size_t length)
{
    struct python_engine *engine = user;
    PyObject *view = PyMemoryView_FromMemory(buffer, (Py_ssize_t)length, PyBUF_WRITE);
    PyObject *method = NULL, *result = NULL;
    Py_ssize_t count;
    int r;

    if (view != NULL)
        method = PyObject_GetAttr(engine->object, engine->names->read);
    if (method != NULL)
        result = PyObject_CallFunction(method, "nO", (Py_ssize_t)length, view);
    Py_XDECREF(method);
    Py_XDECREF(view);
    if (result == NULL) {
        count = fail(engine);
    } else {
        count = PyLong_AsSsize_t(result);
        Py_DECREF(result);
        if (count < 0)
            count = fail(engine);
    }
    r = count > 0 || count == -EAGAIN ? flush_unsent(engine) : 0;
    return r < 0 ? r : count;
}

static int engine_shutdown(void *user)
{
    struct python_engine *engine = user;
    PyObject *result = PyObject_CallMethodNoArgs(engine->object, engine->names->unwrap);

    if (result == NULL)
        return fail(engine);
    Py_DECREF(result);
    return 0;
}

static int engine_feed(void *user, const void *data, size_t length)
{
    struct python_engine *engine = user;
    PyObject *view = PyMemoryView_FromMemory((char *)data, (Py_ssize_t)length, PyBUF_READ);
    PyObject *result = NULL;

    engine->starved = false;
    if (view != NULL)
        result = PyObject_CallMethodOneArg(engine->incoming, engine->names->write, view);
    Py_XDECREF(view);
    if (result == NULL)
        return fail(engine);
    Py_DECREF(result);
    return 0;
}

/* The MemoryBIO has its own copy. */
static int engine_settle(void *user)
{
    (void)user;
    return 0;
}

static int engine_has_input(void *user)
{
    struct python_engine *engine = user;

    return !engine->starved;
}

static void engine_drain(void *user, const void **ret_data, size_t *ret_length)
{
    struct python_engine *engine = user;

    *ret_data = NULL;
    *ret_length = 0;
    Py_XSETREF(engine->drained, PyObject_CallMethodNoArgs(engine->outgoing, engine->names->read));
    if (engine->drained == NULL) {
        fail(engine);
        return;
    }
    *ret_data = PyBytes_AS_STRING(engine->drained);
    *ret_length = (size_t)PyBytes_GET_SIZE(engine->drained);
}

static void engine_destroy(void *user)
{
    struct python_engine *engine = user;

    if (engine->transport != NULL && engine->transport->tls != NULL)
        engine->transport->tls->engine = NULL;
    free_engine(engine);
}

static const struct afn_engine_ops engine_ops = {
    .size = sizeof(engine_ops),
    .handshake = engine_handshake,
    .read = engine_read,
    .write = engine_write,
    .shutdown = engine_shutdown,
    .feed = engine_feed,
    .settle = engine_settle,
    .has_input = engine_has_input,
    .drain = engine_drain,
    .destroy = engine_destroy,
};

int python_engine_start(struct python_engine *engine, struct afn_stream *stream,
                        const struct afn_tls_options *options)
{
    int r = afn_stream_start_engine(stream, &engine_ops, engine, options);

    if (r == 0)
        engine->started = true;
    return r;
}
