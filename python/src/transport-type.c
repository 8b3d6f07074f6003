/* SPDX-License-Identifier: MIT */
#include "transport.h"

#include "compiled.h"
#include "tls.h"

/* The types of transports: their slots, and what the collector does with their objects. */

static int transport_traverse(TransportObject *self, visitproc visit, void *arg)
{
    int result;

    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->extra);
    Py_VISIT(self->reactor);
    Py_VISIT(self->context);
    Py_VISIT(self->protocol);
    Py_VISIT(self->exception);
    Py_VISIT(self->closing_context);
    Py_VISIT(self->waiter);
    Py_VISIT(self->sendfile_waiter);
    Py_VISIT(self->server);
    Py_VISIT(self->sock);
    Py_VISIT(self->transport_socket);
    Py_VISIT(self->address);
    Py_VISIT(self->lent.obj);
    Py_VISIT(self->successor);
    Py_VISIT(self->lower);
    Py_VISIT(self->carrier);
    if (transport_is_pipe(self))
        Py_VISIT(((PipeTransportObject *)self)->dict);
    result = compiled_traverse(self->compiled, visit, arg);
    return result != 0 ? result : tls_traverse(self, visit, arg);
}

static void drop_and_close(TransportObject *self)
{
    transport_leave(self);
    if (self->sock != NULL)
        transport_close_socket(self);
}

static int transport_clear(TransportObject *self)
{
    drop_and_close(self);
    transport_clear_references(self);
    tls_clear(self);
    Py_CLEAR(self->extra);
    Py_CLEAR(self->context);
    Py_CLEAR(self->server);
    Py_CLEAR(self->sock);
    Py_CLEAR(self->transport_socket);
    Py_CLEAR(self->address);
    Py_CLEAR(self->successor);
    Py_CLEAR(self->lower);
    Py_CLEAR(self->carrier);
    if (transport_is_pipe(self))
        Py_CLEAR(((PipeTransportObject *)self)->dict);
    return 0;
}

static void transport_finalize(TransportObject *self)
{
    PyObject *exception;

    if (self->finished || self->warned)
        return;
    self->warned = true;
    exception = compat_take_exception();
    if (PyErr_ResourceWarning((PyObject *)self, 1, "unclosed transport %R", self) < 0) {
        if (PyErr_ExceptionMatches(PyExc_Warning))
            PyErr_WriteUnraisable((PyObject *)self);
        else
            PyErr_Clear();
    }
    /* Whoever records the warning keeps the transport. */
    if (transport_is_pipe(self))
        drop_and_close(self);
    compat_raise_exception(exception);
}

static void transport_dealloc(TransportObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    if (PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0)
        return;
    PyObject_GC_UnTrack(self);
    if (self->weakrefs != NULL)
        PyObject_ClearWeakRefs((PyObject *)self);
    transport_clear(self);
    Py_CLEAR(self->reactor);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Nothing is derived from the types, in no interpreter. */
bool transport_is_one(PyObject *object)
{
    return Py_TYPE(object)->tp_dealloc == (destructor)transport_dealloc;
}

static PyMemberDef transport_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TransportObject, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMemberDef pipe_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TransportObject, weakrefs), READONLY, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(PipeTransportObject, dict), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

#define TYPE_SLOTS(doc, methods, getset, members)                                                  \
    {                                                                                              \
        {Py_tp_doc, doc},                                                                          \
        {Py_tp_new, module_refuse_new},                                                            \
        {Py_tp_dealloc, transport_dealloc},                                                        \
        {Py_tp_finalize, transport_finalize},                                                      \
        {Py_tp_traverse, transport_traverse},                                                      \
        {Py_tp_clear, transport_clear},                                                            \
        {Py_tp_repr, transport_repr},                                                              \
        {Py_tp_methods, methods},                                                                  \
        {Py_tp_getset, getset},                                                                    \
        {Py_tp_members, members},                                                                  \
        {0, NULL},                                                                                 \
    }

static PyType_Slot transport_slots[] =
    TYPE_SLOTS("A connection, with or without TLS.", transport_methods, transport_getset,
               transport_members);
static PyType_Slot datagram_slots[] =
    TYPE_SLOTS("A datagram socket.", transport_datagram_methods, transport_getset,
               transport_members);
static PyType_Slot read_pipe_slots[] =
    TYPE_SLOTS("What comes out of a pipe.", transport_read_pipe_methods, transport_pipe_getset,
               pipe_members);
static PyType_Slot write_pipe_slots[] =
    TYPE_SLOTS("What goes into a pipe.", transport_write_pipe_methods, transport_pipe_getset,
               pipe_members);

static PyTypeObject *make_type(PyObject *module, const char *name, size_t size, PyType_Slot *slots,
                               PyObject *base, PyObject *other)
{
    PyType_Spec spec = {
        .name = name,
        .basicsize = (int)size,
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
        .slots = slots,
    };
    PyObject *bases = PyTuple_Pack(other != NULL ? 2 : 1, base, other), *type;

    if (bases == NULL)
        return NULL;
    type = PyType_FromModuleAndSpec(module, &spec, bases);
    Py_DECREF(bases);
    return (PyTypeObject *)type;
}

PyTypeObject *transport_make_type(PyObject *module, struct module_state *state,
                                  enum transport_role role)
{
    PyTypeObject *type;

    if (role == TRANSPORT_READ_PIPE)
        return make_type(module, "aiofastnet._core.ReadPipeTransport", sizeof(PipeTransportObject),
                         read_pipe_slots, state->imports.read_transport, NULL);
    if (role == TRANSPORT_WRITE_PIPE)
        /* asyncio's is one of those, too. */
        return make_type(module, "aiofastnet._core.WritePipeTransport",
                         sizeof(PipeTransportObject), write_pipe_slots, state->imports.transport,
                         NULL);
    if (role == TRANSPORT_DATAGRAM)
        /* asyncio's is an asyncio.Transport in every version, and both in the newer ones. */
        return make_type(module, "aiofastnet._core.DatagramTransport", sizeof(TransportObject),
                         datagram_slots, state->imports.transport,
                         state->imports.datagram_transport);
    type = make_type(module, "aiofastnet._core.Transport", sizeof(TransportObject),
                     transport_slots, state->imports.transport, NULL);
    if (type != NULL &&
        PyObject_SetAttrString((PyObject *)type, "_start_tls_compatible", Py_True) < 0)
        Py_CLEAR(type);
    return type;
}
