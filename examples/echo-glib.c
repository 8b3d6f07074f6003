/* SPDX-License-Identifier: MIT */
/* The echo server in the main loop of GLib, which is that of GTK too. */
#include "echo.h"

#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>

struct program {
    struct server server;
    GMainLoop *loop;
    int result;
};

static gboolean on_ready(gint fd, GIOCondition condition, gpointer user)
{
    struct program *program = user;

    (void)fd, (void)condition;
    program->result = afn_reactor_dispatch(program->server.reactor);
    if (program->result < 0)
        fprintf(stderr, "%s\n", afn_strerror(program->result));
    if (program->result < 0 || server_is_over(&program->server))
        g_main_loop_quit(program->loop);
    return G_SOURCE_CONTINUE;
}

static gboolean on_signal(gpointer user)
{
    struct program *program = user;

    server_stop(&program->server);
    if (server_is_over(&program->server)) /* there was no client */
        g_main_loop_quit(program->loop);
    return G_SOURCE_CONTINUE;
}

int main(int argc, char **argv)
{
    struct program program = {.result = 0};
    guint sources[3];

    if (!echo_open(&program.server, argc, argv))
        return 1;
    program.loop = g_main_loop_new(NULL, FALSE);
    sources[0] = g_unix_signal_add(SIGINT, on_signal, &program);
    sources[1] = g_unix_signal_add(SIGTERM, on_signal, &program);
    sources[2] =
        g_unix_fd_add(afn_reactor_get_fd(program.server.reactor), G_IO_IN, on_ready, &program);
    g_main_loop_run(program.loop);
    for (size_t i = 0; i < G_N_ELEMENTS(sources); i++)
        g_source_remove(sources[i]);
    g_main_loop_unref(program.loop);
    server_close(&program.server); /* after the source that watches its descriptor */
    return program.result < 0;
}
