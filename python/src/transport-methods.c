/* SPDX-License-Identifier: MIT */
#include "arguments.h"
#include "callbacks.h"
#include "datagram.h"
#include "endpoint.h"
#include "carrier.h"
#include "diagnostics.h"
#include "tls.h"
#include "transport.h"

#include <errno.h>
#include <string.h>

static bool is_closing(const TransportObject *self)
{
    return self->closing || !endpoint_is_open(self) || endpoint_is_closing(self);
}

static PyObject *method_is_closing(TransportObject *self, PyObject *unused)
{
    bool result;

    (void)unused;
    self = transport_resolve(self);
    Py_BEGIN_CRITICAL_SECTION(self);
    result = is_closing(self);
    Py_END_CRITICAL_SECTION();
    return PyBool_FromLong(result);
}

static PyObject *method_close(TransportObject *self, PyObject *unused)
{
    (void)unused;
    if (reactor_check_thread(self->reactor) < 0)
        return NULL;
    self = transport_resolve(self);
    if (self->closing || !endpoint_is_open(self))
        Py_RETURN_NONE;
    if (transport_note_closing(self) < 0)
        return NULL;
    /* There is nothing to say goodbye to before the handshake is over. */
    if (self->tls != NULL && !tls_is_secured(self))
        transport_abort(self, NULL);
    else
        endpoint_close(self);
    diagnostics_closing(self);
    Py_RETURN_NONE;
}

static PyObject *end_now(TransportObject *self, PyObject *exception)
{
    bool is_first;

    if (reactor_check_thread(self->reactor) < 0)
        return NULL;
    self = transport_resolve(self);
    if (!endpoint_is_open(self))
        Py_RETURN_NONE;
    is_first = !self->closing;
    if (transport_note_closing(self) < 0)
        return NULL;
    transport_abort(self, exception);
    if (is_first)
        diagnostics_closing(self);
    Py_RETURN_NONE;
}

static PyObject *method_abort(TransportObject *self, PyObject *unused)
{
    (void)unused;
    return end_now(self, NULL);
}

/* asyncio's own TLS calls it on the transport below. */
static PyObject *method_force_close(TransportObject *self, PyObject *exception)
{
    return end_now(self, exception == Py_None ? NULL : exception);
}

static PyObject *method_set_protocol(TransportObject *self, PyObject *const *args, Py_ssize_t count,
                                     PyObject *keywords)
{
    PyObject *protocol = arguments_get_one("set_protocol", "protocol", args, count, keywords);

    if (protocol == NULL || reactor_check_thread(self->reactor) < 0)
        return NULL;
    self = transport_resolve(self);
    /* After the end it would only keep the protocol alive. */
    if (!self->finished && transport_set_protocol(self, protocol) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *method_get_protocol(TransportObject *self, PyObject *unused)
{
    PyObject *protocol;

    (void)unused;
    self = transport_resolve(self);
    Py_BEGIN_CRITICAL_SECTION(self);
    protocol = Py_NewRef(self->protocol != NULL ? self->protocol : Py_None);
    Py_END_CRITICAL_SECTION();
    return protocol;
}

static PyObject *method_is_reading(TransportObject *self, PyObject *unused)
{
    bool result;

    (void)unused;
    self = transport_resolve(self);
    Py_BEGIN_CRITICAL_SECTION(self);
    result = !self->reading_paused && !is_closing(self);
    Py_END_CRITICAL_SECTION();
    return PyBool_FromLong(result);
}

static PyObject *method_pause_reading(TransportObject *self, PyObject *unused)
{
    (void)unused;
    if (reactor_check_thread(self->reactor) < 0)
        return NULL;
    self = transport_resolve(self);
    if (self->reading_paused || is_closing(self))
        Py_RETURN_NONE;
    self->reading_paused = true;
    endpoint_pause_reading(self);
    callbacks_debug(self, "%r pauses reading");
    Py_RETURN_NONE;
}

static PyObject *method_resume_reading(TransportObject *self, PyObject *unused)
{
    (void)unused;
    if (reactor_check_thread(self->reactor) < 0)
        return NULL;
    self = transport_resolve(self);
    /* One that is lost may still have something to deliver. */
    if (!self->reading_paused || self->closing || !endpoint_is_open(self))
        Py_RETURN_NONE;
    self->reading_paused = false;
    if (!self->starting && !self->holding_back)
        endpoint_resume_reading(self);
    callbacks_debug(self, "%r resumes reading");
    Py_RETURN_NONE;
}

static PyObject *method_begin_reading(TransportObject *self, PyObject *unused)
{
    (void)unused;
    self->holding_back = false;
    if (endpoint_is_open(self) && !self->reading_paused)
        endpoint_resume_reading(self);
    Py_RETURN_NONE;
}

/* Reads once whoever waited for the transport has had a turn, and so has it in his hands. */
static int wake_and_read_later(TransportObject *self, PyObject *waiter)
{
    PyObject *method;
    int r;

    self->holding_back = true;
    self->waiter = Py_NewRef(waiter);
    callbacks_wake(self, NULL);
    method = PyObject_GetAttr((PyObject *)self, self->reactor->state->names._begin_reading);
    r = method == NULL ? -1 : callbacks_call_soon(self->reactor, method, NULL, NULL);
    Py_XDECREF(method);
    return r;
}

/* In the loop's queue behind connection_made(): begins to read, and wakes the waiter (or None). */
static PyObject *method_start(TransportObject *self, PyObject *waiter)
{
    PyObject *result = NULL;

    if (!self->starting)
        Py_RETURN_NONE;
    self->starting = false;
    self->made = true;
    if (waiter == Py_None)
        result = method_begin_reading(self, NULL);
    else if (wake_and_read_later(self, waiter) == 0)
        result = Py_NewRef(Py_None);
    if (result == NULL)
        return NULL;
    Py_DECREF(result);
    if (self->lost && !self->finished)
        transport_finish(self);
    if (reactor_raise_interrupt(self->reactor) < 0)
        return NULL;
    Py_RETURN_NONE;
}

PyObject *transport_get_write_buffer_size(TransportObject *self, PyObject *unused)
{
    size_t size = 0;
    Py_ssize_t below = 0;

    (void)unused;
    self = transport_resolve(self);
    Py_BEGIN_CRITICAL_SECTION(self);
    if (endpoint_is_open(self))
        size = endpoint_get_write_buffer_size(self);
    Py_END_CRITICAL_SECTION();
    if (self->carrier != NULL)
        below = carrier_get_write_buffer_size(self);
    return below < 0 ? NULL : PyLong_FromSize_t(size + (size_t)below);
}

static PyObject *method_get_write_buffer_limits(TransportObject *self, PyObject *unused)
{
    size_t high, low;

    (void)unused;
    self = transport_resolve(self);
    Py_BEGIN_CRITICAL_SECTION(self);
    high = self->high_water;
    low = self->low_water;
    if (endpoint_is_open(self))
        endpoint_get_write_limits(self, &high, &low);
    Py_END_CRITICAL_SECTION();
    return Py_BuildValue("nn", (Py_ssize_t)low, (Py_ssize_t)high);
}

/* A limit as the user gives it: any number.  More than memory can hold is as good as all of it. */
static int convert_limit(PyObject *number, size_t *ret_limit)
{
    PyObject *integer = PyNumber_Long(number);
    Py_ssize_t limit;

    if (integer == NULL && PyErr_ExceptionMatches(PyExc_OverflowError)) {
        PyErr_Clear(); /* float("inf"), for no number is below zero here */
        *ret_limit = PY_SSIZE_T_MAX;
        return 0;
    }
    if (integer == NULL)
        return -1;
    limit = PyNumber_AsSsize_t(integer, NULL);
    Py_DECREF(integer);
    if (limit == -1 && PyErr_Occurred())
        return -1;
    *ret_limit = limit < 0 ? 0 : (size_t)limit;
    return 0;
}

/* high >= low >= 0, in Python's arithmetic, for these are Python's numbers. */
static int check_limits(PyObject *high, PyObject *low)
{
    PyObject *zero = PyLong_FromLong(0);
    int r = -1;

    if (zero != NULL)
        r = PyObject_RichCompareBool(high, low, Py_GE);
    if (r > 0)
        r = PyObject_RichCompareBool(low, zero, Py_GE);
    Py_XDECREF(zero);
    if (r == 0)
        PyErr_Format(PyExc_ValueError, "high (%R) must be >= low (%R) must be >= 0", high, low);
    return r > 0 ? 0 : -1;
}

/* Fills in what the user left out: 64 KiB (on TLS another default), four times, a quarter. */
static int complete_limits(TransportObject *self, PyObject **high, PyObject **low)
{
    PyObject *four = PyLong_FromLong(4);

    if (four == NULL)
        return -1;
    if (*high != Py_None)
        Py_INCREF(*high);
    else if (*low != Py_None)
        *high = PyNumber_Multiply(four, *low);
    else
        *high = PyLong_FromSize_t(self->tls != NULL ? self->reactor->state->tls_high_water
                                                    : (size_t)64 * 1024);
    if (*low != Py_None)
        Py_INCREF(*low);
    else
        *low = *high == NULL ? NULL : PyNumber_FloorDivide(*high, four);
    Py_DECREF(four);
    return *high == NULL || *low == NULL ? -1 : 0;
}

static PyObject *method_set_write_buffer_limits(TransportObject *self, PyObject *args,
                                                PyObject *keywords)
{
    static char *names[] = {"high", "low", NULL};
    PyObject *high = Py_None, *low = Py_None;
    size_t high_limit, low_limit;
    int r = 0;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|OO:set_write_buffer_limits", names, &high,
                                     &low) ||
        reactor_check_thread(self->reactor) < 0)
        return NULL;
    self = transport_resolve(self);
    if (complete_limits(self, &high, &low) == 0 && check_limits(high, low) == 0 &&
        convert_limit(high, &high_limit) == 0 && convert_limit(low, &low_limit) == 0) {
        if (endpoint_is_open(self)) {
            r = endpoint_set_write_limits(self, high_limit, low_limit);
        } else {
            Py_BEGIN_CRITICAL_SECTION(self);
            self->high_water = high_limit;
            self->low_water = low_limit;
            Py_END_CRITICAL_SECTION();
        }
    }
    Py_XDECREF(high);
    Py_XDECREF(low);
    if (PyErr_Occurred())
        return NULL;
    if (r < 0) {
        transport_raise_errno(r);
        return NULL;
    }
    if (r > 0 && !self->writing_paused && callbacks_pause_writing(self) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *method_write_eof(TransportObject *self, PyObject *unused)
{
    (void)unused;
    if (reactor_check_thread(self->reactor) < 0)
        return NULL;
    self = transport_resolve(self);
    if (self->tls != NULL) {
        PyErr_SetNone(PyExc_NotImplementedError);
        return NULL;
    }
    /* A pipe has no other direction that could stay open. */
    if (self->role == TRANSPORT_WRITE_PIPE)
        return method_close(self, NULL);
    if (self->ended || is_closing(self))
        Py_RETURN_NONE;
    self->ended = true;
    afn_stream_write_eof(self->stream);
    Py_RETURN_NONE;
}

static PyObject *method_can_write_eof(TransportObject *self, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(transport_resolve(self)->tls == NULL);
}

static const char *describe_state(const TransportObject *self)
{
    if (!endpoint_is_open(self))
        /* The loop was closed, or is garbage, before the transport was. */
        return self->finished || self->lost ? " closed" : " open";
    return is_closing(self) ? " closing" : "";
}

static PyObject *repr_pipe(TransportObject *self)
{
    const char *name = strrchr(Py_TYPE(self)->tp_name, '.') + 1;
    const char *state;
    size_t size = 0;
    bool reads = false, is_open;

    Py_BEGIN_CRITICAL_SECTION(self);
    state = describe_state(self);
    is_open = self->stream != NULL;
    if (is_open) {
        size = afn_stream_get_write_buffer_size(self->stream);
        reads = afn_stream_is_reading(self->stream) ||
                (self->holding_back && !self->reading_paused);
    }
    Py_END_CRITICAL_SECTION();
    if (!is_open)
        return PyUnicode_FromFormat("<%s%s fd=%d>", name, state, self->shown_fd);
    if (self->role == TRANSPORT_READ_PIPE)
        return PyUnicode_FromFormat("<%s%s fd=%d %s>", name, state, self->shown_fd,
                                    reads ? "polling" : "idle");
    return PyUnicode_FromFormat("<%s%s fd=%d %s bufsize=%zu>", name, state, self->shown_fd,
                                size > 0 ? "polling" : "idle", size);
}

PyObject *transport_repr(TransportObject *self)
{
    TransportObject *active = transport_resolve(self);
    const char *kind = active->tls != NULL ? " tls" : "";
    const char *name = datagram_is_one(active) ? "DatagramTransport" : "Transport";
    const char *state;
    size_t size = 0;
    bool reads = false, is_open;

    if (transport_is_pipe(self))
        return repr_pipe(self);
    Py_BEGIN_CRITICAL_SECTION(active);
    state = describe_state(active);
    is_open = endpoint_is_open(active);
    if (is_open) {
        size = endpoint_get_write_buffer_size(active);
        reads = endpoint_is_reading(active) ||
                (active->holding_back && !active->reading_paused);
    }
    Py_END_CRITICAL_SECTION();
    if (active->carrier != NULL)
        return carrier_repr(active, state, size);
    if (!is_open)
        return PyUnicode_FromFormat("<%s%s fd=%d%s>", name, state, active->shown_fd, kind);
    return PyUnicode_FromFormat("<%s%s fd=%d%s read=%s write=<%s, bufsize=%zu>>", name, state,
                                active->shown_fd, kind, reads ? "polling" : "idle",
                                size > 0 ? "polling" : "idle", size);
}

/* Through void (*)(void), for the compiler is right that these are other types. */
#define METHOD(function) ((PyCFunction)(void (*)(void))(function))

#define BASE_METHODS                                                                               \
    {"close", METHOD(method_close), METH_NOARGS, "close($self)\n--\n\n"},                          \
    {"is_closing", METHOD(method_is_closing), METH_NOARGS, "is_closing($self)\n--\n\n"},           \
    {"set_protocol", METHOD(method_set_protocol), METH_FASTCALL | METH_KEYWORDS,                   \
     "set_protocol($self, protocol)\n--\n\n"},                                                     \
    {"get_protocol", METHOD(method_get_protocol), METH_NOARGS, "get_protocol($self)\n--\n\n"},     \
    {"get_extra_info", METHOD(transport_get_extra_info), METH_FASTCALL | METH_KEYWORDS,            \
     "get_extra_info($self, name, default=None)\n--\n\n"},                                         \
    {"_start", METHOD(method_start), METH_O, NULL},                                                \
    {"_begin_reading", METHOD(method_begin_reading), METH_NOARGS, NULL},

#define READING_METHODS                                                                            \
    {"pause_reading", METHOD(method_pause_reading), METH_NOARGS, "pause_reading($self)\n--\n\n"},  \
    {"resume_reading", METHOD(method_resume_reading), METH_NOARGS,                                 \
     "resume_reading($self)\n--\n\n"},                                                            \
    {"is_reading", METHOD(method_is_reading), METH_NOARGS, "is_reading($self)\n--\n\n"},

#define WRITING_METHODS                                                                            \
    FLOW_METHODS                                                                                   \
    {"write", METHOD(transport_write), METH_FASTCALL | METH_KEYWORDS,                              \
     "write($self, data)\n--\n\n"},                                                                \
    {"writelines", METHOD(transport_writelines), METH_FASTCALL | METH_KEYWORDS,                    \
     "writelines($self, list_of_data)\n--\n\n"},                                                   \
    {"write_eof", METHOD(method_write_eof), METH_NOARGS, "write_eof($self)\n--\n\n"},              \
    {"can_write_eof", METHOD(method_can_write_eof), METH_NOARGS, "can_write_eof($self)\n--\n\n"},

#define FLOW_METHODS                                                                               \
    {"abort", METHOD(method_abort), METH_NOARGS, "abort($self)\n--\n\n"},                          \
    {"set_write_buffer_limits", METHOD(method_set_write_buffer_limits),                            \
     METH_VARARGS | METH_KEYWORDS, "set_write_buffer_limits($self, high=None, low=None)\n--\n\n"}, \
    {"get_write_buffer_limits", METHOD(method_get_write_buffer_limits), METH_NOARGS,               \
     "get_write_buffer_limits($self)\n--\n\n"},                                                    \
    {"get_write_buffer_size", METHOD(transport_get_write_buffer_size), METH_NOARGS,                \
     "get_write_buffer_size($self)\n--\n\n"},

PyMethodDef transport_methods[] = {
    BASE_METHODS
    READING_METHODS
    WRITING_METHODS
    {"_begin_sendfile", METHOD(transport_begin_sendfile), METH_VARARGS, NULL},
    {"_end_sendfile", METHOD(transport_end_sendfile), METH_NOARGS, NULL},
    {"_force_close", METHOD(method_force_close), METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

PyMethodDef transport_datagram_methods[] = {
    BASE_METHODS
    READING_METHODS
    FLOW_METHODS
    {"sendto", METHOD(datagram_sendto), METH_FASTCALL | METH_KEYWORDS,
     "sendto($self, data, addr=None)\n--\n\n"},
    {"_force_close", METHOD(method_force_close), METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

PyMethodDef transport_read_pipe_methods[] = {
    BASE_METHODS
    READING_METHODS
    {NULL, NULL, 0, NULL},
};

PyMethodDef transport_write_pipe_methods[] = {
    BASE_METHODS
    WRITING_METHODS
    {NULL, NULL, 0, NULL},
};

static PyObject *get_loop(TransportObject *self, void *closure)
{
    (void)closure;
    return Py_NewRef(self->reactor->loop != NULL ? self->reactor->loop : Py_None);
}

static PyObject *get_protocol_paused(TransportObject *self, void *closure)
{
    (void)closure;
    return PyBool_FromLong(transport_resolve(self)->writing_paused);
}

static PyObject *get_sending_file(TransportObject *self, void *closure)
{
    (void)closure;
    return PyBool_FromLong(self->sending_file);
}

PyGetSetDef transport_getset[] = {
    {"_extra", (getter)transport_get_extra, NULL, NULL, NULL},
    {"_loop", (getter)get_loop, NULL, NULL, NULL},
    {"_protocol_paused", (getter)get_protocol_paused, NULL, NULL, NULL},
    {"_sendfile_compatible", (getter)transport_get_sendfile_mode, NULL, NULL, NULL},
    {"_sending_file", (getter)get_sending_file, NULL, NULL, NULL},
    {"_sock", (getter)transport_get_sock, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyGetSetDef transport_pipe_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {"_extra", (getter)transport_get_extra, NULL, NULL, NULL},
    {"_loop", (getter)get_loop, NULL, NULL, NULL},
    {"_protocol_paused", (getter)get_protocol_paused, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
