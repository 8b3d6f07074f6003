/* SPDX-License-Identifier: MIT */
/* The echo server on libevent. */
#include "echo.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>

struct program {
    struct server server;
    struct event_base *base;
    int result;
};

static void on_ready(evutil_socket_t fd, short events, void *user)
{
    struct program *program = user;

    (void)fd, (void)events;
    program->result = afn_reactor_dispatch(program->server.reactor);
    if (program->result < 0)
        fprintf(stderr, "%s\n", afn_strerror(program->result));
    if (program->result < 0 || server_is_over(&program->server))
        event_base_loopbreak(program->base);
}

static void on_signal(evutil_socket_t number, short events, void *user)
{
    struct program *program = user;

    (void)number, (void)events;
    server_stop(&program->server);
    if (server_is_over(&program->server)) /* there was no client */
        event_base_loopbreak(program->base);
}

static int run(struct program *program)
{
    struct event *events[] = {event_new(program->base, afn_reactor_get_fd(program->server.reactor),
                                        EV_READ | EV_PERSIST, on_ready, program),
                              evsignal_new(program->base, SIGINT, on_signal, program),
                              evsignal_new(program->base, SIGTERM, on_signal, program)};
    size_t count = sizeof(events) / sizeof(events[0]), added = 0;
    int result = -1;

    while (added < count && events[added] && event_add(events[added], NULL) == 0)
        added++;
    if (added == count)
        result = event_base_dispatch(program->base);
    else
        fprintf(stderr, "libevent cannot watch what it has to\n");
    for (size_t i = 0; i < count; i++)
        if (events[i])
            event_free(events[i]);
    return result < 0 ? result : program->result;
}

int main(int argc, char **argv)
{
    struct program program = {.result = 0};
    int result = -1;

    if (!echo_open(&program.server, argc, argv))
        return 1;
    program.base = event_base_new();
    if (program.base) {
        result = run(&program);
        event_base_free(program.base);
    }
    server_close(&program.server); /* after the event that watches its descriptor */
    libevent_global_shutdown();
    return result < 0;
}
