/* SPDX-License-Identifier: MIT */

/*
 * Protocols with a data_received in C, and the functions of <aiofastnet/python.h>, for the tests.
 *
 * Compiled is to be derived from, together with a class that has the other callbacks.  Fixed is a
 * protocol by itself, which nobody can change.  Both call their attribute sink, (protocol, bytes,
 * direct), where direct says whether the data came by pointer.
 */
#define PY_SSIZE_T_CLEAN
#include <aiofastnet/python.h>
#include <string.h>
#include <structmember.h>

struct module_state {
    const struct afn_python_api *api;
};

typedef struct {
    PyObject_HEAD
    PyObject *sink;
} CompiledObject;

/* ---- receiving ---- */

static int deliver(PyObject *self, PyObject *bytes, int direct)
{
    PyObject *sink = ((CompiledObject *)self)->sink, *result;

    if (sink == NULL) {
        PyErr_SetString(PyExc_AttributeError, "sink");
        return -1;
    }
    Py_INCREF(sink);
    result = PyObject_CallFunction(sink, "OOi", self, bytes, direct);
    Py_DECREF(sink);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Whatever the sink does to the transport, the memory stays as it is until the return. */
static int receive(PyObject *self, const void *data, size_t length)
{
    PyObject *bytes = PyBytes_FromStringAndSize((const char *)data, (Py_ssize_t)length);
    int result;

    if (bytes == NULL)
        return -1;
    result = deliver(self, bytes, 1);
    if (result == 0 && memcmp(PyBytes_AS_STRING(bytes), data, length) != 0) {
        PyErr_SetString(PyExc_SystemError, "the data changed during the call");
        result = -1;
    }
    Py_DECREF(bytes);
    return result;
}

static int fail_silently(PyObject *self, const void *data, size_t length)
{
    (void)self, (void)data, (void)length;
    return -1;
}

static int raise_and_succeed(PyObject *self, const void *data, size_t length)
{
    (void)self, (void)data, (void)length;
    PyErr_SetString(PyExc_KeyError, "raised");
    return 0;
}

static PyObject *compiled_data_received(PyObject *self, PyObject *data)
{
    if (deliver(self, data, 0) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* ---- capsules, good and bad ---- */

static const struct afn_python_protocol protocols[] = {
    {sizeof(struct afn_python_protocol), receive},
    {sizeof(struct afn_python_protocol) + 64, receive},
    {sizeof(size_t), receive},
    {0, receive},
    {sizeof(struct afn_python_protocol), NULL},
    {sizeof(struct afn_python_protocol), fail_silently},
    {sizeof(struct afn_python_protocol), raise_and_succeed},
};

static PyObject *make_capsule(PyObject *module, PyObject *name)
{
    static const char *const names[] = {
        "good", "larger", "small", "zero", "no function", "fails silently", "raises and succeeds"};

    (void)module;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (PyUnicode_CompareWithASCIIString(name, names[i]) == 0)
            return afn_python_make_capsule(&protocols[i]);
    }
    return PyCapsule_New((void *)&protocols[0], "somebody's", NULL);
}

/* ---- the functions ---- */

static const struct afn_python_api *get_api(PyObject *module)
{
    return ((struct module_state *)PyModule_GetState(module))->api;
}

static PyObject *call_is_transport(PyObject *module, PyObject *object)
{
    return PyBool_FromLong(get_api(module)->is_transport(object));
}

static PyObject *call_write(PyObject *module, PyObject *args)
{
    PyObject *transport;
    const char *data;
    Py_ssize_t length;

    /* None is nothing, at NULL. */
    if (!PyArg_ParseTuple(args, "Oz#", &transport, &data, &length) ||
        get_api(module)->write(transport, data, (size_t)length) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static void release_bytes(void *user)
{
    Py_DECREF((PyObject *)user);
}

/* The reference to the bytes is what is released. */
static PyObject *call_write_ref(PyObject *module, PyObject *args)
{
    PyObject *transport, *data;

    if (!PyArg_ParseTuple(args, "OS", &transport, &data))
        return NULL;
    Py_INCREF(data);
    if (get_api(module)->write_ref(transport, PyBytes_AS_STRING(data),
                                   (size_t)PyBytes_GET_SIZE(data), release_bytes, data) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *call_get_write_buffer_size(PyObject *module, PyObject *transport)
{
    Py_ssize_t size = get_api(module)->get_write_buffer_size(transport);

    return size < 0 ? NULL : PyLong_FromSsize_t(size);
}

/* ---- the types ---- */

static int compiled_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((CompiledObject *)self)->sink);
    return 0;
}

static int compiled_clear(PyObject *self)
{
    Py_CLEAR(((CompiledObject *)self)->sink);
    return 0;
}

static void compiled_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    compiled_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *ignore(PyObject *self, PyObject *args)
{
    (void)self, (void)args;
    Py_RETURN_NONE;
}

static PyObject *get_capsule(PyObject *self, void *closure)
{
    (void)self, (void)closure;
    return afn_python_make_capsule(&protocols[0]);
}

static PyMemberDef compiled_members[] = {
    {"sink", T_OBJECT, offsetof(CompiledObject, sink), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef compiled_methods[] = {
    {"data_received", compiled_data_received, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef fixed_methods[] = {
    {"connection_made", ignore, METH_VARARGS, NULL},
    {"connection_lost", ignore, METH_VARARGS, NULL},
    {"data_received", compiled_data_received, METH_O, NULL},
    {"eof_received", ignore, METH_VARARGS, NULL},
    {"pause_writing", ignore, METH_VARARGS, NULL},
    {"resume_writing", ignore, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef fixed_getset[] = {
    {AFN_PYTHON_ATTRIBUTE, get_capsule, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot compiled_slots[] = {
    {Py_tp_dealloc, compiled_dealloc}, {Py_tp_traverse, compiled_traverse},
    {Py_tp_clear, compiled_clear},     {Py_tp_members, compiled_members},
    {Py_tp_methods, compiled_methods}, {0, NULL},
};

static PyType_Slot fixed_slots[] = {
    {Py_tp_dealloc, compiled_dealloc},
    {Py_tp_traverse, compiled_traverse},
    {Py_tp_clear, compiled_clear},
    {Py_tp_members, compiled_members},
    {Py_tp_methods, fixed_methods},
    {Py_tp_getset, fixed_getset},
    {0, NULL},
};

#if PY_VERSION_HEX >= 0x030A0000
#define IMMUTABLE Py_TPFLAGS_IMMUTABLETYPE
#else
#define IMMUTABLE 0
#endif

static PyType_Spec compiled_spec = {
    .name = "compiled.Compiled",
    .basicsize = sizeof(CompiledObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = compiled_slots,
};

static PyType_Spec fixed_spec = {
    .name = "compiled.Fixed",
    .basicsize = sizeof(CompiledObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | IMMUTABLE,
    .slots = fixed_slots,
};

/* ---- the module ---- */

static int add_type(PyObject *module, PyType_Spec *spec, PyObject *capsule)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    int result = type == NULL ? -1 : 0;

    if (result == 0 && capsule != NULL)
        result = PyObject_SetAttrString(type, AFN_PYTHON_ATTRIBUTE, capsule);
    if (result == 0)
        result = PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return result;
}

static int module_exec(PyObject *module)
{
    struct module_state *state = (struct module_state *)PyModule_GetState(module);
    PyObject *capsule;
    int result;

    state->api = afn_python_import();
    if (state->api == NULL)
        return -1;
    capsule = afn_python_make_capsule(&protocols[0]);
    result = capsule == NULL ? -1 : add_type(module, &compiled_spec, capsule);
    Py_XDECREF(capsule);
    return result < 0 ? -1 : add_type(module, &fixed_spec, NULL);
}

static PyMethodDef module_methods[] = {
    {"capsule", make_capsule, METH_O, NULL},
    {"get_write_buffer_size", call_get_write_buffer_size, METH_O, NULL},
    {"is_transport", call_is_transport, METH_O, NULL},
    {"write", call_write, METH_VARARGS, NULL},
    {"write_ref", call_write_ref, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, (void *)module_exec},
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,       .m_name = "compiled",    .m_size = sizeof(struct module_state),
    .m_methods = module_methods, .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit_compiled(void);

PyMODINIT_FUNC PyInit_compiled(void)
{
    return PyModuleDef_Init(&module_definition);
}
