/* SPDX-License-Identifier: MIT */
#include "compiled.h"

#include <aiofastnet/python.h>

/* Is the name defined in the class itself?  1, 0, or -1 with an exception. */
static int defines(PyObject *class, PyObject *name)
{
    PyObject *dict = PyObject_GetAttrString(class, "__dict__");
    int result = dict == NULL ? -1 : PySequence_Contains(dict, name);

    Py_XDECREF(dict);
    return result;
}

/* The first class that has the capsule or the method, if it has both; or NULL. */
static PyObject *find_owner(struct module_state *state, PyObject *protocol)
{
    PyObject *classes = PyObject_GetAttrString((PyObject *)Py_TYPE(protocol), "__mro__");
    PyObject *owner = NULL;

    for (Py_ssize_t i = 0;
         classes != NULL && PyTuple_Check(classes) && i < PyTuple_GET_SIZE(classes); i++) {
        PyObject *class = PyTuple_GET_ITEM(classes, i);
        int has_capsule = defines(class, state->names.__aiofastnet_protocol__);
        int has_method = has_capsule < 0 ? -1 : defines(class, state->names.data_received);

        if (has_capsule > 0 && has_method > 0)
            owner = Py_NewRef(class);
        if (has_capsule != 0 || has_method != 0)
            break;
    }
    Py_XDECREF(classes);
    return owner;
}

/* What the object has by this name, unless something overrides what the class has. */
static PyObject *get_bound(PyObject *owner, PyObject *name, PyObject *protocol)
{
    PyObject *dict = PyObject_GetAttrString(owner, "__dict__");
    PyObject *found = dict == NULL ? NULL : PyObject_GetItem(dict, name);
    descrgetfunc get = found == NULL ? NULL : Py_TYPE(found)->tp_descr_get;

    Py_XDECREF(dict);
    if (get != NULL)
        Py_SETREF(found, get(found, protocol, (PyObject *)Py_TYPE(protocol)));
    return found;
}

/* Is data_received() of the protocol the one of this class, and for ever? */
static bool is_fixed(PyObject *owner, PyObject *protocol)
{
    PyTypeObject *type = Py_TYPE(protocol);

    return (PyObject *)type == owner && compat_is_immutable(type) && type->tp_dictoffset == 0 &&
           type->tp_getattro == PyObject_GenericGetAttr;
}

/* Of the first version of the structure, whose members are all needed. */
#define LEAST_SIZE                                                                                 \
    (offsetof(struct afn_python_protocol, data_received) +                                         \
     sizeof(((struct afn_python_protocol *)NULL)->data_received))

static const struct afn_python_protocol *check_capsule(PyObject *protocol, PyObject *capsule)
{
    const struct afn_python_protocol *ops = NULL;

    if (!PyCapsule_IsValid(capsule, AFN_PYTHON_PROTOCOL)) {
        PyErr_Format(PyExc_TypeError,
                     AFN_PYTHON_ATTRIBUTE " of %.200s must be a capsule named \"%s\", not %R",
                     Py_TYPE(protocol)->tp_name, AFN_PYTHON_PROTOCOL, capsule);
        return NULL;
    }
    ops = PyCapsule_GetPointer(capsule, AFN_PYTHON_PROTOCOL);
    if (ops != NULL && ops->size < LEAST_SIZE) {
        PyErr_Format(PyExc_TypeError,
                     AFN_PYTHON_ATTRIBUTE " of %.200s: the size of the structure is %zu, which is "
                                          "too small",
                     Py_TYPE(protocol)->tp_name, ops->size);
        return NULL;
    }
    if (ops != NULL && ops->data_received == NULL) {
        PyErr_Format(PyExc_TypeError, AFN_PYTHON_ATTRIBUTE " of %.200s: data_received is NULL",
                     Py_TYPE(protocol)->tp_name);
        return NULL;
    }
    return ops;
}

static struct compiled_protocol *make(struct module_state *state, PyObject *protocol,
                                      PyObject *owner, PyObject *capsule)
{
    const struct afn_python_protocol *ops = check_capsule(protocol, capsule);
    struct compiled_protocol *compiled;
    PyObject *method = NULL;

    if (ops == NULL)
        return NULL;
    if (!is_fixed(owner, protocol)) {
        method = get_bound(owner, state->names.data_received, protocol);
        if (method == NULL)
            return NULL;
    }
    compiled = PyMem_Malloc(sizeof(*compiled));
    if (compiled == NULL) {
        Py_XDECREF(method);
        PyErr_NoMemory();
        return NULL;
    }
    compiled->data_received = ops->data_received;
    compiled->capsule = Py_NewRef(capsule);
    compiled->method = method;
    return compiled;
}

int compiled_find(struct module_state *state, PyObject *protocol,
                  struct compiled_protocol **ret_compiled)
{
    struct compiled_protocol *compiled = NULL;
    /* The class is asked, for a protocol may have an answer to every name. */
    int is_one =
        compat_has_class_attribute(Py_TYPE(protocol), state->names.__aiofastnet_protocol__);
    PyObject *owner = is_one > 0 ? find_owner(state, protocol) : NULL, *capsule;

    if (owner != NULL) {
        capsule = get_bound(owner, state->names.__aiofastnet_protocol__, protocol);
        if (capsule != NULL && capsule != Py_None)
            compiled = make(state, protocol, owner, capsule);
        Py_XDECREF(capsule);
        Py_DECREF(owner);
    }
    if (is_one != 0 && compiled == NULL && PyErr_Occurred())
        return -1;
    *ret_compiled = compiled;
    return 0;
}

void compiled_free(struct compiled_protocol *compiled)
{
    if (compiled == NULL)
        return;
    Py_DECREF(compiled->capsule);
    Py_XDECREF(compiled->method);
    PyMem_Free(compiled);
}

int compiled_traverse(struct compiled_protocol *compiled, visitproc visit, void *arg)
{
    if (compiled != NULL) {
        Py_VISIT(compiled->capsule);
        Py_VISIT(compiled->method);
    }
    return 0;
}
