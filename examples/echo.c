/* SPDX-License-Identifier: MIT */
#include "echo.h"

#include <stdio.h>

static void on_data(struct afn_stream *stream, void *user, const void *data, size_t length)
{
    int result = afn_stream_write(stream, data, length);

    (void)user;
    if (result == 1)
        afn_stream_pause_reading(stream); /* until the peer has read some */
    else if (result < 0)
        afn_stream_abort(stream, result); /* bytes are missing */
}

static void on_writable(struct afn_stream *stream, void *user)
{
    (void)user;
    afn_stream_resume_reading(stream);
}

static void on_closed(struct afn_stream *stream, void *user, int error)
{
    (void)stream;
    server_forget(user, error);
}

bool echo_open(struct server *server, int argc, char **argv)
{
    static const struct afn_stream_handler handler = {
        .size = sizeof(handler), .data = on_data, .writable = on_writable, .closed = on_closed};

    if (argc != 4) {
        fprintf(stderr, "usage: %s PORT CERTIFICATE.pem KEY.pem\n", argv[0]);
        return false;
    }
    *server = (struct server){.handler = &handler, .client_size = sizeof(struct client)};
    return server_open(server, argv[1], argv[2], argv[3]);
}
