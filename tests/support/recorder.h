/* SPDX-License-Identifier: MIT */
#ifndef RECORDER_H
#define RECORDER_H

#include <aiofastnet/stream.h>
#include <stdbool.h>
#include <stddef.h>

#include "bytes.h"

enum event_kind { EVENT_DATA, EVENT_EOF, EVENT_SECURED, EVENT_WRITABLE, EVENT_CLOSED };

#define RECORDER_EVENTS 512

/*
 * The user of a stream: it writes down every callback, and fails the test when one comes outside
 * of dispatch, inside another one of the same stream, while reading is paused, or after closed.
 */
struct recorder {
    struct afn_stream *stream; /* not a reference */

    /* What the test may set. */
    bool keeps_open; /* the result of eof */
    bool echoes;
    size_t buffer_size; /* of the buffered handler; 0 for all of its buffer */
    void (*hook)(struct recorder *recorder, enum event_kind kind);
    void *hook_user;

    /* What happened. */
    struct bytes data;
    unsigned int counts[EVENT_CLOSED + 1];
    int error; /* of closed */

    /* Successive data callbacks are one event. */
    struct {
        enum event_kind kind;
        size_t length;
    } events[RECORDER_EVENTS];
    size_t event_count;
    bool is_inside;
    bool has_buffer;
    bool is_paused;
    bool is_silent; /* closed or aborted by the test: no data any more */
    bool is_gone;   /* let go by the test: no callback any more */
    char story[4096];
    unsigned char buffer[4096];
};

extern bool recorder_is_dispatching;

extern const struct afn_stream_handler recorder_handler;
extern const struct afn_stream_handler recorder_buffered_handler;

void recorder_open(struct recorder *recorder, struct afn_stream *stream);
void recorder_close(struct recorder *recorder);

/* As the functions of the stream, so that what must not come from then on is noticed. */
void recorder_pause(struct recorder *recorder);
void recorder_resume(struct recorder *recorder);
void recorder_end(struct recorder *recorder);
void recorder_abort(struct recorder *recorder, int error);
void recorder_unref(struct recorder *recorder);

/* All callbacks in their order, as in "secured data(5) eof closed(0)". */
const char *recorder_tell(struct recorder *recorder);

#define require_story(recorder, expected) require_string(recorder_tell(recorder), expected)

static inline bool recorder_is_closed(const struct recorder *recorder)
{
    return recorder->counts[EVENT_CLOSED] > 0;
}

#endif
