/* SPDX-License-Identifier: MIT */

/*
 * A protocol of asyncio in C, as a Python extension module: it sends back what it gets.  With
 * aiofastnet the bytes come and go without Python; with asyncio's own transports by data_received()
 * and write(), as ever.  echo-protocol.py is a server with it.
 *
 *   cc -O2 -shared -fPIC -o echo_protocol$(python3-config --extension-suffix) echo-protocol.c \
 *       $(pkg-config --cflags aiofastnet) $(python3-config --includes)
 */
#include <aiofastnet/python.h>
#include <structmember.h>

struct module_state {
    const struct afn_python_api *api;
};

typedef struct {
    PyObject_HEAD
    const struct afn_python_api *api; /* from connection_made() on */
    PyObject *transport;              /* from connection_made() to connection_lost(), or NULL */
    unsigned long long count;         /* bytes */
} EchoObject;

/* ---- data ---- */

/* Here a protocol would parse.  What it wants to keep of the data it copies. */
static int echo_data(PyObject *protocol, const void *data, size_t length)
{
    EchoObject *self = (EchoObject *)protocol;

    if (self->transport == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "data without a connection");
        return -1;
    }
    self->count += length;
    return self->api->write(self->transport, data, length);
}

static const struct afn_python_protocol echo_protocol = {
    .size = sizeof(echo_protocol),
    .data_received = echo_data,
};

static PyObject *echo_get_protocol(PyObject *self, void *closure)
{
    (void)self;
    (void)closure;
    return afn_python_make_capsule(&echo_protocol);
}

/* What transports call that are not of aiofastnet. */
static PyObject *echo_data_received(PyObject *self, PyObject *data)
{
    Py_buffer view;
    int result;

    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    result = echo_data(self, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    if (result < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* ---- the other callbacks ---- */

static PyObject *echo_connection_made(PyObject *object, PyTypeObject *defining_class,
                                      PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    EchoObject *self = (EchoObject *)object;
    struct module_state *state = PyType_GetModuleState(defining_class);
    PyObject *old = self->transport;

    if (count != 1 || keywords != NULL) {
        PyErr_SetString(PyExc_TypeError, "connection_made() takes a transport");
        return NULL;
    }
    self->api = state->api;
    Py_INCREF(args[0]);
    self->transport = args[0];
    Py_XDECREF(old);
    Py_RETURN_NONE;
}

static PyObject *echo_connection_lost(PyObject *self, PyObject *exception)
{
    (void)exception;
    Py_CLEAR(((EchoObject *)self)->transport);
    Py_RETURN_NONE;
}

static PyObject *echo_eof_received(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    Py_RETURN_NONE;
}

static PyObject *call_transport(PyObject *self, const char *method)
{
    PyObject *transport = ((EchoObject *)self)->transport;

    if (transport == NULL)
        Py_RETURN_NONE;
    return PyObject_CallMethod(transport, method, NULL);
}

/* A peer that sends and does not receive must not fill the memory. */
static PyObject *echo_pause_writing(PyObject *self, PyObject *unused)
{
    (void)unused;
    return call_transport(self, "pause_reading");
}

static PyObject *echo_resume_writing(PyObject *self, PyObject *unused)
{
    (void)unused;
    return call_transport(self, "resume_reading");
}

/* ---- the type ---- */

static int echo_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((EchoObject *)self)->transport);
    return 0;
}

static int echo_clear(PyObject *self)
{
    Py_CLEAR(((EchoObject *)self)->transport);
    return 0;
}

static void echo_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    echo_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef echo_methods[] = {
    {"connection_made", (PyCFunction)(void (*)(void))echo_connection_made,
     METH_METHOD | METH_FASTCALL | METH_KEYWORDS, NULL},
    {"connection_lost", echo_connection_lost, METH_O, NULL},
    {"data_received", echo_data_received, METH_O, NULL},
    {"eof_received", echo_eof_received, METH_NOARGS, NULL},
    {"pause_writing", echo_pause_writing, METH_NOARGS, NULL},
    {"resume_writing", echo_resume_writing, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef echo_members[] = {
    {"count", T_ULONGLONG, offsetof(EchoObject, count), READONLY, "bytes so far"},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef echo_getset[] = {
    {AFN_PYTHON_ATTRIBUTE, echo_get_protocol, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot echo_slots[] = {
    {Py_tp_doc, "Sends back what it gets."},
    {Py_tp_dealloc, echo_dealloc},
    {Py_tp_traverse, echo_traverse},
    {Py_tp_clear, echo_clear},
    {Py_tp_methods, echo_methods},
    {Py_tp_members, echo_members},
    {Py_tp_getset, echo_getset},
    {0, NULL},
};

/* What cannot change need not be asked for its data_received() whenever data comes. */
#if PY_VERSION_HEX >= 0x030A0000
#define IMMUTABLE Py_TPFLAGS_IMMUTABLETYPE
#else
#define IMMUTABLE 0
#endif

/* If a class in Python derives from it, a data_received() there is called, and not echo_data(). */
static PyType_Spec echo_spec = {
    .name = "echo_protocol.Echo",
    .basicsize = sizeof(EchoObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | IMMUTABLE,
    .slots = echo_slots,
};

/* ---- the module ---- */

static int module_exec(PyObject *module)
{
    struct module_state *state = PyModule_GetState(module);
    PyObject *type;
    int result;

    state->api = afn_python_import();
    if (state->api == NULL)
        return -1;
    type = PyType_FromModuleAndSpec(module, &echo_spec, NULL);
    if (type == NULL)
        return -1;
    result = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return result;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "echo_protocol",
    .m_size = sizeof(struct module_state),
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit_echo_protocol(void);

PyMODINIT_FUNC PyInit_echo_protocol(void)
{
    return PyModuleDef_Init(&module_definition);
}
