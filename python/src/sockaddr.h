/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_PYTHON_SOCKADDR_H
#define AIOFASTNET_PYTHON_SOCKADDR_H

#include "compat.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

enum sockaddr_state {
    SOCKADDR_UNKNOWN, /* not asked for yet */
    SOCKADDR_ABSENT,  /* the socket had none */
    SOCKADDR_FOREIGN, /* of a family that only the module socket can convert */
    SOCKADDR_KNOWN
};

/* The address of a socket, as the kernel gave it: most are never looked at. */
struct sockaddr_value {
    enum sockaddr_state state;
    socklen_t length;
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        char space[sizeof(struct sockaddr_un) + 2]; /* the kernel's longest path, and a NUL */
    } address;
};

void sockaddr_set(struct sockaddr_value *value, const struct sockaddr *address, socklen_t length);

/* getsockname(2) and getpeername(2). */
void sockaddr_fetch_own(struct sockaddr_value *value, int fd);
void sockaddr_fetch_peer(struct sockaddr_value *value, int fd);

/*
 * What socket.getpeername() would return; None if there is none.  Not for SOCKADDR_FOREIGN.
 */
PyObject *sockaddr_to_python(const struct sockaddr_value *value);

/*
 * Addresses of AF_INET and AF_INET6 that datagrams came from, as Python objects: most senders send
 * more than one.  All zero is an empty cache.
 */
#define SOCKADDR_CACHE_SIZE 256

struct sockaddr_entry {
    PyObject *object;
    socklen_t length;
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } address;
};

struct sockaddr_cache {
    struct sockaddr_entry *last; /* that was asked for, or NULL */
    struct sockaddr_entry entries[SOCKADDR_CACHE_SIZE];
};

/* What socket.recvfrom() would return: a new reference. */
PyObject *sockaddr_cache_convert(struct sockaddr_cache *cache, const struct sockaddr *address,
                                 socklen_t length);

/* The address that the last one to be converted came from, if this is its object; or NULL. */
const struct sockaddr_entry *sockaddr_cache_find(const struct sockaddr_cache *cache, int family,
                                                 PyObject *object);

void sockaddr_cache_clear(struct sockaddr_cache *cache);

/*
 * The address that socket.sendto() would make of an object, of AF_INET, AF_INET6 and AF_UNIX.
 *
 * Returns: whether it could be made without looking up a name, and is not an error for sendto() to
 * describe.  Raises nothing.
 */
bool sockaddr_from_python(struct sockaddr_value *value, int family, PyObject *object);

#endif
