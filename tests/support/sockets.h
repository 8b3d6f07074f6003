/* SPDX-License-Identifier: MIT */
#ifndef SOCKETS_H
#define SOCKETS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

/* The kinds that tests run with, as variants. */
enum pair_kind { PAIR_UNIX, PAIR_TCP, PAIR_KINDS };

/* Two connected sockets: [0], blocking, for the library, and [1], non-blocking, for the test. */
void sockets_make_pair(enum pair_kind kind, int fds[2]);

/* A TCP socket that listens on 127.0.0.1. */
int sockets_listen(struct sockaddr_in *ret_address);
int sockets_connect(const struct sockaddr_in *address);

/* The smallest buffers that the kernel grants. */
void sockets_shrink(int fd);

/* Closes so that a TCP peer sees a reset. */
void sockets_reset(int fd);

/* A port of 127.0.0.1 on which nobody listens. */
void sockets_find_closed_port(struct sockaddr_in *ret_address);

bool sockets_is_open(int fd);

#endif
