/* SPDX-License-Identifier: MIT */
#include "sockets.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"

/* Of TCP sockets, bytes; the kernel doubles it. */
#define BUFFER_SIZE 131072

static void set_nonblocking(int fd)
{
    require(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
}

static void set_option(int fd, int level, int option, int value)
{
    require(setsockopt(fd, level, option, &value, sizeof value) == 0);
}

static int open_loopback(struct sockaddr_in *ret_address)
{
    socklen_t length = sizeof *ret_address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    require(fd >= 0);
    memset(ret_address, 0, sizeof *ret_address);
    ret_address->sin_family = AF_INET;
    ret_address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    require(bind(fd, (struct sockaddr *)ret_address, length) == 0);
    require(getsockname(fd, (struct sockaddr *)ret_address, &length) == 0);
    return fd;
}

int sockets_listen(struct sockaddr_in *ret_address)
{
    int fd = open_loopback(ret_address);

    require(listen(fd, 128) == 0);
    return fd;
}

int sockets_connect(const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    require(fd >= 0);
    require(connect(fd, (const struct sockaddr *)address, sizeof *address) == 0);
    set_nonblocking(fd);
    return fd;
}

void sockets_make_pair(enum pair_kind kind, int fds[2])
{
    if (kind == PAIR_UNIX) {
        require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    } else {
        struct sockaddr_in address;
        int listener = sockets_listen(&address);

        fds[1] = sockets_connect(&address);
        fds[0] = accept(listener, NULL, NULL);
        require(fds[0] >= 0);
        close(listener);
        set_option(fds[1], IPPROTO_TCP, TCP_NODELAY, 1);
        for (int i = 0; i < 2; i++) {
            /* Else the kernel may make them grow to more than a test has to send. */
            set_option(fds[i], SOL_SOCKET, SO_SNDBUF, BUFFER_SIZE);
            set_option(fds[i], SOL_SOCKET, SO_RCVBUF, BUFFER_SIZE);
        }
    }
    set_nonblocking(fds[1]);
}

void sockets_shrink(int fd)
{
    set_option(fd, SOL_SOCKET, SO_SNDBUF, 1);
    set_option(fd, SOL_SOCKET, SO_RCVBUF, 1);
}

void sockets_reset(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};

    require(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
    close(fd);
}

void sockets_find_closed_port(struct sockaddr_in *ret_address)
{
    close(open_loopback(ret_address));
}

bool sockets_is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}
