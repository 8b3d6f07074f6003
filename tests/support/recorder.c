/* SPDX-License-Identifier: MIT */
#include "recorder.h"

#include <stdio.h>
#include <string.h>

#include "harness.h"

bool recorder_is_dispatching;

void recorder_open(struct recorder *recorder, struct afn_stream *stream)
{
    memset(recorder, 0, sizeof *recorder);
    recorder->stream = stream;
}

void recorder_close(struct recorder *recorder)
{
    bytes_free(&recorder->data);
}

void recorder_pause(struct recorder *recorder)
{
    recorder->is_paused = true;
    afn_stream_pause_reading(recorder->stream);
}

void recorder_resume(struct recorder *recorder)
{
    recorder->is_paused = false;
    afn_stream_resume_reading(recorder->stream);
}

void recorder_end(struct recorder *recorder)
{
    recorder->is_silent = true;
    afn_stream_close(recorder->stream);
}

void recorder_abort(struct recorder *recorder, int error)
{
    recorder->is_silent = true;
    afn_stream_abort(recorder->stream, error);
}

void recorder_unref(struct recorder *recorder)
{
    /* One that is closing is kept by the library until closed was told. */
    recorder->is_gone = !recorder->is_silent;
    afn_stream_unref(recorder->stream);
}

static void enter(struct recorder *recorder, struct afn_stream *stream, enum event_kind kind)
{
    require(recorder_is_dispatching);
    require(!recorder->is_inside);
    require(!recorder->is_gone);
    require(recorder->counts[EVENT_CLOSED] == 0);
    require(stream == recorder->stream);
    if (kind == EVENT_DATA || kind == EVENT_EOF) {
        require(recorder->counts[EVENT_EOF] == 0);
        require(!recorder->is_paused);
        require(!recorder->is_silent);
    }
    if (kind == EVENT_CLOSED)
        require(afn_stream_is_closing(stream));
    recorder->is_inside = true;
    recorder->counts[kind]++;
    if (kind == EVENT_DATA && recorder->event_count > 0 &&
        recorder->events[recorder->event_count - 1].kind == EVENT_DATA)
        return;
    require(recorder->event_count < RECORDER_EVENTS);
    recorder->events[recorder->event_count].kind = kind;
    recorder->events[recorder->event_count].length = 0;
    recorder->event_count++;
}

static void leave(struct recorder *recorder, enum event_kind kind)
{
    if (recorder->hook != NULL)
        recorder->hook(recorder, kind);
    /* The stream may be gone by now; the recorder is not. */
    recorder->is_inside = false;
}

static void take_data(struct recorder *recorder, struct afn_stream *stream, const void *data,
                      size_t length)
{
    require(length > 0);
    enter(recorder, stream, EVENT_DATA);
    recorder->events[recorder->event_count - 1].length += length;
    bytes_append(&recorder->data, data, length);
    if (recorder->echoes)
        require(afn_stream_write(stream, data, length) >= 0);
    leave(recorder, EVENT_DATA);
}

static void on_data(struct afn_stream *stream, void *user, const void *data, size_t length)
{
    take_data(user, stream, data, length);
}

static void on_get_buffer(struct afn_stream *stream, void *user, void **ret_buffer,
                          size_t *ret_length)
{
    struct recorder *recorder = user;

    require(recorder_is_dispatching);
    require(!recorder->is_inside);
    require(!recorder->is_gone);
    require(recorder->counts[EVENT_CLOSED] == 0);
    require(!recorder->is_paused && !recorder->is_silent);
    require(stream == recorder->stream);
    recorder->has_buffer = true;
    /* What is not overwritten must not be taken for data. */
    memset(recorder->buffer, 0xAA, sizeof recorder->buffer);
    *ret_buffer = recorder->buffer;
    *ret_length = recorder->buffer_size > 0 ? recorder->buffer_size : sizeof recorder->buffer;
}

static void on_buffer_updated(struct afn_stream *stream, void *user, size_t length)
{
    struct recorder *recorder = user;

    require(recorder->has_buffer);
    recorder->has_buffer = false;
    require(length <=
            (recorder->buffer_size > 0 ? recorder->buffer_size : sizeof recorder->buffer));
    take_data(recorder, stream, recorder->buffer, length);
}

static bool on_eof(struct afn_stream *stream, void *user)
{
    struct recorder *recorder = user;

    enter(recorder, stream, EVENT_EOF);
    leave(recorder, EVENT_EOF);
    return recorder->keeps_open;
}

static void on_secured(struct afn_stream *stream, void *user)
{
    enter(user, stream, EVENT_SECURED);
    leave(user, EVENT_SECURED);
}

static void on_writable(struct afn_stream *stream, void *user)
{
    enter(user, stream, EVENT_WRITABLE);
    leave(user, EVENT_WRITABLE);
}

static void on_closed(struct afn_stream *stream, void *user, int error)
{
    struct recorder *recorder = user;

    enter(recorder, stream, EVENT_CLOSED);
    recorder->error = error;
    leave(recorder, EVENT_CLOSED);
}

const struct afn_stream_handler recorder_handler = {
    .size = sizeof(struct afn_stream_handler),
    .data = on_data,
    .eof = on_eof,
    .secured = on_secured,
    .writable = on_writable,
    .closed = on_closed,
};

const struct afn_stream_handler recorder_buffered_handler = {
    .size = sizeof(struct afn_stream_handler),
    .get_buffer = on_get_buffer,
    .buffer_updated = on_buffer_updated,
    .eof = on_eof,
    .secured = on_secured,
    .writable = on_writable,
    .closed = on_closed,
};

static void add_to_story(struct recorder *recorder, const char *text, intmax_t number)
{
    size_t length = strlen(recorder->story);
    size_t space = sizeof recorder->story - length;

    snprintf(recorder->story + length, space, text, number);
}

const char *recorder_tell(struct recorder *recorder)
{
    static const char *const names[] = {
        [EVENT_DATA] = " data(%jd)",     [EVENT_EOF] = " eof",
        [EVENT_SECURED] = " secured",    [EVENT_WRITABLE] = " writable",
        [EVENT_CLOSED] = " closed(%jd)",
    };

    recorder->story[0] = '\0';
    for (size_t i = 0; i < recorder->event_count; i++) {
        enum event_kind kind = recorder->events[i].kind;

        add_to_story(recorder, names[kind],
                     kind == EVENT_DATA ? (intmax_t)recorder->events[i].length : recorder->error);
    }
    return recorder->story[0] == ' ' ? recorder->story + 1 : recorder->story;
}
