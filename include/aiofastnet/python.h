/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_PYTHON_H
#define AIOFASTNET_PYTHON_H

/*
 * For Python extension modules whose asyncio protocols are written in C or Cython: they get the
 * bytes of a transport of the package aiofastnet, and write to it, without a Python call and
 * without a bytes object.  All else stays as asyncio has it: connection_made(), connection_lost()
 * and the others are methods, and the transport has its own.  An extension needs this header and no
 * library; aiofastnet.h does not include it.
 *
 * Python.h comes with it, or before it; the limited API is enough.
 */
#include <Python.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The names of the two capsules, and of the attribute that has the second one. */
#define AFN_PYTHON_API "aiofastnet._core.c_api"
#define AFN_PYTHON_PROTOCOL "aiofastnet.protocol"
#define AFN_PYTHON_ATTRIBUTE "__aiofastnet_protocol__"

/*
 * What a type of protocols has in C.  Set size to sizeof(struct afn_python_protocol).
 *
 * The type offers it by its attribute __aiofastnet_protocol__, or a property of that name: a
 * capsule of afn_python_make_capsule().  That is looked for when a transport gets its protocol:
 * when it is made, and in set_protocol() and start_tls().  A capsule of another name, or a
 * structure of a wrong size, is a TypeError there; None is no capsule.
 *
 * The class that has the attribute must also have data_received(), as a method that takes bytes: it
 * does the same, and other transports call it.  So do those of aiofastnet where a derived class, or
 * the object, has a data_received() of its own: what overrides it is never passed over.
 */
struct afn_python_protocol {
    size_t size;
    /*
     * In place of data_received(), in the same context, and with the same consequences: bytes that
     * came, which live as long as the call.  The GIL is held, or the thread attached.
     *
     * Returns: 0, or -1 with an exception.
     */
    int (*data_received)(PyObject *protocol, const void *data, size_t length);
};

/*
 * The functions of aiofastnet.  The same in all interpreters and threads, and until the process
 * ends.  Members will be added at the end only.
 *
 * Transports: any that asyncio could give, also of other packages: their methods are called, with a
 * bytes object.
 * Threads: that of the transport's loop, with the GIL held, or attached.  In others the functions
 * that write raise RuntimeError, as the methods do.
 */
struct afn_python_api {
    size_t size;
    /*
     * Is the object a transport of aiofastnet?
     *
     * Returns: 1 or 0.
     */
    int (*is_transport)(PyObject *object);
    /*
     * Does what transport.write() does: sends at once what the kernel takes and copies the rest,
     * may call pause_writing() of the protocol, drops what comes after the connection was lost.
     *
     * Returns: 0, or -1 with the exception that write() would raise.
     */
    int (*write)(PyObject *transport, const void *data, size_t length);
    /*
     * The same without a copy: the memory must not change until release(user) is called, which
     * happens exactly once, from this or a later call, also when the result is -1; it may be NULL.
     * release has the GIL, or an attached thread.  It may free memory and drop references to
     * objects that run no Python code when they go, but neither use the transport nor raise.
     */
    int (*write_ref)(PyObject *transport, const void *data, size_t length,
                     void (*release)(void *user), void *user);
    /*
     * transport.get_write_buffer_size().
     *
     * Returns: bytes, or -1 with an exception.
     */
    Py_ssize_t (*get_write_buffer_size)(PyObject *transport);
};

/*
 * Imports aiofastnet.
 *
 * Returns: its functions, or NULL with an ImportError, also when aiofastnet is older than this
 *          header.
 * Since: 0.1.0
 */
static inline const struct afn_python_api *afn_python_import(void)
{
    PyObject *module = PyImport_ImportModule("aiofastnet._core");
    PyObject *capsule = module == NULL ? NULL : PyObject_GetAttrString(module, "c_api");
    const struct afn_python_api *api = NULL;

    if (capsule != NULL)
        api = (const struct afn_python_api *)PyCapsule_GetPointer(capsule, AFN_PYTHON_API);
    Py_XDECREF(capsule);
    Py_XDECREF(module);
    if (api == NULL || api->size >= sizeof(*api))
        return api;
    PyErr_SetString(PyExc_ImportError, "this module needs a newer aiofastnet");
    return NULL;
}

/*
 * Makes the capsule of a type.  What it points to must live as long as the type and its objects.
 *
 * Returns: a new reference, or NULL with an exception.
 * Since: 0.1.0
 */
static inline PyObject *afn_python_make_capsule(const struct afn_python_protocol *protocol)
{
    return PyCapsule_New((void *)protocol, AFN_PYTHON_PROTOCOL, NULL);
}

#ifdef __cplusplus
}
#endif

#endif
