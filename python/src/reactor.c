/* SPDX-License-Identifier: MIT */
#include "reactor.h"

#include "callbacks.h"
#include "server.h"
#include "sockaddr.h"
#include "transport.h"

#include <errno.h>

/* How often one dispatch may ask the kernel again; see afn_reactor_set_busy_check(). */
#define MAX_ROUNDS 8

static void own(ReactorObject *self)
{
    if (reactor_is_mine(self))
        return;
    atomic_store_explicit(&self->owner, PyThread_get_thread_ident(), memory_order_relaxed);
    /* Without the GIL only the thread that made an object may resize it. */
    Py_CLEAR(self->incoming);
}

/* Does the loop run in this thread, or in none?  1, 0 or -1 with an exception. */
static int is_loop_free(ReactorObject *self)
{
    PyObject *answer = PyObject_CallNoArgs(self->state->imports.get_running_loop);
    int result;

    if (answer == NULL)
        return -1;
    Py_DECREF(answer);
    if (answer == self->loop)
        return 1;
    answer = PyObject_CallMethodNoArgs(self->loop, self->state->names.is_running);
    result = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return result < 0 ? -1 : !result;
}

int reactor_adopt_thread(ReactorObject *self)
{
    int is_free = self->loop == NULL ? 0 : is_loop_free(self);

    if (is_free < 0)
        return -1;
    if (!is_free || self->dispatching) {
        PyErr_SetString(PyExc_RuntimeError, "Non-thread-safe operation: this transport belongs to "
                                            "an event loop that runs in another thread");
        return -1;
    }
    own(self);
    return 0;
}

static int grow_table(ReactorObject *self, size_t needed)
{
    size_t length = self->by_fd_length > 0 ? self->by_fd_length : 64;
    struct TransportObject **table;

    while (length < needed)
        length *= 2;
    table = PyMem_Realloc(self->by_fd, length * sizeof(*table));
    if (table == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = self->by_fd_length; i < length; i++)
        table[i] = NULL;
    self->by_fd = table;
    self->by_fd_length = length;
    return 0;
}

/* As with asyncio, add_reader() is not refused for the descriptor of a pipe. */
static int note_descriptor(ReactorObject *self, TransportObject *transport)
{
    size_t slot = (size_t)transport->fd;
    int r = 0;

    if (transport_is_pipe(transport))
        return 0;
    Py_BEGIN_CRITICAL_SECTION(self);
    if (transport->fd >= 0 && slot >= self->by_fd_length)
        r = grow_table(self, slot + 1);
    if (transport->fd >= 0 && r == 0)
        self->by_fd[slot] = transport;
    Py_END_CRITICAL_SECTION();
    return r;
}

int reactor_add(ReactorObject *self, TransportObject *transport)
{
    if (note_descriptor(self, transport) < 0)
        return -1;
    Py_INCREF(transport);
    transport->next = self->open;
    transport->link = &self->open;
    if (self->open != NULL)
        self->open->link = &transport->next;
    self->open = transport;
    return 0;
}

void reactor_remove(ReactorObject *self, TransportObject *transport)
{
    size_t slot = (size_t)transport->fd;

    if (transport->link == NULL)
        return;
    /* Somebody who closed the descriptor behind our back may have had its number given again. */
    Py_BEGIN_CRITICAL_SECTION(self);
    if (transport->fd >= 0 && slot < self->by_fd_length && self->by_fd[slot] == transport)
        self->by_fd[slot] = NULL;
    Py_END_CRITICAL_SECTION();
    if (self->lent == transport)
        self->lent = NULL;
    *transport->link = transport->next;
    if (transport->next != NULL)
        transport->next->link = transport->link;
    transport->next = NULL;
    transport->link = NULL;
    Py_DECREF(transport);
}

bool reactor_is_debug(ReactorObject *self)
{
    PyObject *debug;
    int result;

    if (self->loop == NULL)
        return false;
    debug = PyObject_CallMethodNoArgs(self->loop, self->state->names.get_debug);
    result = debug == NULL ? -1 : PyObject_IsTrue(debug);
    Py_XDECREF(debug);
    /* Python runs signal handlers wherever it can: this may be a KeyboardInterrupt. */
    if (result < 0)
        Py_XDECREF(callbacks_catch(self));
    return result > 0;
}

int reactor_raise_interrupt(ReactorObject *self)
{
    PyObject *interrupt = self->interrupt;

    if (interrupt == NULL || self->dispatching)
        return 0;
    self->interrupt = NULL;
    compat_raise_exception(interrupt);
    return -1;
}

static bool is_busy(void *user)
{
    ReactorObject *self = user;
    Py_ssize_t length = PyObject_Size(self->ready);

    if (length < 0)
        PyErr_Clear();
    return length > 0;
}

/* Work outside of dispatch is done in the next turn of the loop, in the order of call_soon(). */
static bool schedule_dispatch(void *user)
{
    ReactorObject *self = user;
    PyObject *raised = compat_take_exception();
    PyObject *method = PyObject_GetAttr((PyObject *)self, self->state->names.dispatch_scheduled);
    int r = method == NULL ? -1 : callbacks_call_soon(self, method, NULL, NULL);

    Py_XDECREF(method);
    /* Also clears: a loop that does not take it is told by the descriptor. */
    compat_raise_exception(raised);
    return r == 0;
}

static PyObject *reactor_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"loop", "ready", NULL};
    PyObject *loop, *ready = Py_None;
    ReactorObject *self;
    int r;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|O:Reactor", names, &loop, &ready))
        return NULL;
    self = (ReactorObject *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->state = PyType_GetModuleState(type);
    own(self);
    self->pid = getpid();
    self->loop = Py_NewRef(loop);
    r = afn_reactor_new(&self->reactor);
    if (r == 0)
        afn_reactor_set_schedule_hook(self->reactor, schedule_dispatch, self);
    if (r == 0 && ready != Py_None) {
        self->ready = Py_NewRef(ready);
        r = afn_reactor_set_busy_check(self->reactor, MAX_ROUNDS, is_busy, self);
    }
    if (r < 0) {
        Py_DECREF(self);
        transport_raise_errno(r);
        return NULL;
    }
    return (PyObject *)self;
}

/* What close() and the collector do: no callback, but every descriptor is closed. */
static void drop_everything(ReactorObject *self)
{
    bool is_inherited = reactor_is_inherited(self);

    if (self->reactor != NULL) {
        afn_reactor_set_busy_check(self->reactor, 1, NULL, NULL);
        afn_reactor_set_schedule_hook(self->reactor, NULL, NULL);
    }
    while (self->open != NULL) {
        TransportObject *transport = self->open;

        Py_INCREF(transport);
        transport_leave(transport);
        Py_DECREF(transport);
    }
    server_close_all(self);
    self->reactor = is_inherited ? NULL : afn_reactor_unref(self->reactor);
}

static int reactor_traverse(ReactorObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->loop);
    Py_VISIT(self->ready);
    Py_VISIT(self->interrupt);
    for (TransportObject *transport = self->open; transport != NULL; transport = transport->next)
        Py_VISIT(transport);
    return server_traverse(self, visit, arg);
}

static int reactor_clear(ReactorObject *self)
{
    drop_everything(self);
    Py_CLEAR(self->loop);
    Py_CLEAR(self->ready);
    Py_CLEAR(self->interrupt);
    Py_CLEAR(self->incoming);
    if (self->senders != NULL)
        sockaddr_cache_clear(self->senders);
    return 0;
}

static void reactor_dealloc(ReactorObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    if (self->weakrefs != NULL)
        PyObject_ClearWeakRefs((PyObject *)self);
    reactor_clear(self);
    PyMem_Free(self->by_fd);
    PyMem_Free(self->senders);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *reactor_fileno(ReactorObject *self, PyObject *unused)
{
    (void)unused;
    if (self->reactor == NULL) {
        PyErr_SetString(PyExc_ValueError, "the reactor is closed");
        return NULL;
    }
    return PyLong_FromLong(afn_reactor_get_fd(self->reactor));
}

static PyObject *run_dispatch(ReactorObject *self, int (*dispatch)(struct afn_reactor *reactor))
{
    struct afn_reactor *reactor;

    if (self->reactor == NULL)
        Py_RETURN_NONE;
    if (self->dispatching) {
        dispatch(self->reactor); /* does nothing but take note */
        PyErr_SetString(PyExc_RuntimeError, "dispatch() called from inside a callback");
        return NULL;
    }
    /* The loop runs here now, wherever it ran before. */
    own(self);
    self->dispatching = true;
    self->asked_logger = false;
    reactor = afn_reactor_ref(self->reactor); /* a callback may close() */
    dispatch(reactor);
    afn_reactor_unref(reactor);
    self->dispatching = false;
    if (self->lent != NULL)
        transport_release_lent(self->lent);
    if (reactor_raise_interrupt(self) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *reactor_dispatch(ReactorObject *self, PyObject *unused)
{
    (void)unused;
    return run_dispatch(self, afn_reactor_dispatch);
}

static PyObject *reactor_dispatch_scheduled(ReactorObject *self, PyObject *unused)
{
    (void)unused;
    return run_dispatch(self, afn_reactor_dispatch_scheduled);
}

static PyObject *reactor_close(ReactorObject *self, PyObject *unused)
{
    (void)unused;
    if (reactor_check_thread(self) < 0)
        return NULL;
    drop_everything(self);
    Py_RETURN_NONE;
}

static PyObject *reactor_get_transport(ReactorObject *self, PyObject *number)
{
    long fd = PyLong_AsLong(number);
    PyObject *transport = NULL;

    if (fd == -1 && PyErr_Occurred())
        return NULL;
    Py_BEGIN_CRITICAL_SECTION(self);
    if (fd >= 0 && (size_t)fd < self->by_fd_length)
        transport = Py_XNewRef((PyObject *)self->by_fd[fd]);
    Py_END_CRITICAL_SECTION();
    return transport != NULL ? transport : Py_NewRef(Py_None);
}

/* Through void (*)(void), for the compiler is right that these are other types. */
#define METHOD(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef reactor_methods[] = {
    {"fileno", METHOD(reactor_fileno), METH_NOARGS,
     "fileno($self)\n--\n\nThe descriptor that the event loop has to watch for reading."},
    {"dispatch", METHOD(reactor_dispatch), METH_NOARGS,
     "dispatch($self)\n--\n\nDoes what is due; for loop.add_reader()."},
    {"dispatch_scheduled", METHOD(reactor_dispatch_scheduled), METH_NOARGS,
     "dispatch_scheduled($self)\n--\n\nDoes what is due; the reactor gives it to call_soon()."},
    {"close", METHOD(reactor_close), METH_NOARGS,
     "close($self)\n--\n\nDrops every open transport and listener, without callbacks."},
    {"get_transport", METHOD(reactor_get_transport), METH_O,
     "get_transport($self, fd, /)\n--\n\nThe open transport of a descriptor, or None."},
    {"make_datagram_transport", METHOD(reactor_make_datagram_transport),
     METH_VARARGS | METH_KEYWORDS,
     "make_datagram_transport($self, sock, protocol, address=None, waiter=None, extra=None)\n--\n"
     "\n"},
    {"make_socket_transport", METHOD(reactor_make_socket_transport), METH_VARARGS | METH_KEYWORDS,
     "make_socket_transport($self, sock, protocol, waiter=None, extra=None, server=None)\n--\n\n"},
    {"make_ssl_transport", METHOD(reactor_make_ssl_transport), METH_VARARGS | METH_KEYWORDS,
     "make_ssl_transport($self, sock, protocol, sslcontext, waiter=None, *, server_side=False, "
     "server_hostname=None, extra=None, server=None, ssl_handshake_timeout=None, "
     "ssl_shutdown_timeout=None, ssl_session=None)\n--\n\n"},
    {"start_tls", METHOD(reactor_start_tls), METH_VARARGS | METH_KEYWORDS,
     "start_tls($self, transport, protocol, sslcontext, waiter, *, server_side=False, "
     "server_hostname=None, ssl_handshake_timeout=None, ssl_shutdown_timeout=None, "
     "ssl_session=None, received=b'')\n--\n\n"},
    {"make_read_pipe_transport", METHOD(reactor_make_read_pipe_transport),
     METH_VARARGS | METH_KEYWORDS,
     "make_read_pipe_transport($self, pipe, protocol, waiter=None, extra=None)\n--\n\n"},
    {"make_write_pipe_transport", METHOD(reactor_make_write_pipe_transport),
     METH_VARARGS | METH_KEYWORDS,
     "make_write_pipe_transport($self, pipe, protocol, waiter=None, extra=None)\n--\n\n"},
    {"start_serving", METHOD(reactor_start_serving), METH_VARARGS | METH_KEYWORDS,
     "start_serving($self, sock, protocol_factory, sslcontext=None, server=None, backlog=100, "
     "ssl_handshake_timeout=None, ssl_shutdown_timeout=None)\n--\n\n"},
    {"stop_serving", METHOD(reactor_stop_serving), METH_O,
     "stop_serving($self, sock, /)\n--\n\nStops accepting, and closes the socket."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef reactor_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ReactorObject, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot reactor_slots[] = {
    {Py_tp_doc, "Reactor(loop, ready=None)\n--\n\nAll connections of one event loop."},
    {Py_tp_new, reactor_new},
    {Py_tp_dealloc, reactor_dealloc},
    {Py_tp_traverse, reactor_traverse},
    {Py_tp_clear, reactor_clear},
    {Py_tp_methods, reactor_methods},
    {Py_tp_members, reactor_members},
    {0, NULL},
};

static PyType_Spec reactor_spec = {
    .name = "aiofastnet._core.Reactor",
    .basicsize = sizeof(ReactorObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | COMPAT_TPFLAGS_IMMUTABLE,
    .slots = reactor_slots,
};

PyTypeObject *reactor_make_type(PyObject *module)
{
    return (PyTypeObject *)PyType_FromModuleAndSpec(module, &reactor_spec, NULL);
}
