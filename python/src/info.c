/* SPDX-License-Identifier: MIT */
#include "info.h"

#include "tls-capture.h"

#include <aiofastnet/version.h>
#include <dlfcn.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <stdint.h>

#define QUOTE_VALUE(value) #value
#define QUOTE(value) QUOTE_VALUE(value)

/* Of the headers that the module was compiled with. */
const char info_version[] =
    QUOTE(AFN_VERSION_MAJOR) "." QUOTE(AFN_VERSION_MINOR) "." QUOTE(AFN_VERSION_MICRO);

/* Why TLS cannot use this process's OpenSSL directly: a string, or None if it can. */
static PyObject *find_engine_reason(struct module_state *state)
{
    int captured;

    if (state->imports.memory_bio == NULL)
        return PyUnicode_FromString("this Python has no module ssl");
    captured = tls_capture_probe(state);
    if (captured < 0)
        return NULL;
    if (captured == 0)
        return PyUnicode_FromString("the module ssl of this Python uses another copy of OpenSSL");
    if (state->force_python_engine)
        return PyUnicode_FromString("force_python_engine() was called");
    Py_RETURN_NONE;
}

/* The file that an address was loaded from, or None. */
static PyObject *find_file(void *address)
{
    Dl_info found;

    if (address == NULL || dladdr(address, &found) == 0 || found.dli_fname == NULL)
        Py_RETURN_NONE;
    return PyUnicode_DecodeFSDefault(found.dli_fname);
}

PyObject *info_collect(PyObject *module, PyObject *unused)
{
    PyObject *reason = find_engine_reason(PyModule_GetState(module));

    (void)unused;
    if (reason == NULL)
        return NULL;
    return Py_BuildValue(
        "{s:s,s:s,s:N,s:s,s:N,s:s,s:N,s:O}", "version", info_version, "library_version",
        afn_version(), "library_path", find_file((void *)(uintptr_t)afn_version), "engine",
        reason == Py_None ? "openssl" : "python", "reason", reason, "libssl",
        OpenSSL_version(OPENSSL_VERSION), "libssl_path", find_file((void *)(uintptr_t)SSL_new),
        "ktls_compiled", afn_has_ktls() ? Py_True : Py_False);
}

/* A module is loaded already, so that nothing is; its dependencies are looked through as well. */
PyObject *info_find_libssl(PyObject *module, PyObject *path)
{
    PyObject *encoded = NULL, *result;
    void *handle;

    (void)module;
    if (path != Py_None && !PyUnicode_FSConverter(path, &encoded))
        return NULL;
    handle = dlopen(encoded == NULL ? NULL : PyBytes_AS_STRING(encoded), RTLD_LAZY | RTLD_NOLOAD);
    Py_XDECREF(encoded);
    result = find_file(handle == NULL ? NULL : dlsym(handle, "SSL_new"));
    if (handle != NULL)
        dlclose(handle);
    return result;
}
