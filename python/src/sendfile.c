/* SPDX-License-Identifier: MIT */
#include "callbacks.h"
#include "tls.h"
#include "transport.h"

#include <aiofastnet/error.h>
#include <errno.h>

/* What the waiter gets; asyncio's words where nothing went wrong but the connection is gone. */
static PyObject *make_exception(TransportObject *self, int error)
{
    if (self->exception != NULL)
        return Py_NewRef(self->exception);
    if (error > AFN_ERR_TLS && error != -ECANCELED)
        transport_raise_errno(error);
    else
        PyErr_SetString(PyExc_ConnectionError, "Connection is closed by peer");
    return compat_take_exception();
}

static void on_done(struct afn_stream *stream, void *user, uint64_t sent, int error)
{
    TransportObject *self = user;
    PyObject *waiter = self->sendfile_waiter, *exception = NULL;

    (void)stream;
    Py_INCREF(self);
    self->sendfile_waiter = NULL;
    self->sendfile_sent = sent;
    if (error < 0)
        exception = make_exception(self, error);
    callbacks_settle(self->reactor, waiter, exception);
    Py_XDECREF(exception);
    Py_DECREF(self);
}

/* count is a number or None, for all that there is. */
static int convert_count(PyObject *count, uint64_t *ret_count)
{
    long long number;

    *ret_count = AFN_SENDFILE_TO_END;
    if (count == Py_None)
        return 0;
    number = PyLong_AsLongLong(count);
    if (number == -1 && PyErr_Occurred())
        return -1;
    *ret_count = (uint64_t)number;
    return 0;
}

PyObject *transport_begin_sendfile(TransportObject *self, PyObject *args)
{
    long long offset;
    uint64_t length;
    PyObject *count, *waiter;
    int fd, by_kernel, r;

    if (!PyArg_ParseTuple(args, "iLOpO:_begin_sendfile", &fd, &offset, &count, &by_kernel,
                          &waiter) ||
        convert_count(count, &length) < 0 ||
        transport_check_writable(self, "Cannot call write() after write_eof()") < 0)
        return NULL;
    self->sendfile_sent = 0;
    self->sendfile_waiter = Py_NewRef(waiter);
    r = self->stream == NULL
            ? -EPIPE
            : afn_stream_sendfile(self->stream, fd, (uint64_t)offset, length,
                                  by_kernel ? AFN_SENDFILE_BY_KERNEL : 0, on_done, self);
    if (r < 0) {
        Py_CLEAR(self->sendfile_waiter);
        transport_raise_errno(r);
        return NULL;
    }
    self->sending_file = true;
    Py_RETURN_NONE;
}

/* After every successful begin, whatever came of it: cancels what is still to be sent. */
PyObject *transport_end_sendfile(TransportObject *self, PyObject *unused)
{
    int64_t sent;

    (void)unused;
    if (reactor_check_thread(self->reactor) < 0)
        return NULL;
    self->sending_file = false;
    if (self->sendfile_waiter != NULL && self->stream != NULL) {
        sent = afn_stream_cancel_sendfile(self->stream, self);
        if (sent >= 0)
            self->sendfile_sent = (uint64_t)sent;
    }
    Py_CLEAR(self->sendfile_waiter);
    return PyLong_FromUnsignedLongLong(self->sendfile_sent);
}

/* What asyncio's own loop.sendfile() wants to know of a transport. */
PyObject *transport_get_sendfile_mode(TransportObject *self, void *closure)
{
    struct module_imports *imports = &self->reactor->state->imports;
    const TransportObject *active = transport_resolve(self);

    (void)closure;
    if (self->role != TRANSPORT_SOCKET) {
        PyErr_SetString(PyExc_AttributeError, "_sendfile_compatible");
        return NULL;
    }
    return Py_NewRef(active->tls == NULL || tls_is_sending_raw(active) ? imports->sendfile_native
                                                                       : imports->sendfile_fallback);
}
