/* SPDX-License-Identifier: MIT */
#include "imports.h"

#define SSL_HIGH_WATER_KIB 64

static PyObject *import_name(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *result;

    if (module == NULL)
        return NULL;
    result = PyObject_GetAttrString(module, name);
    Py_DECREF(module);
    return result;
}

/* One of asyncio.constants, or its value in the versions that have it. */
static PyObject *import_constant(const char *name, double fallback)
{
    PyObject *result = import_name("asyncio.constants", name);

    if (result == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        result = PyFloat_FromDouble(fallback);
    }
    return result;
}

/*
 * The transport types put their own fields behind those of asyncio's, whose one field is the slot
 * _extra.
 */
static int check_base(PyObject *transport)
{
    PyTypeObject *type = (PyTypeObject *)transport;

    if (transport == NULL)
        return -1;
    if (PyType_Check(transport) &&
        type->tp_basicsize == (Py_ssize_t)(sizeof(PyObject) + sizeof(PyObject *)) &&
        type->tp_itemsize == 0 && type->tp_dictoffset == 0 && type->tp_weaklistoffset == 0)
        return 0;
    PyErr_Format(PyExc_ImportError,
                 "aiofastnet does not know the layout of %R of this Python: it is expected to have "
                 "one slot, _extra",
                 transport);
    return -1;
}

static int load_loggers(struct module_imports *imports)
{
    PyObject *get_logger;

    imports->logger = import_name("asyncio.log", "logger");
    get_logger = imports->logger == NULL ? NULL : import_name("logging", "getLogger");
    if (get_logger != NULL)
        imports->own_logger = PyObject_CallFunction(get_logger, "s", "aiofastnet");
    Py_XDECREF(get_logger);
    return imports->own_logger == NULL ? -1 : 0;
}

static int load_flow_control(struct module_state *state)
{
    PyObject *value = import_constant("FLOW_CONTROL_HIGH_WATER_SSL_WRITE", SSL_HIGH_WATER_KIB);
    double kibibytes;

    if (value == NULL)
        return -1;
    kibibytes = PyFloat_AsDouble(value);
    Py_DECREF(value);
    if (PyErr_Occurred())
        return -1;
    state->tls_high_water = (size_t)(kibibytes * 1024);
    return 0;
}

static int load_server(struct module_state *state)
{
    PyObject *attach = import_name("asyncio.base_events", "Server");
    PyObject *code = NULL, *count = NULL;

    if (attach != NULL)
        Py_SETREF(attach, PyObject_GetAttrString(attach, "_attach"));
    if (attach != NULL)
        code = PyObject_GetAttrString(attach, "__code__");
    if (code != NULL)
        count = PyObject_GetAttrString(code, "co_argcount");
    if (count != NULL)
        state->server_counts_by_object = PyLong_AsLong(count) > 1;
    Py_XDECREF(count);
    Py_XDECREF(code);
    Py_XDECREF(attach);
    return PyErr_Occurred() ? -1 : 0;
}

static int load_asyncio(struct module_state *state)
{
    struct module_imports *imports = &state->imports;
    PyObject *mode;

    imports->transport = import_name("asyncio", "Transport");
    if (check_base(imports->transport) < 0)
        return -1;
    imports->read_transport = import_name("asyncio", "ReadTransport");
    if (check_base(imports->read_transport) < 0)
        return -1;
    imports->datagram_transport = import_name("asyncio", "DatagramTransport");
    if (check_base(imports->datagram_transport) < 0)
        return -1;
    imports->buffered_protocol = import_name("asyncio", "BufferedProtocol");
    imports->transport_socket = import_name("asyncio.trsock", "TransportSocket");
    imports->get_running_loop = import_name("asyncio", "_get_running_loop");
    imports->socket = import_name("socket", "socket");
    imports->handshake_timeout = import_constant("SSL_HANDSHAKE_TIMEOUT", 60.0);
    imports->shutdown_timeout = import_constant("SSL_SHUTDOWN_TIMEOUT", 30.0);
    if (imports->buffered_protocol == NULL || imports->transport_socket == NULL ||
        imports->get_running_loop == NULL || imports->socket == NULL ||
        imports->handshake_timeout == NULL || imports->shutdown_timeout == NULL ||
        load_loggers(imports) < 0)
        return -1;

    mode = import_name("asyncio.constants", "_SendfileMode");
    if (mode == NULL)
        return -1;
    imports->sendfile_native = PyObject_GetAttrString(mode, "TRY_NATIVE");
    imports->sendfile_fallback = PyObject_GetAttrString(mode, "FALLBACK");
    Py_DECREF(mode);
    if (imports->sendfile_native == NULL || imports->sendfile_fallback == NULL)
        return -1;
    return load_server(state) < 0 || load_flow_control(state) < 0 ? -1 : 0;
}

static int load_ssl(struct module_imports *imports)
{
    PyObject *module = PyImport_ImportModule("ssl");
    struct {
        PyObject **place;
        const char *name;
    } wanted[] = {
        {&imports->memory_bio, "MemoryBIO"},
        {&imports->ssl_context, "SSLContext"},
        {&imports->protocol_tls_client, "PROTOCOL_TLS_CLIENT"},
        {&imports->ssl_error, "SSLError"},
        {&imports->ssl_eof_error, "SSLEOFError"},
        {&imports->ssl_syscall_error, "SSLSyscallError"},
        {&imports->ssl_want_read_error, "SSLWantReadError"},
        {&imports->ssl_want_write_error, "SSLWantWriteError"},
        {&imports->ssl_certificate_error, "CertificateError"},
        {&imports->create_default_context, "create_default_context"},
    };

    if (module == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_ImportError))
            return -1;
        PyErr_Clear();
        return 0;
    }
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        *wanted[i].place = PyObject_GetAttrString(module, wanted[i].name);
        if (*wanted[i].place == NULL)
            break;
    }
    Py_DECREF(module);
    return PyErr_Occurred() ? -1 : 0;
}

int imports_load(struct module_state *state)
{
    if (load_asyncio(state) < 0)
        return -1;
    return load_ssl(&state->imports);
}
