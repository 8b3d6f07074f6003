/* SPDX-License-Identifier: MIT */
#ifndef REAL_SYS_H
#define REAL_SYS_H

#include "sys.h"

/* The functions of lib/sys.c under other names, so that fault-sys.c can have theirs. */
int real_sys_accept(int fd, struct sockaddr_storage *ret_address, socklen_t *ret_length);
int real_sys_bind(int fd, const struct sockaddr *address, socklen_t length);
int real_sys_close(int fd);
int real_sys_connect(int fd, const struct sockaddr *address, socklen_t length);
int real_sys_epoll_add(int epoll_fd, int fd, uint32_t events, void *data);
int real_sys_epoll_create(void);
int real_sys_epoll_modify(int epoll_fd, int fd, uint32_t events, void *data);
int real_sys_epoll_remove(int epoll_fd, int fd);
int real_sys_epoll_wait(int epoll_fd, struct epoll_event *events, int capacity, int timeout);
int real_sys_eventfd(void);
int real_sys_eventfd_raise(int fd);
int real_sys_get_access(int fd);
int real_sys_get_file_kind(int fd, enum afn__fd_kind *ret_kind);
int real_sys_get_error(int fd);
int real_sys_get_kind(int fd, enum afn__fd_kind *ret_kind);
uint64_t real_sys_get_size(int file);
uint64_t real_sys_now(void);
ssize_t real_sys_pread(int file, void *buffer, size_t length, uint64_t offset);
ssize_t real_sys_recv(int fd, enum afn__fd_kind kind, void *buffer, size_t length,
                      bool *ret_drained);
int real_sys_recv_messages(int fd, struct afn__message *messages, unsigned int count);
int real_sys_send_messages(int fd, const struct afn__message *messages, unsigned int count);
int real_sys_send_to(int fd, const void *data, size_t length, const struct sockaddr *address,
                     socklen_t address_length);
ssize_t real_sys_send(int fd, const struct iovec *parts, size_t count, bool has_more);
ssize_t real_sys_sendfile(int fd, int file, uint64_t offset, size_t length);
int real_sys_set_nonblocking(int fd);
int real_sys_shutdown_write(int fd);
int real_sys_socket(int family);
int real_sys_timerfd(void);
int real_sys_timerfd_set(int fd, uint64_t deadline);
ssize_t real_sys_write(int fd, const struct iovec *parts, size_t count);

#endif
