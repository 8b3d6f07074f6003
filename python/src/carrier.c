/* SPDX-License-Identifier: MIT */
#include "carrier.h"

#include "callbacks.h"

#include <aiofastnet/carrier.h>
#include <aiofastnet/error.h>

#include <errno.h>
#include <string.h>

/* Bytes that may wait here before the lower transport is asked to pause, and to go on. */
#define READ_HIGH ((size_t)256 * 1024)
#define READ_LOW ((size_t)64 * 1024)

typedef struct CarrierObject {
    PyObject_HEAD
    TransportObject *upper; /* borrowed; NULL once it is over */
    PyObject *lower;
    PyObject *chunks; /* list of bytes that came and were not yet received */
    size_t taken;     /* of the first one */
    size_t waiting;   /* bytes in all */
    bool reading_paused;
    bool writing_paused;
    bool owes_resume; /* the lower one had told the protocol, before this, to pause writing */
    bool ended;
    bool lost;
    bool held;           /* by the stream of the upper one, until on_close() */
    PyObject *exception; /* of connection_lost() */
} CarrierObject;

static CarrierObject *carrier_of(const TransportObject *upper)
{
    return (CarrierObject *)upper->carrier;
}

/* Calls a method of the lower transport: 0, or -1 with an exception. */
static int tell_lower(CarrierObject *self, const char *method)
{
    PyObject *result = PyObject_CallMethod(self->lower, method, NULL);

    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* For the functions of the carrier: the raised exception becomes the reason of the end. */
static int fail(CarrierObject *self)
{
    PyObject *exception;

    if (self->upper == NULL) {
        PyErr_Clear();
        return -EIO;
    }
    exception = callbacks_catch(self->upper->reactor);
    if (self->upper->exception == NULL)
        self->upper->exception = Py_XNewRef(exception);
    Py_XDECREF(exception);
    return -EIO;
}

/* ---- what the stream asks ---- */

static int drop_first(CarrierObject *self)
{
    self->taken = 0;
    return PyList_SetSlice(self->chunks, 0, 1, NULL);
}

/* Copies what waits, up to length bytes; their number, or -1 with an exception. */
static ssize_t take(CarrierObject *self, char *buffer, size_t length)
{
    size_t done = 0;

    while (done < length && PyList_GET_SIZE(self->chunks) > 0) {
        PyObject *chunk = PyList_GET_ITEM(self->chunks, 0);
        size_t left = (size_t)PyBytes_GET_SIZE(chunk) - self->taken;
        size_t count = left < length - done ? left : length - done;

        memcpy(buffer + done, PyBytes_AS_STRING(chunk) + self->taken, count);
        done += count;
        self->taken += count;
        if (count == left && drop_first(self) < 0)
            return -1;
    }
    self->waiting -= done;
    return (ssize_t)done;
}

static int resume_lower(CarrierObject *self)
{
    if (!self->reading_paused || self->waiting > READ_LOW || self->lost)
        return 0;
    self->reading_paused = false;
    return tell_lower(self, "resume_reading");
}

static ssize_t on_receive(void *carrier, void *buffer, size_t length)
{
    CarrierObject *self = carrier;
    ssize_t count = take(self, buffer, length);

    if (count < 0 || resume_lower(self) < 0)
        return fail(self);
    if (count > 0)
        return count;
    if (!self->ended)
        return -EAGAIN;
    if (self->exception == NULL)
        return 0;
    if (self->upper != NULL && self->upper->exception == NULL)
        self->upper->exception = Py_NewRef(self->exception);
    return -ECONNRESET;
}

static PyObject *join(const struct afn_buffer *buffers, size_t count)
{
    PyObject *bytes;
    size_t length = 0;
    char *next;

    for (size_t i = 0; i < count; i++)
        length += buffers[i].length;
    bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)length);
    if (bytes == NULL)
        return NULL;
    next = PyBytes_AS_STRING(bytes);
    for (size_t i = 0; i < count; i++) {
        memcpy(next, buffers[i].data, buffers[i].length);
        next += buffers[i].length;
    }
    return bytes;
}

static ssize_t on_send(void *carrier, const struct afn_buffer *buffers, size_t count)
{
    CarrierObject *self = carrier;
    PyObject *bytes, *result = NULL;
    ssize_t length = 0;

    if (self->lost || self->upper == NULL)
        return -EPIPE;
    if (self->writing_paused)
        return -EAGAIN;
    bytes = join(buffers, count);
    if (bytes != NULL) {
        length = (ssize_t)PyBytes_GET_SIZE(bytes);
        result = PyObject_CallMethodOneArg(self->lower, self->upper->reactor->state->names.write,
                                           bytes);
    }
    Py_XDECREF(bytes);
    if (result == NULL)
        return fail(self);
    Py_DECREF(result);
    return length;
}

static int on_write_eof(void *carrier)
{
    CarrierObject *self = carrier;

    return tell_lower(self, "write_eof") < 0 ? fail(self) : 0;
}

/* Properly, so that what the lower transport has queued still leaves, unless there was an error. */
static void on_close(void *carrier, int error)
{
    CarrierObject *self = carrier;
    bool is_proper = error == 0 || error == AFN_ERR_TRUNCATED;

    if (self->upper != NULL && !self->lost && tell_lower(self, is_proper ? "close" : "abort") < 0)
        fail(self);
    self->held = false;
    Py_DECREF(self);
}

static const struct afn_carrier_ops carrier_ops = {
    .size = sizeof(carrier_ops),
    .receive = on_receive,
    .send = on_send,
    .write_eof = on_write_eof,
    .close = on_close,
};

/* ---- what the lower transport tells ---- */

static void notify(CarrierObject *self, unsigned int events)
{
    if (self->upper != NULL && self->upper->stream != NULL)
        afn_stream_notify(self->upper->stream, events);
}

static PyObject *method_connection_made(CarrierObject *self, PyObject *transport)
{
    (void)self;
    (void)transport;
    Py_RETURN_NONE;
}

static PyObject *method_data_received(CarrierObject *self, PyObject *data)
{
    PyObject *bytes = PyBytes_FromObject(data);
    int r;

    if (bytes == NULL)
        return NULL;
    self->waiting += (size_t)PyBytes_GET_SIZE(bytes);
    r = PyList_Append(self->chunks, bytes);
    Py_DECREF(bytes);
    if (r < 0)
        return NULL;
    notify(self, AFN_STREAM_READABLE);
    if (self->waiting > READ_HIGH && !self->reading_paused) {
        self->reading_paused = true;
        if (tell_lower(self, "pause_reading") < 0)
            return NULL;
    }
    Py_RETURN_NONE;
}

/* Where it can, the lower transport stays open until the upper one has had its last word. */
static PyObject *method_eof_received(CarrierObject *self, PyObject *unused)
{
    PyObject *context;

    (void)unused;
    self->ended = true;
    notify(self, AFN_STREAM_READABLE);
    context = PyObject_CallMethod(self->lower, "get_extra_info", "s", "sslcontext");
    if (context == NULL)
        return NULL;
    Py_DECREF(context);
    return PyBool_FromLong(context == Py_None && self->upper != NULL);
}

static PyObject *method_connection_lost(CarrierObject *self, PyObject *exception)
{
    TransportObject *upper = self->upper;
    ReactorObject *reactor;

    self->lost = self->ended = true;
    if (exception != Py_None)
        Py_XSETREF(self->exception, Py_NewRef(exception));
    if (upper == NULL)
        Py_RETURN_NONE;
    if (!upper->lost) {
        notify(self, AFN_STREAM_READABLE | AFN_STREAM_WRITABLE);
        Py_RETURN_NONE;
    }
    reactor = (ReactorObject *)Py_NewRef((PyObject *)upper->reactor);
    transport_finish(upper);
    if (reactor_raise_interrupt(reactor) < 0) {
        Py_DECREF(reactor);
        return NULL;
    }
    Py_DECREF(reactor);
    Py_RETURN_NONE;
}

static PyObject *method_pause_writing(CarrierObject *self, PyObject *unused)
{
    (void)unused;
    self->writing_paused = true;
    Py_RETURN_NONE;
}

static PyObject *method_resume_writing(CarrierObject *self, PyObject *unused)
{
    (void)unused;
    self->writing_paused = false;
    notify(self, AFN_STREAM_WRITABLE);
    if (self->owes_resume && self->upper != NULL && self->upper->stream != NULL) {
        self->owes_resume = false;
        if (self->upper->writing_paused &&
            afn_stream_get_write_buffer_size(self->upper->stream) == 0)
            callbacks_resume_writing(self->upper);
    }
    Py_RETURN_NONE;
}

/* ---- for the upper transport ---- */

static CarrierObject *carrier_new(TransportObject *upper, PyObject *lower)
{
    PyTypeObject *type = upper->reactor->state->carrier_type;
    CarrierObject *self = (CarrierObject *)type->tp_alloc(type, 0);

    if (self == NULL)
        return NULL;
    self->upper = upper;
    self->lower = Py_NewRef(lower);
    self->chunks = PyList_New(0);
    if (self->chunks == NULL)
        Py_CLEAR(self);
    return self;
}

int carrier_open(TransportObject *upper, PyObject *lower)
{
    CarrierObject *self = carrier_new(upper, lower);

    if (self == NULL)
        return -1;
    upper->carrier = (PyObject *)self;
    if (transport_open_over(upper, &carrier_ops, self) < 0)
        return -1;
    Py_INCREF(self);
    self->held = true;
    return 0;
}

int carrier_attach(TransportObject *upper)
{
    CarrierObject *self = carrier_of(upper);
    PyObject *paused = PyObject_GetAttrString(self->lower, "_protocol_paused");
    PyObject *result;

    if (paused == NULL)
        PyErr_Clear();
    self->writing_paused = self->owes_resume = upper->writing_paused = paused == Py_True;
    Py_XDECREF(paused);
    result = PyObject_CallMethod(self->lower, "set_protocol", "O", self);
    Py_XDECREF(result);
    if (result == NULL)
        return -1;
    /* Whatever was asked of it before; asyncio's refused to resume what was not paused once. */
    if (tell_lower(self, "resume_reading") < 0)
        return -1;
    return 0;
}

bool carrier_is_lost(const TransportObject *upper)
{
    return upper->carrier == NULL || carrier_of(upper)->lost;
}

void carrier_detach(TransportObject *upper)
{
    if (upper->carrier != NULL)
        carrier_of(upper)->upper = NULL;
}

Py_ssize_t carrier_get_write_buffer_size(TransportObject *upper)
{
    PyObject *result =
        PyObject_CallMethod(carrier_of(upper)->lower, "get_write_buffer_size", NULL);
    Py_ssize_t size = result == NULL ? -1 : PyLong_AsSsize_t(result);

    Py_XDECREF(result);
    return size;
}

PyObject *carrier_repr(TransportObject *upper, const char *state, size_t queued)
{
    return PyUnicode_FromFormat("<Transport%s tls bufsize=%zu over %R>", state, queued,
                                carrier_of(upper)->lower);
}

PyObject *carrier_get_extra_info(TransportObject *upper, PyObject *name)
{
    PyObject *value =
        PyObject_CallMethod(carrier_of(upper)->lower, "get_extra_info", "O", name);

    if (value == Py_None)
        Py_CLEAR(value);
    return value;
}

/* ---- the type ---- */

static int carrier_traverse(CarrierObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->lower);
    Py_VISIT(self->chunks);
    Py_VISIT(self->exception);
    /* The collector does not know the stream, which lives no longer than what refers to this. */
    if (self->held)
        Py_VISIT(self);
    return 0;
}

static int carrier_clear(CarrierObject *self)
{
    Py_CLEAR(self->lower);
    Py_CLEAR(self->chunks);
    Py_CLEAR(self->exception);
    return 0;
}

static void carrier_dealloc(CarrierObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    carrier_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Through void (*)(void), for the compiler is right that these are other types. */
#define METHOD(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef carrier_methods[] = {
    {"connection_made", METHOD(method_connection_made), METH_O, NULL},
    {"data_received", METHOD(method_data_received), METH_O, NULL},
    {"eof_received", METHOD(method_eof_received), METH_NOARGS, NULL},
    {"connection_lost", METHOD(method_connection_lost), METH_O, NULL},
    {"pause_writing", METHOD(method_pause_writing), METH_NOARGS, NULL},
    {"resume_writing", METHOD(method_resume_writing), METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot carrier_slots[] = {
    {Py_tp_doc, "The protocol of a transport that carries another one."},
    {Py_tp_new, module_refuse_new},
    {Py_tp_dealloc, carrier_dealloc},
    {Py_tp_traverse, carrier_traverse},
    {Py_tp_clear, carrier_clear},
    {Py_tp_methods, carrier_methods},
    {0, NULL},
};

static PyType_Spec carrier_spec = {
    .name = "aiofastnet._core.Carrier",
    .basicsize = sizeof(CarrierObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | COMPAT_TPFLAGS_IMMUTABLE,
    .slots = carrier_slots,
};

PyTypeObject *carrier_make_type(PyObject *module)
{
    return (PyTypeObject *)PyType_FromModuleAndSpec(module, &carrier_spec, NULL);
}
