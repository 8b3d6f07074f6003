/* SPDX-License-Identifier: MIT */
#ifndef AFN_REACTOR_H
#define AFN_REACTOR_H

#include <aiofastnet/reactor.h>

#include "buffer.h"
#include "timer.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Sizes of the scratch buffers, bytes. */
#define AFN__WIRE_SIZE ((size_t)256 * 1024)  /* received, as it came */
#define AFN__PLAIN_SIZE ((size_t)256 * 1024) /* decrypted */
#define AFN__RECORD_SIZE ((size_t)16 * 1024) /* the most that one TLS record carries */

struct afn__links {
    struct afn__links *previous, *next;
};

/*
 * Something that the reactor serves: a descriptor with its events, work that no descriptor shows,
 * or both.  The owner embeds it.
 */
struct afn__source {
    struct afn__links links; /* in the pending or the postponed list, or the graveyard */
    struct afn_reactor *reactor;
    int fd;          /* -1: not in the epoll set */
    uint32_t events; /* of the pending run */
    bool is_pending;
    bool is_dead;
    /* Called from dispatch only; events is 0 when nothing but pending work is the reason. */
    void (*run)(struct afn__source *source, uint32_t events);
    /* Runs as if the descriptor were readable, and says whether it was; NULL: cannot. */
    bool (*run_unasked)(struct afn__source *source);
    void (*destroy)(struct afn__source *source);
};

/*
 * The bytes for the wire that TLS engines make.  One engine owns it from its first byte until it is
 * drained, and then its stream until they are sent; another engine that must write meanwhile (a
 * callback out of OpenSSL, or a carrier, wrote to a second stream) uses a buffer of its own.
 */
struct afn__shared_window {
    struct afn__buffer buffer;
    const void *owner;
};

struct afn_reactor {
    unsigned int references;
    int epoll_fd;
    struct afn__source wakeup;
    struct afn__source clock;
    struct afn__links pending;
    struct afn__links postponed; /* becomes pending with the end of this dispatch */
    struct afn__links graveyard;
    struct afn__timers timers;
    uint64_t armed; /* what the timerfd is set to, 0: nothing */
    bool is_dispatching;
    uint64_t dispatches;   /* how many have begun */
    uint64_t watched;      /* the last one that the descriptor caused */
    uint64_t settled;      /* what the host did because of this one, and all before it, is done */
    bool is_requested;     /* the schedule hook was called, and its dispatch has yet to come */
    uint64_t requested_at; /* the last dispatch before that */
    /* Every loop that calls user code looks at this after each call. */
    volatile sig_atomic_t is_stopped; /* may be set by a signal handler */
    unsigned int max_rounds;
    unsigned int single_rounds; /* dispatches that are not to ask the kernel twice */
    unsigned int penalty;       /* how many of them the next vain question costs */
    uint64_t asked;             /* when the kernel was, last */
    struct afn__source *lone;   /* nobody else was ready then; or NULL */
    bool is_lone_again;         /* nor the time before */
    bool (*is_busy)(void *user);
    void *busy_user;
    bool (*schedule)(void *user);
    void *schedule_user;
    unsigned char *wire;   /* AFN__WIRE_SIZE */
    unsigned char *plain;  /* AFN__PLAIN_SIZE */
    unsigned char *record; /* AFN__RECORD_SIZE: small writes become one record here */
    bool is_record_taken;  /* an engine or a carrier is reading from it */
    struct afn__shared_window window;
    unsigned char *datagrams; /* what a batch is received in; NULL before the first afn_datagram */
};

/* Makes a source known and, with fd >= 0, watches it, edge-triggered: 0 or a negative errno, which
 * only watching can give. */
int afn__source_add(struct afn__source *source, struct afn_reactor *reactor, int fd,
                    uint32_t events);

/* Changes what is watched: 0 or a negative errno. */
int afn__source_watch(struct afn__source *source, uint32_t events);

/* Watches no more and runs no more. */
void afn__source_remove(struct afn__source *source);

/* Removes, and destroys as soon as no event of this dispatch can name the source. */
void afn__source_bury(struct afn__source *source);

/* Asks for a run from this dispatch or the next one. */
void afn__source_schedule(struct afn__source *source);

/* In a dispatch: asks for a run from the next one, after what the host has to do. */
void afn__source_postpone(struct afn__source *source);

/* May the host have yet to do what callbacks of that dispatch made it do?  In a dispatch. */
bool afn__reactor_is_unsettled(struct afn_reactor *reactor, uint64_t dispatch);

/* Sets a timer that is not set, to now + delay microseconds: 0 or -ENOMEM. */
int afn__reactor_start_timer(struct afn_reactor *reactor, struct afn__timer *timer,
                             uint64_t delay);
void afn__reactor_stop_timer(struct afn_reactor *reactor, struct afn__timer *timer);

#endif
