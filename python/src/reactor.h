/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_PYTHON_REACTOR_H
#define AIOFASTNET_PYTHON_REACTOR_H

#include "module.h"

#include <aiofastnet/reactor.h>
#include <unistd.h>

struct server_listener;
struct sockaddr_cache;
struct TransportObject;

/*
 * The reactor of one event loop, and the owner of every open transport: the loop keeps it alive,
 * so that an open transport lives as long as its loop, and a forgotten loop takes all with it.
 */
typedef struct ReactorObject {
    PyObject_HEAD
    PyObject *weakrefs;
    PyObject *loop;
    PyObject *ready; /* what the loop has to run next, or NULL */
    struct module_state *state;
    struct afn_reactor *reactor; /* NULL once closed */
    pid_t pid;                   /* of the process that made it */
    atomic_ulong owner;          /* the thread that may change what is here */
    bool dispatching;
    bool asked_logger; /* in this dispatch */
    bool logging;      /* what it said; see diagnostics.c */
    PyObject *interrupt; /* a SystemExit or KeyboardInterrupt on its way out of dispatch() */
    struct TransportObject *open;   /* a list; each member is a strong reference */
    PyObject *incoming;             /* bytes of RECEIVE_SIZE that no one else has seen, or NULL */
    struct sockaddr_cache *senders; /* of datagrams; NULL before the first datagram transport */
    struct TransportObject *lent;   /* whose protocol's buffer the library has, or NULL; borrowed */
    struct TransportObject **by_fd; /* borrowed */
    size_t by_fd_length;
    struct server_listener *listeners;
} ReactorObject;

PyTypeObject *reactor_make_type(PyObject *module);

/*
 * May the calling thread change this reactor and its transports?  It may if the loop runs in it; a
 * loop that is not running belongs to whoever uses it.
 *
 * Returns: 0, or -1 with RuntimeError.
 */
int reactor_adopt_thread(ReactorObject *self);

/* Every thread may ask; only one gets true. */
static inline bool reactor_is_mine(ReactorObject *self)
{
    return atomic_load_explicit(&self->owner, memory_order_relaxed) == PyThread_get_thread_ident();
}

static inline int reactor_check_thread(ReactorObject *self)
{
    return reactor_is_mine(self) ? 0 : reactor_adopt_thread(self);
}

/*
 * Is it one that the parent of this process had before fork(2)?  Its epoll set and its timer are
 * the parent's still, so nothing of the library's is freed here when the reactor ends.  A child that
 * runs the loop does to the epoll set what it would do with asyncio: what could still be called must
 * not be forgotten.
 */
static inline bool reactor_is_inherited(const ReactorObject *self)
{
    return self->pid != getpid();
}

/* Adds an open transport, which has a descriptor; 0, or -1 with MemoryError. */
int reactor_add(ReactorObject *self, struct TransportObject *transport);

/* Takes it out and drops the reference: the caller has another.  Harmless when it is not there. */
void reactor_remove(ReactorObject *self, struct TransportObject *transport);

/* loop.get_debug(); an exception counts as false. */
bool reactor_is_debug(ReactorObject *self);

/*
 * Raises what was kept in self->interrupt, unless dispatch() will.
 *
 * Returns: 0, or -1 with the exception.
 */
int reactor_raise_interrupt(ReactorObject *self);

#endif
