/* SPDX-License-Identifier: MIT */
/* The echo server in a loop around poll(2). */
#define _GNU_SOURCE 1 /* ppoll() */
#include "echo.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>

static volatile sig_atomic_t is_signalled;

static void on_signal(int number)
{
    (void)number;
    is_signalled = 1;
}

/* From here on signals come in ppoll() only, so that none is missed between a look at the flag and
 * the wait. */
static void catch_signals(sigset_t *ret_while_waiting)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, ret_while_waiting);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* Waits once, and does what is due. */
static int turn(struct server *server, const sigset_t *while_waiting)
{
    /* Descriptors of the program are further items. */
    struct pollfd items[] = {{.fd = afn_reactor_get_fd(server->reactor), .events = POLLIN}};

    if (ppoll(items, 1, NULL, while_waiting) < 0 && errno != EINTR)
        return -errno;
    if (is_signalled) {
        is_signalled = 0;
        server_stop(server);
    }
    return afn_reactor_dispatch(server->reactor); /* harmless when there is nothing to do */
}

int main(int argc, char **argv)
{
    struct server server;
    sigset_t while_waiting;
    int result = 0;

    catch_signals(&while_waiting);
    if (!echo_open(&server, argc, argv))
        return 1;
    while (result >= 0 && !server_is_over(&server))
        result = turn(&server, &while_waiting);
    if (result < 0)
        fprintf(stderr, "%s\n", afn_strerror(result));
    server_close(&server);
    return result < 0;
}
