/* SPDX-License-Identifier: MIT */
#ifndef AFN_SYS_H
#define AFN_SYS_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/*
 * Every system call of the library, in one file, so that tests can put another in its place.
 * Results are those of the call, or a negative errno.  EINTR is never seen by the caller.
 */

enum afn__fd_kind {
    AFN__FD_TCP,
    AFN__FD_UNIX,
    AFN__FD_OTHER, /* sockets until here */
    AFN__FD_PIPE,
    AFN__FD_DEVICE /* a terminal, or another character device */
};

static inline bool afn__fd_is_socket(enum afn__fd_kind kind)
{
    return kind <= AFN__FD_OTHER;
}

int afn__sys_epoll_create(void);
int afn__sys_epoll_add(int epoll_fd, int fd, uint32_t events, void *data);
int afn__sys_epoll_modify(int epoll_fd, int fd, uint32_t events, void *data);
int afn__sys_epoll_remove(int epoll_fd, int fd);
int afn__sys_epoll_wait(int epoll_fd, struct epoll_event *events, int capacity, int timeout);
int afn__sys_eventfd(void);
int afn__sys_eventfd_raise(int fd);
int afn__sys_timerfd(void);
int afn__sys_timerfd_set(int fd, uint64_t deadline);
uint64_t afn__sys_now(void); /* CLOCK_MONOTONIC in microseconds */

int afn__sys_close(int fd);
int afn__sys_set_nonblocking(int fd);
int afn__sys_get_kind(int fd, enum afn__fd_kind *ret_kind);
int afn__sys_get_file_kind(int fd, enum afn__fd_kind *ret_kind); /* of what is no socket */
int afn__sys_get_access(int fd); /* O_RDONLY, O_WRONLY or O_RDWR */

/*
 * Receives.  *ret_drained says that the kernel has proved that it holds no more for now: either by
 * EAGAIN or, where that is proof, by less than was asked for.
 */
ssize_t afn__sys_recv(int fd, enum afn__fd_kind kind, void *buffer, size_t length,
                      bool *ret_drained);
/* Sends.  With has_more, the kernel may wait for the next bytes to fill a segment. */
ssize_t afn__sys_send(int fd, const struct iovec *parts, size_t count, bool has_more);
ssize_t afn__sys_write(int fd, const struct iovec *parts, size_t count); /* to what is no socket */
/* Of a file that has no more at that place, both give 0. */
ssize_t afn__sys_sendfile(int fd, int file, uint64_t offset, size_t length);
ssize_t afn__sys_pread(int file, void *buffer, size_t length, uint64_t offset);
uint64_t afn__sys_get_size(int file); /* 0 where that says nothing */
int afn__sys_shutdown_write(int fd);
int afn__sys_enable_tls(int fd); /* asks the kernel to do TLS on a socket, once it has keys */

/* Around a call that could raise SIGPIPE; is_failed: it failed, and may have raised it. */
struct afn__sigpipe_hold {
    sigset_t mask;
    bool is_held;
    bool was_pending;
};
void afn__sys_hold_sigpipe(struct afn__sigpipe_hold *hold);
void afn__sys_release_sigpipe(const struct afn__sigpipe_hold *hold, bool is_failed);

/* One of several datagrams; data, length and the room for an address are the caller's. */
struct afn__message {
    void *data;
    size_t length;
    void *address; /* or NULL */
    socklen_t address_length;
    bool is_truncated; /* by receiving it */
};

/* The most that one call moves. */
#define AFN__MESSAGES 32

/*
 * Receives and sends up to AFN__MESSAGES datagrams: how many, at least one, or a negative errno.  What
 * fails after the first is told by the next call.
 */
int afn__sys_recv_messages(int fd, struct afn__message *messages, unsigned int count);
int afn__sys_send_messages(int fd, const struct afn__message *messages, unsigned int count);

/* Sends one datagram: 0 or a negative errno.  address may be NULL. */
int afn__sys_send_to(int fd, const void *data, size_t length, const struct sockaddr *address,
                     socklen_t address_length);

int afn__sys_accept(int fd, struct sockaddr_storage *ret_address, socklen_t *ret_length);
int afn__sys_socket(int family);
int afn__sys_bind(int fd, const struct sockaddr *address, socklen_t length);
int afn__sys_connect(int fd, const struct sockaddr *address, socklen_t length);
int afn__sys_get_error(int fd);

#endif
