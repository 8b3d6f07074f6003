/* SPDX-License-Identifier: MIT */
/* The echo server on libuv. */
#include "echo.h"

#include <signal.h>
#include <stdio.h>
#include <uv.h>

struct program {
    struct server server;
    uv_loop_t loop;
    uv_poll_t reactor; /* the library */
    uv_signal_t signals[2];
    int result;
};

/* A loop ends when its last handle is closed. */
static void end(struct program *program, int result)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&program->reactor, (uv_handle_t *)&program->signals[0],
                              (uv_handle_t *)&program->signals[1]};

    program->result = result;
    for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]); i++)
        if (!uv_is_closing(handles[i]))
            uv_close(handles[i], NULL);
}

static void on_ready(uv_poll_t *handle, int status, int events)
{
    struct program *program = handle->data;
    int result = afn_reactor_dispatch(program->server.reactor);

    (void)status, (void)events;
    if (result < 0)
        fprintf(stderr, "%s\n", afn_strerror(result));
    if (result < 0 || server_is_over(&program->server))
        end(program, result);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct program *program = handle->data;

    (void)number;
    server_stop(&program->server);
    if (server_is_over(&program->server)) /* there was no client */
        end(program, 0);
}

static int watch(struct program *program)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    int result = uv_poll_init(&program->loop, &program->reactor,
                              afn_reactor_get_fd(program->server.reactor));

    program->reactor.data = program;
    if (result == 0)
        result = uv_poll_start(&program->reactor, UV_READABLE, on_ready);
    for (int i = 0; i < 2 && result == 0; i++) {
        uv_signal_init(&program->loop, &program->signals[i]);
        program->signals[i].data = program;
        result = uv_signal_start(&program->signals[i], on_signal, numbers[i]);
    }
    if (result < 0)
        fprintf(stderr, "%s\n", uv_strerror(result));
    return result;
}

int main(int argc, char **argv)
{
    struct program program = {.result = 0};

    if (!echo_open(&program.server, argc, argv))
        return 1;
    program.result = uv_loop_init(&program.loop);
    if (program.result == 0)
        program.result = watch(&program);
    if (program.result == 0) {
        uv_run(&program.loop, UV_RUN_DEFAULT);
        uv_loop_close(&program.loop);
    }
    server_close(&program.server); /* after the handle that watches its descriptor */
    return program.result < 0;
}
