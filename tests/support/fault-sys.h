/* SPDX-License-Identifier: MIT */
#ifndef FAULT_SYS_H
#define FAULT_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The system layer that tests put in the place of lib/sys.c.  It calls the real one, counts, and
 * fails on request as a kernel could.  The kernel's promise about edges is kept: after an EAGAIN or
 * a short transfer that only the test wanted, the socket is announced as ready again.
 */

enum fault_call {
    FAULT_RECV,
    FAULT_SEND, /* writes to what is no socket, too */
    FAULT_SENDFILE,
    FAULT_PREAD,
    FAULT_SHUTDOWN,
    FAULT_ACCEPT,
    FAULT_SOCKET,
    FAULT_BIND,
    FAULT_CONNECT,
    FAULT_GET_ERROR,
    FAULT_CLOSE,
    FAULT_SET_NONBLOCKING,
    FAULT_GET_KIND,
    FAULT_GET_FILE_KIND,
    FAULT_GET_ACCESS,
    FAULT_EPOLL_CREATE,
    FAULT_EPOLL_ADD,
    FAULT_EPOLL_MODIFY,
    FAULT_EPOLL_WAIT,
    FAULT_EVENTFD,
    FAULT_TIMERFD,
    FAULT_TIMERFD_SET,
    FAULT_CALLS
};

/* No faults, all counts zero, the clock that of the kernel. */
void fault_sys_reset(void);

/* After skip more calls, the next times calls fail with the negative errno. */
void fault_sys_fail(enum fault_call call, unsigned int skip, unsigned int times, int error);

/* Every transfer (FAULT_RECV, FAULT_SEND, FAULT_SENDFILE, FAULT_PREAD) moves at most so many bytes,
 * or, in a batch, so many datagrams; 0 for no limit. */
void fault_sys_limit(enum fault_call call, size_t length);

/* From now on sendfile(2) says that it has sent all, and sends nothing: the fastest peer. */
void fault_sys_swallow_files(bool swallows);

/* Did the last send say that more would follow? */
bool fault_sys_had_more(void);

/* How often a call was made, failed ones included. */
unsigned int fault_sys_count(enum fault_call call);
void fault_sys_clear_counts(void);

/* Moves the library's clock on, and its timers with it. */
void fault_sys_advance_clock(uint64_t microseconds);

/* Stops the library's clock, until fault_sys_reset(); it can still be moved on. */
void fault_sys_freeze_clock(void);

/* One second, and one minute, in microseconds. */
#define SECOND UINT64_C(1000000)
#define MINUTE (60 * SECOND)

#endif
