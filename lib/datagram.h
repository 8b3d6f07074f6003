/* SPDX-License-Identifier: MIT */
#ifndef AFN_DATAGRAM_H
#define AFN_DATAGRAM_H

#include <aiofastnet/datagram.h>

#include "packets.h"
#include "reactor.h"
#include "sys.h"
#include "watermarks.h"

/*
 * What a run does, in this order: tell what could not be sent, send what waits, deliver what came,
 * say that it is gone.
 */
struct afn_datagram {
    struct afn__source source; /* first */
    unsigned int references;
    int fd; /* the source forgets its own when it is removed */
    enum afn__fd_kind kind;
    struct afn_datagram_handler handler;
    void *user;

    struct afn__packets outbox; /* not yet in the kernel's hands */
    struct afn__packets inbox;  /* received before reading was paused */
    struct afn__watermarks marks;
    size_t header_size;
    struct afn__timer retry;
    unsigned int callbacks; /* of this one that have not returned */
    int send_error;         /* of a queued datagram, to be told before the next ones are sent */
    int error;
    struct afn_datagram_stats stats;

    bool is_reading;  /* wanted by the program */
    bool is_readable; /* the kernel may have something */
    bool has_hint;    /* the kernel has an error to tell */
    bool is_busy;     /* the last batch was full */
    bool is_writable; /* the kernel may take something */
    bool is_watching_out;
    bool has_sent; /* in the present callback */
    bool is_closing;
    bool is_lost;
    bool is_kept; /* the library holds a reference until closed was told */
    bool has_told_closed;
    bool is_fd_taken;
};

/* May the present run go on calling user code? */
static inline bool afn__datagram_goes_on(const struct afn_datagram *datagram)
{
    return !datagram->is_lost && !datagram->source.reactor->is_stopped;
}

/* ---- datagram.c ---- */

/* It is gone; the first error counts.  closed is told by a run. */
void afn__datagram_lose(struct afn_datagram *datagram, int error);

/* Around every callback: what is sent in it is gathered, and leaves at the end. */
void afn__datagram_enter(struct afn_datagram *datagram);
void afn__datagram_leave(struct afn_datagram *datagram);

/* As enter, and the first datagram is gathered as well. */
static inline void afn__datagram_gather(struct afn_datagram *datagram)
{
    afn__datagram_enter(datagram);
    datagram->has_sent = true;
}

void afn__datagram_tell_failed(struct afn_datagram *datagram, int error);

/* ---- datagram-read.c ---- */

/* Room for a batch, which all datagram sockets of a reactor share: 0 or -ENOMEM. */
int afn__datagram_prepare_reactor(struct afn_reactor *reactor);

/* Receives and delivers until there is nothing more, the program does not want it, or others should
 * have their turn; in the last case another run is asked for. */
void afn__datagram_read(struct afn_datagram *datagram);

/* ---- datagram-write.c ---- */

/* Sends what is queued, as far as the kernel takes it. */
void afn__datagram_flush(struct afn_datagram *datagram);

/* Tell what is due of failed and writable; from a run only. */
void afn__datagram_tell_send_error(struct afn_datagram *datagram);
void afn__datagram_tell_writable(struct afn_datagram *datagram);

/* The timer of a full queue elsewhere. */
void afn__datagram_end_retry(struct afn__timer *timer);

#endif
