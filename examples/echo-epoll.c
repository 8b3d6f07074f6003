/* SPDX-License-Identifier: MIT */
/* The echo server in a loop around epoll(7), with signals from a descriptor. */
#include "echo.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define MAX_EVENTS 16

/* A descriptor that is readable when one of the signals has come. */
static int open_signals(void)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int watch(int epoll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void take_signal(struct server *server, int signal_fd)
{
    struct signalfd_siginfo info;

    if (read(signal_fd, &info, sizeof(info)) == sizeof(info))
        server_stop(server);
}

static int run(struct server *server, int epoll_fd, int signal_fd)
{
    int reactor_fd = afn_reactor_get_fd(server->reactor);
    int result = 0;

    if (watch(epoll_fd, reactor_fd) < 0 || watch(epoll_fd, signal_fd) < 0)
        return -errno;
    while (result >= 0 && !server_is_over(server)) {
        struct epoll_event events[MAX_EVENTS];
        int count = epoll_wait(epoll_fd, events, MAX_EVENTS, -1);

        if (count < 0 && errno != EINTR)
            return -errno;
        for (int i = 0; i < count && result >= 0; i++) {
            if (events[i].data.fd == reactor_fd)
                result = afn_reactor_dispatch(server->reactor);
            else
                take_signal(server, signal_fd);
        }
    }
    return result;
}

int main(int argc, char **argv)
{
    struct server server;
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC), signal_fd = open_signals();
    int result;

    if (epoll_fd < 0 || signal_fd < 0) {
        perror(argv[0]);
        return 1;
    }
    if (!echo_open(&server, argc, argv))
        return 1;
    result = run(&server, epoll_fd, signal_fd);
    if (result < 0)
        fprintf(stderr, "%s\n", afn_strerror(result));
    server_close(&server);
    close(signal_fd);
    close(epoll_fd);
    return result < 0;
}
