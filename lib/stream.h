/* SPDX-License-Identifier: MIT */
#ifndef AFN_STREAM_H
#define AFN_STREAM_H

#include <aiofastnet/carrier.h>
#include <aiofastnet/stream.h>
#include <aiofastnet/tls.h>

#include "buffer.h"
#include "glance.h"
#include "queue.h"
#include "reactor.h"
#include "sys.h"
#include "timer.h"
#include "watermarks.h"

/* The size of a table of functions up to its last one of 0.1.0: who was compiled with that is taken
 * by every later library, whatever follows then. */
#define AFN__SIZE_WITH(type, member) (offsetof(type, member) + sizeof(((type *)0)->member))

/*
 * What a run of a stream does, in this order: flush what waits, read what came, say that it is
 * gone.  Everything that cannot be done where it is noticed asks for a run.
 */
struct afn_stream {
    struct afn__source source; /* first */
    unsigned int references;
    int fd; /* the source forgets its own when it is removed; -1 on a carrier */
    enum afn__fd_kind kind;
    const struct afn_carrier_ops *carrier_ops; /* NULL on a socket */
    void *carrier;
    struct afn_stream_handler handler;
    void *user;

    struct afn__queue queue; /* of the application */
    struct afn__file_range *ended; /* of files, their done callbacks being due */
    size_t file_budget;            /* bytes of them that may still leave in this run */
    struct afn__buffer spill; /* for the wire: what the kernel did not take of an engine's bytes */
    struct afn__watermarks marks;
    unsigned int corks;
    unsigned int callbacks; /* of this stream that have not returned */

    const struct afn_engine_ops *engine;
    void *engine_user;
    struct afn__timer timer; /* of the handshake, then of the shutdown */
    uint64_t shutdown_timeout;

    int end;   /* of what the peer sends: 0 not yet, AFN__END_PROPER, or why it ended otherwise */
    int write_error; /* why the socket takes no more bytes; the loss may have a better reason */
    int error;       /* the first reason for the loss */
    struct afn_stream_stats stats;

    /* What it is */
    bool is_read_only;
    bool is_write_only;
    bool is_fd_borrowed;
    /* Reading */
    uint64_t last_delivery; /* in which dispatch of the reactor there was data */
    bool is_reading;     /* wanted by the program */
    bool is_readable;    /* the kernel may have something */
    bool has_hint;       /* the kernel has more than bytes: an end, an error, urgent data */
    bool has_told_end;
    /* Writing */
    bool is_writable;    /* the kernel may take something */
    bool is_watching_out;
    bool has_written;    /* in the present callback */
    bool wants_eof;      /* the sending direction ends when the queue is empty */
    bool has_sent_eof;
    /* Life */
    bool has_begun;      /* the first step of the handshake was made */
    bool is_secured;     /* no engine, or its handshake is complete */
    bool sends_raw;      /* the kernel encrypts */
    bool receives_raw;   /* the kernel decrypts */
    bool wants_step;     /* a handshake, or an answer, goes on when the kernel takes bytes */
    bool has_said_goodbye; /* everything is flushed, and close_notify made */
    bool is_closing;
    bool is_lost;
    bool is_kept;        /* the library holds a reference until closed was told */
    bool has_told_closed;
    bool is_fd_taken;
};

#define AFN__END_PROPER 1

/* ---- stream.c ---- */

/* May the present run go on calling user code? */
static inline bool afn__stream_goes_on(const struct afn_stream *stream)
{
    return !stream->is_lost && !stream->source.reactor->is_stopped;
}

/* Do the bytes of the application go through an engine on their way out, or in? */
static inline bool afn__stream_encrypts(const struct afn_stream *stream)
{
    return stream->engine && !stream->sends_raw;
}

static inline bool afn__stream_decrypts(const struct afn_stream *stream)
{
    return stream->engine && !stream->receives_raw;
}

/* Remembers why the stream will be lost. */
void afn__stream_note_error(struct afn_stream *stream, int error);

/* What is watched besides EPOLLOUT. */
static inline uint32_t afn__stream_get_events(const struct afn_stream *stream)
{
    return EPOLLRDHUP | (stream->is_write_only ? 0 : (uint32_t)EPOLLIN | EPOLLPRI);
}

/* The stream is gone; the first error counts.  closed is told by a run. */
void afn__stream_lose(struct afn_stream *stream, int error);

/* Closes for a reason of the library's own: without a reference that the program did not ask for. */
void afn__stream_begin_closing(struct afn_stream *stream);

/* Around every callback: writes in it are gathered, and flushed at the end. */
void afn__stream_enter(struct afn_stream *stream);
void afn__stream_leave(struct afn_stream *stream);

/* ---- stream-read.c ---- */

/* Reads and delivers until there is nothing more, the program does not want it, or others should
 * have their turn; in the last case another run is asked for. */
void afn__stream_read(struct afn_stream *stream);

/* ---- stream-write.c ---- */

/* May the program still write? */
bool afn__stream_takes_writes(const struct afn_stream *stream);

/* Sends what waits, as far as the kernel takes it. */
void afn__stream_flush(struct afn_stream *stream);

/* Is everything in the kernel's hands, and every done callback told? */
static inline bool afn__stream_is_flushed(const struct afn_stream *stream)
{
    return afn__queue_is_empty(&stream->queue) && !stream->spill.length && !stream->ended;
}

/* The socket takes no more bytes: for now, and a run follows when it takes more; or for ever. */
void afn__stream_watch_out(struct afn_stream *stream);
void afn__stream_fail_writing(struct afn_stream *stream, int error);

/* Sends bytes for the wire, or keeps them in spill. */
void afn__stream_send_wire(struct afn_stream *stream, const void *data, size_t length);

/* Tells writable when it is due; from a run only. */
void afn__stream_tell_writable(struct afn_stream *stream);

/* ---- stream-sendfile.c ---- */

/* At the beginning of a run: so much of files may leave until the next one. */
void afn__stream_allow_files(struct afn_stream *stream);

/* Sends from the file that is first in the queue; returns whether there is a point in going on. */
bool afn__stream_send_file(struct afn_stream *stream);

/* Does the next file in the queue have bytes that the kernel will be given directly? */
bool afn__stream_has_file_bytes(const struct afn_stream *stream);

/*
 * For an engine: reads from the file that is first in the queue into the record of the reactor; 0
 * when it has ended, or must wait for a run, which was asked for.  And: so much of it was taken.
 */
size_t afn__stream_load_file(struct afn_stream *stream);
void afn__stream_advance_file(struct afn_stream *stream, size_t length);

/* Tells which files have ended; from a run only. */
void afn__stream_tell_sent(struct afn_stream *stream);

/* Empties the queue; the files in it end with the error. */
void afn__stream_drop_queue(struct afn_stream *stream, int error);

/* Empties the queue, and tells nobody. */
void afn__stream_forget_files(struct afn_stream *stream);

/* ---- stream-tls.c ---- */

/* Sends what the engine made for the wire; to be called after every function of the engine. */
void afn__stream_drain_engine(struct afn_stream *stream);

/* Where the kernel receives: is this its result for a record that the engine is to find bad? */
bool afn__stream_note_bad_record(const struct afn_stream *stream, ssize_t result);

/* How much to receive, of at most length bytes. */
size_t afn__stream_limit_receive(const struct afn_stream *stream, size_t length);

/* One step of the handshake. */
void afn__stream_handshake(struct afn_stream *stream);

/* After an -EAGAIN of the engine: waits until the kernel takes bytes, if that is what it is about.
 * Until the step that follows then, nothing else is sent or asked of the engine: the peer may find
 * no bytes of the application in the middle of a message of the handshake. */
void afn__stream_wait_for_kernel(struct afn_stream *stream);
void afn__stream_step(struct afn_stream *stream);

/* Says goodbye once everything is flushed, and loses the stream when that is done. */
void afn__stream_shutdown_engine(struct afn_stream *stream);

/* Fills in what only OpenSSL's engine knows. */
void afn__stream_count_records(const struct afn_stream *stream, struct afn_stream_stats *stats);

/* Starts the time limit of a close. */
void afn__stream_limit_shutdown(struct afn_stream *stream);

/* Closes the descriptor, without SIGPIPE. */
void afn__stream_close_fd(struct afn_stream *stream);

#endif
