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
