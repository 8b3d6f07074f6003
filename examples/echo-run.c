/* SPDX-License-Identifier: MIT */
/* The echo server without a loop of its own: the library's is enough. */
#include "echo.h"

#include <signal.h>
#include <stdio.h>

static struct server server;
static volatile sig_atomic_t is_signalled;

static void on_signal(int number)
{
    (void)number;
    is_signalled = 1;
    /* The first makes afn_reactor_run() return, the second ends its wait. */
    afn_reactor_stop(server.reactor);
    afn_reactor_wakeup(server.reactor);
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_signal};
    int result = 0;

    if (!echo_open(&server, argc, argv))
        return 1;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    while (result == 0 && !server_is_over(&server)) {
        result = afn_reactor_run(server.reactor);
        if (is_signalled) {
            is_signalled = 0;
            server_stop(&server);
        }
    }
    if (result < 0)
        fprintf(stderr, "%s\n", afn_strerror(result));
    server_close(&server);
    return result < 0;
}
