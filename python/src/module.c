/* SPDX-License-Identifier: MIT */
#include "module.h"

#include "capsule.h"
#include "carrier.h"
#include "imports.h"
#include "info.h"
#include "reactor.h"
#include "tls-capture.h"
#include "transport.h"

PyDoc_STRVAR(force_python_engine_doc,
             "force_python_engine($module, flag, /)\n--\n\n"
             "Makes new TLS connections use ssl.MemoryBIO; returns the former value.");

static PyObject *force_python_engine(PyObject *module, PyObject *flag)
{
    struct module_state *state = PyModule_GetState(module);
    bool former = state->force_python_engine;
    int wanted = PyObject_IsTrue(flag);

    if (wanted < 0)
        return NULL;
    state->force_python_engine = wanted;
    return PyBool_FromLong(former);
}

PyDoc_STRVAR(info_doc, "info($module)\n--\n\nSays what this module was built with and uses.");

PyDoc_STRVAR(find_libssl_doc,
             "find_libssl($module, path, /)\n--\n\n"
             "The file that SSL_new() of a loaded module (None: of the program) is in, or None.");

static PyMethodDef module_methods[] = {
    {"force_python_engine", force_python_engine, METH_O, force_python_engine_doc},
    {"info", info_collect, METH_NOARGS, info_doc},
    {"find_libssl", info_find_libssl, METH_O, find_libssl_doc},
    {NULL, NULL, 0, NULL},
};

PyObject *module_refuse_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    (void)args;
    (void)keywords;
    PyErr_Format(PyExc_TypeError, "cannot create '%.100s' instances", type->tp_name);
    return NULL;
}

static int intern_names(struct module_names *names)
{
#define MODULE_NAME_INTERN(name)                                                                   \
    names->name = PyUnicode_InternFromString(#name);                                               \
    if (names->name == NULL)                                                                       \
        return -1;
    MODULE_NAMES(MODULE_NAME_INTERN)
#undef MODULE_NAME_INTERN
    return 0;
}

static int module_exec(PyObject *module)
{
    struct module_state *state = PyModule_GetState(module);

    if (intern_names(&state->names) < 0 || imports_load(state) < 0 || tls_capture_setup() < 0)
        return -1;
    if (PyModule_AddStringConstant(module, "__version__", info_version) < 0)
        return -1;
    state->reactor_type = reactor_make_type(module);
    if (state->reactor_type == NULL || PyModule_AddType(module, state->reactor_type) < 0)
        return -1;
    for (int role = TRANSPORT_SOCKET; role <= TRANSPORT_WRITE_PIPE; role++) {
        PyTypeObject *type = transport_make_type(module, state, (enum transport_role)role);

        state->transport_types[role] = type;
        if (type == NULL || PyModule_AddType(module, type) < 0)
            return -1;
    }
    state->carrier_type = carrier_make_type(module);
    return state->carrier_type == NULL ? -1 : capsule_add(module);
}

/* The structs of names and imports hold nothing but references. */
static PyObject **state_get_references(struct module_state *state, size_t part, size_t *ret_count)
{
    if (part == 0) {
        *ret_count = sizeof(state->names) / sizeof(PyObject *);
        return (PyObject **)(void *)&state->names;
    }
    *ret_count = sizeof(state->imports) / sizeof(PyObject *);
    return (PyObject **)(void *)&state->imports;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct module_state *state = PyModule_GetState(module);

    Py_VISIT(state->reactor_type);
    for (size_t role = 0; role <= TRANSPORT_WRITE_PIPE; role++)
        Py_VISIT(state->transport_types[role]);
    Py_VISIT(state->carrier_type);
    for (size_t part = 0; part < 2; part++) {
        size_t count;
        PyObject **references = state_get_references(state, part, &count);

        for (size_t i = 0; i < count; i++)
            Py_VISIT(references[i]);
    }
    return 0;
}

static int module_clear(PyObject *module)
{
    struct module_state *state = PyModule_GetState(module);

    Py_CLEAR(state->reactor_type);
    for (size_t role = 0; role <= TRANSPORT_WRITE_PIPE; role++)
        Py_CLEAR(state->transport_types[role]);
    Py_CLEAR(state->carrier_type);
    for (size_t part = 0; part < 2; part++) {
        size_t count;
        PyObject **references = state_get_references(state, part, &count);

        for (size_t i = 0; i < count; i++)
            Py_CLEAR(references[i]);
    }
    return 0;
}

static void module_free(void *module)
{
    module_clear(module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    COMPAT_GIL_SLOT
    COMPAT_INTERPRETERS_SLOT
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_core",
    .m_doc = "The transports of aiofastnet, over libaiofastnet.",
    .m_size = sizeof(struct module_state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__core(void);

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&module_definition);
}
