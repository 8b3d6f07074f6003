/* SPDX-License-Identifier: MIT */
#include "sockaddr.h"

#include <arpa/inet.h>
#include <string.h>

void sockaddr_set(struct sockaddr_value *value, const struct sockaddr *address, socklen_t length)
{
    /* One byte stays free, so that a path always ends with a NUL. */
    if (length >= sizeof(value->address.space))
        length = sizeof(value->address.space) - 1;
    memcpy(value->address.space, address, length);
    value->address.space[length] = '\0';
    value->length = length;
    if (length < sizeof(sa_family_t))
        value->state = SOCKADDR_ABSENT;
    else if (address->sa_family == AF_INET || address->sa_family == AF_INET6 ||
             address->sa_family == AF_UNIX)
        value->state = SOCKADDR_KNOWN;
    else
        value->state = SOCKADDR_FOREIGN;
}

static void fetch(struct sockaddr_value *value, int fd,
                  int (*get_name)(int, struct sockaddr *, socklen_t *))
{
    struct sockaddr_storage storage;
    socklen_t length = sizeof(storage);

    if (get_name(fd, (struct sockaddr *)&storage, &length) < 0)
        value->state = SOCKADDR_ABSENT;
    else
        sockaddr_set(value, (const struct sockaddr *)&storage, length);
}

void sockaddr_fetch_own(struct sockaddr_value *value, int fd)
{
    fetch(value, fd, getsockname);
}

void sockaddr_fetch_peer(struct sockaddr_value *value, int fd)
{
    fetch(value, fd, getpeername);
}

static PyObject *unix_to_python(const struct sockaddr_value *value)
{
    const char *path = value->address.space + offsetof(struct sockaddr_un, sun_path);
    size_t length = value->length - offsetof(struct sockaddr_un, sun_path);

    if (length > 0 && path[0] == '\0')
        return PyBytes_FromStringAndSize(path, (Py_ssize_t)length);
    return PyUnicode_DecodeFSDefault(path);
}

PyObject *sockaddr_to_python(const struct sockaddr_value *value)
{
    char text[INET6_ADDRSTRLEN] = "";

    if (value->state != SOCKADDR_KNOWN)
        Py_RETURN_NONE;
    switch (value->address.any.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &value->address.in.sin_addr, text, sizeof(text));
        return Py_BuildValue("si", text, (int)ntohs(value->address.in.sin_port));
    case AF_INET6:
        inet_ntop(AF_INET6, &value->address.in6.sin6_addr, text, sizeof(text));
        return Py_BuildValue("siII", text, (int)ntohs(value->address.in6.sin6_port),
                             (unsigned int)ntohl(value->address.in6.sin6_flowinfo),
                             (unsigned int)value->address.in6.sin6_scope_id);
    default:
        return unix_to_python(value);
    }
}

static bool get_number(PyObject *object, unsigned long limit, unsigned long *ret_number)
{
    unsigned long number;

    if (!PyLong_CheckExact(object))
        return false;
    number = PyLong_AsUnsignedLong(object);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return false;
    }
    *ret_number = number;
    return number <= limit;
}

/* A numeric host of either family, into target. */
static bool get_host(PyObject *object, int family, void *target)
{
    const char *text;
    Py_ssize_t length;

    if (!PyUnicode_Check(object))
        return false;
    text = PyUnicode_AsUTF8AndSize(object, &length);
    if (text == NULL) {
        PyErr_Clear();
        return false;
    }
    /* A NUL is the end of the text for inet_pton(), and an error for sendto(). */
    return strlen(text) == (size_t)length && inet_pton(family, text, target) == 1;
}

static bool inet_from_python(struct sockaddr_in *in, PyObject *tuple)
{
    unsigned long port;

    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != 2 ||
        !get_host(PyTuple_GET_ITEM(tuple, 0), AF_INET, &in->sin_addr) ||
        !get_number(PyTuple_GET_ITEM(tuple, 1), 0xFFFF, &port))
        return false;
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)port);
    memset(in->sin_zero, 0, sizeof(in->sin_zero));
    return true;
}

static bool inet_six_from_python(struct sockaddr_in6 *in, PyObject *tuple)
{
    Py_ssize_t size = PyTuple_Check(tuple) ? PyTuple_GET_SIZE(tuple) : 0;
    unsigned long port, flow = 0, scope = 0;

    if (size < 2 || size > 4 || !get_host(PyTuple_GET_ITEM(tuple, 0), AF_INET6, &in->sin6_addr) ||
        !get_number(PyTuple_GET_ITEM(tuple, 1), 0xFFFF, &port) ||
        (size > 2 && !get_number(PyTuple_GET_ITEM(tuple, 2), 0xFFFFF, &flow)) ||
        (size > 3 && !get_number(PyTuple_GET_ITEM(tuple, 3), UINT32_MAX, &scope)))
        return false;
    in->sin6_family = AF_INET6;
    in->sin6_port = htons((uint16_t)port);
    in->sin6_flowinfo = htonl((uint32_t)flow);
    in->sin6_scope_id = (uint32_t)scope;
    return true;
}

/* A path ends with a NUL; a name of the abstract namespace begins with one, and has a length. */
static bool unix_from_path(struct sockaddr_value *value, const char *path, size_t length)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    bool is_abstract = length == 0 || path[0] == '\0';

    if (length + (is_abstract ? 0 : 1) > sizeof(un.sun_path))
        return false;
    memcpy(un.sun_path, path, length);
    length += offsetof(struct sockaddr_un, sun_path) + (is_abstract ? 0 : 1);
    sockaddr_set(value, (const struct sockaddr *)&un, (socklen_t)length);
    return true;
}

static bool unix_from_python(struct sockaddr_value *value, PyObject *object)
{
    PyObject *bytes;
    bool result;

    if (PyUnicode_Check(object))
        bytes = PyUnicode_EncodeFSDefault(object);
    else
        bytes = PyBytes_Check(object) ? Py_NewRef(object) : NULL;
    if (bytes == NULL) {
        PyErr_Clear();
        return false;
    }
    result = unix_from_path(value, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    Py_DECREF(bytes);
    return result;
}

bool sockaddr_from_python(struct sockaddr_value *value, int family, PyObject *object)
{
    value->state = SOCKADDR_KNOWN;
    switch (family) {
    case AF_INET:
        value->length = sizeof(value->address.in);
        return inet_from_python(&value->address.in, object);
    case AF_INET6:
        value->length = sizeof(value->address.in6);
        return inet_six_from_python(&value->address.in6, object);
    case AF_UNIX:
        return unix_from_python(value, object);
    default:
        return false;
    }
}

/* One from the port and the end of the host, which differ most. */
static struct sockaddr_entry *get_entry(struct sockaddr_cache *cache,
                                        const struct sockaddr *address, socklen_t length)
{
    uint32_t host, hash;
    uint16_t port;

    if (address->sa_family == AF_INET && length == sizeof(struct sockaddr_in)) {
        const struct sockaddr_in *in = (const void *)address;

        host = ntohl(in->sin_addr.s_addr);
        port = in->sin_port;
    } else if (address->sa_family == AF_INET6 && length == sizeof(struct sockaddr_in6)) {
        const struct sockaddr_in6 *in = (const void *)address;

        memcpy(&host, in->sin6_addr.s6_addr + 12, sizeof(host));
        host = ntohl(host);
        port = in->sin6_port;
    } else {
        return NULL;
    }
    hash = (host ^ (uint32_t)ntohs(port) << 16 ^ ntohs(port)) * UINT32_C(2654435761);
    return &cache->entries[hash >> 24];
}

PyObject *sockaddr_cache_convert(struct sockaddr_cache *cache, const struct sockaddr *address,
                                 socklen_t length)
{
    struct sockaddr_entry *entry = length > 0 ? get_entry(cache, address, length) : NULL;
    struct sockaddr_value value;
    PyObject *object;

    cache->last = entry;
    if (entry != NULL && entry->length == length &&
        memcmp(&entry->address, address, length) == 0)
        return Py_NewRef(entry->object);
    sockaddr_set(&value, address, length);
    object = sockaddr_to_python(&value);
    if (entry == NULL || object == NULL)
        return object;
    entry->length = length;
    memcpy(&entry->address, address, length);
    Py_XSETREF(entry->object, Py_NewRef(object));
    return object;
}

const struct sockaddr_entry *sockaddr_cache_find(const struct sockaddr_cache *cache, int family,
                                                 PyObject *object)
{
    const struct sockaddr_entry *last = cache->last;

    return last != NULL && last->object == object && last->address.any.sa_family == family ? last
                                                                                           : NULL;
}

void sockaddr_cache_clear(struct sockaddr_cache *cache)
{
    cache->last = NULL;
    for (size_t i = 0; i < SOCKADDR_CACHE_SIZE; i++) {
        cache->entries[i].length = 0;
        Py_CLEAR(cache->entries[i].object);
    }
}
