/* SPDX-License-Identifier: MIT */
#include "reactor.h"

#include "sys.h"

#include <errno.h>
#include <stdlib.h>

#define EVENTS_PER_ROUND 128
#define DEFAULT_MAX_ROUNDS 8

/* Receiving 64 KiB to a place 16 bytes behind the start of a page, where malloc() puts big blocks,
 * was measured to take 1.75 times as long as to the start of one. */
#define SCRATCH_ALIGNMENT 4096

/* Dispatches that ask only once, after a series of vain questions. */
#define MAX_PENALTY 15

/* Microseconds after which a dispatch goes back to the host loop, whatever is ready. */
#define TIME_BUDGET 500

/* ---- lists ---- */

static void list_init(struct afn__links *list)
{
    list->previous = list->next = list;
}

static bool list_is_empty(const struct afn__links *list)
{
    return list->next == list;
}

static void list_append(struct afn__links *list, struct afn__links *links)
{
    links->previous = list->previous;
    links->next = list;
    list->previous->next = links;
    list->previous = links;
}

static void list_remove(struct afn__links *links)
{
    links->previous->next = links->next;
    links->next->previous = links->previous;
}

/* Moves everything to target, which is empty and not initialised. */
static void list_move(struct afn__links *target, struct afn__links *list)
{
    if (list_is_empty(list)) {
        list_init(target);
        return;
    }
    *target = *list;
    target->next->previous = target;
    target->previous->next = target;
    list_init(list);
}

/* links is the first member. */
static struct afn__source *first_source(const struct afn__links *list)
{
    return (struct afn__source *)list->next;
}

/* ---- sources ---- */

int afn__source_add(struct afn__source *source, struct afn_reactor *reactor, int fd,
                    uint32_t events)
{
    source->fd = -1;
    if (fd >= 0) {
        int result = afn__sys_epoll_add(reactor->epoll_fd, fd, events | EPOLLET, source);

        if (result < 0)
            return result;
        source->fd = fd;
    }
    source->reactor = afn_reactor_ref(reactor);
    return 0;
}

int afn__source_watch(struct afn__source *source, uint32_t events)
{
    return afn__sys_epoll_modify(source->reactor->epoll_fd, source->fd, events | EPOLLET, source);
}

static void unschedule(struct afn__source *source)
{
    if (source->is_pending) {
        list_remove(&source->links);
        source->is_pending = false;
        source->events = 0;
    }
}

void afn__source_remove(struct afn__source *source)
{
    if (source->is_dead)
        return;
    source->is_dead = true;
    if (source->reactor->lone == source)
        source->reactor->lone = NULL;
    unschedule(source);
    /* Closing would not do: the entry outlives the descriptor when it was duplicated. */
    if (source->fd >= 0)
        afn__sys_epoll_remove(source->reactor->epoll_fd, source->fd);
    source->fd = -1;
}

static void destroy(struct afn__source *source)
{
    struct afn_reactor *reactor = source->reactor;

    source->destroy(source);
    afn_reactor_unref(reactor);
}

void afn__source_bury(struct afn__source *source)
{
    afn__source_remove(source);
    if (source->reactor->is_dispatching)
        list_append(&source->reactor->graveyard, &source->links);
    else
        destroy(source);
}

static void make_pending(struct afn__source *source, uint32_t events)
{
    source->events |= events;
    if (!source->is_pending) {
        source->is_pending = true;
        list_append(&source->reactor->pending, &source->links);
    }
}

/* Makes sure that a dispatch comes for what is pending. */
static void call_for_dispatch(struct afn_reactor *reactor)
{
    if (reactor->is_requested) {
        /* A dispatch came without the answer: the host may have forgotten, so the descriptor tells. */
        if (reactor->watched > reactor->requested_at)
            afn_reactor_wakeup(reactor);
        return;
    }
    reactor->is_requested = reactor->schedule && reactor->schedule(reactor->schedule_user);
    reactor->requested_at = reactor->dispatches;
    if (!reactor->is_requested)
        afn_reactor_wakeup(reactor);
}

void afn__source_schedule(struct afn__source *source)
{
    struct afn_reactor *reactor = source->reactor;
    bool is_first = list_is_empty(&reactor->pending);

    if (source->is_dead)
        return;
    make_pending(source, 0);
    if (is_first && !reactor->is_dispatching)
        call_for_dispatch(reactor);
}

void afn__source_postpone(struct afn__source *source)
{
    if (source->is_pending)
        list_remove(&source->links);
    source->is_pending = true;
    list_append(&source->reactor->postponed, &source->links);
}

/* ---- timers ---- */

/* The timerfd is left alone when it would fire too early: that costs one empty run at the most. */
static void arm(struct afn_reactor *reactor)
{
    const struct afn__timer *first = afn__timers_first(&reactor->timers);

    if (!first || (reactor->armed && reactor->armed <= first->deadline))
        return;
    reactor->armed = first->deadline;
    afn__sys_timerfd_set(reactor->clock.fd, first->deadline);
}

int afn__reactor_start_timer(struct afn_reactor *reactor, struct afn__timer *timer,
                             uint64_t delay)
{
    uint64_t now = afn__sys_now();
    int result;

    result = afn__timers_add(&reactor->timers, timer,
                             delay < UINT64_MAX - now ? now + delay : UINT64_MAX);
    if (result < 0)
        return result;
    if (!reactor->is_dispatching)
        arm(reactor);
    return 0;
}

void afn__reactor_stop_timer(struct afn_reactor *reactor, struct afn__timer *timer)
{
    afn__timers_remove(&reactor->timers, timer);
}

static void run_clock(struct afn__source *source, uint32_t events)
{
    struct afn_reactor *reactor = source->reactor;
    struct afn__timer *timer;
    uint64_t now = afn__sys_now();

    (void)events;
    reactor->armed = 0;
    while (!reactor->is_stopped && (timer = afn__timers_first(&reactor->timers)) &&
           timer->deadline <= now) {
        afn__timers_remove(&reactor->timers, timer);
        timer->fire(timer);
    }
}

static void run_wakeup(struct afn__source *source, uint32_t events)
{
    /* Edge-triggered: being told is all there is to it. */
    (void)source;
    (void)events;
}

/* ---- the reactor ---- */

static void destroy_nothing(struct afn__source *source)
{
    (void)source;
}

/* The reactor's own sources hold no reference to it. */
static int add_own(struct afn_reactor *reactor, struct afn__source *source, int fd,
                   void (*run)(struct afn__source *source, uint32_t events))
{
    *source = (struct afn__source){.fd = -1, .run = run, .destroy = destroy_nothing};
    if (fd < 0)
        return fd;
    source->reactor = reactor;
    source->fd = fd;
    return afn__sys_epoll_add(reactor->epoll_fd, fd, EPOLLIN | EPOLLET, source);
}

static void reactor_free(struct afn_reactor *reactor)
{
    if (reactor->wakeup.fd >= 0)
        afn__sys_close(reactor->wakeup.fd);
    if (reactor->clock.fd >= 0)
        afn__sys_close(reactor->clock.fd);
    if (reactor->epoll_fd >= 0)
        afn__sys_close(reactor->epoll_fd);
    afn__timers_release(&reactor->timers);
    afn__buffer_release(&reactor->window.buffer);
    free(reactor->wire);
    free(reactor->plain);
    free(reactor->record);
    free(reactor->datagrams);
    free(reactor);
}

int afn_reactor_new(struct afn_reactor **ret_reactor)
{
    struct afn_reactor *reactor;
    int result = -ENOMEM;

    if (!ret_reactor)
        return -EINVAL;
    reactor = calloc(1, sizeof(*reactor));
    if (!reactor)
        return -ENOMEM;
    reactor->references = 1;
    reactor->epoll_fd = reactor->wakeup.fd = reactor->clock.fd = -1;
    reactor->max_rounds = DEFAULT_MAX_ROUNDS;
    list_init(&reactor->pending);
    list_init(&reactor->postponed);
    list_init(&reactor->graveyard);
    reactor->wire = aligned_alloc(SCRATCH_ALIGNMENT, AFN__WIRE_SIZE);
    reactor->plain = aligned_alloc(SCRATCH_ALIGNMENT, AFN__PLAIN_SIZE);
    reactor->record = aligned_alloc(SCRATCH_ALIGNMENT, AFN__RECORD_SIZE);
    if (!reactor->wire || !reactor->plain || !reactor->record)
        goto fail;
    result = reactor->epoll_fd = afn__sys_epoll_create();
    if (result < 0)
        goto fail;
    result = add_own(reactor, &reactor->wakeup, afn__sys_eventfd(), run_wakeup);
    if (result < 0)
        goto fail;
    result = add_own(reactor, &reactor->clock, afn__sys_timerfd(), run_clock);
    if (result < 0)
        goto fail;
    *ret_reactor = reactor;
    return 0;
fail:
    reactor_free(reactor);
    return result;
}

struct afn_reactor *afn_reactor_ref(struct afn_reactor *reactor)
{
    reactor->references++;
    return reactor;
}

struct afn_reactor *afn_reactor_unref(struct afn_reactor *reactor)
{
    if (reactor && --reactor->references == 0)
        reactor_free(reactor);
    return NULL;
}

int afn_reactor_get_fd(const struct afn_reactor *reactor)
{
    return reactor->epoll_fd;
}

int afn_reactor_wakeup(struct afn_reactor *reactor)
{
    return afn__sys_eventfd_raise(reactor->wakeup.fd);
}

int afn_reactor_set_busy_check(struct afn_reactor *reactor, unsigned int max_rounds,
                               bool (*is_busy)(void *user), void *user)
{
    if (!max_rounds)
        return -EINVAL;
    reactor->max_rounds = max_rounds;
    reactor->is_busy = is_busy;
    reactor->busy_user = user;
    return 0;
}

void afn_reactor_set_schedule_hook(struct afn_reactor *reactor, bool (*schedule)(void *user),
                                   void *user)
{
    reactor->schedule = schedule;
    reactor->schedule_user = user;
    if (reactor->is_requested)
        afn_reactor_wakeup(reactor); /* what the old one was asked for */
    reactor->is_requested = false;
}

/* ---- dispatch ---- */

/* Serves what epoll reported; after a stop, the rest is kept for the next dispatch. */
static void serve_events(struct afn_reactor *reactor, const struct epoll_event *events, int count)
{
    for (int i = 0; i < count; i++) {
        struct afn__source *source = events[i].data.ptr;

        if (source->is_dead)
            continue;
        if (reactor->is_stopped)
            make_pending(source, events[i].events);
        else
            source->run(source, events[i].events);
    }
}

/* Serves what is pending now; what becomes pending meanwhile waits for the next round. */
static int serve_pending(struct afn_reactor *reactor)
{
    struct afn__links batch;
    int count = 0;

    list_move(&batch, &reactor->pending);
    while (!list_is_empty(&batch) && !reactor->is_stopped) {
        struct afn__source *source = first_source(&batch);
        uint32_t events = source->events;

        unschedule(source);
        source->run(source, events);
        count++;
    }
    while (!list_is_empty(&batch)) {
        struct afn__links *links = batch.previous;

        list_remove(links);
        links->previous = &reactor->pending;
        links->next = reactor->pending.next;
        links->next->previous = links;
        reactor->pending.next = links;
    }
    return count;
}

static void note_lone(struct afn_reactor *reactor, const struct epoll_event *events, int count)
{
    struct afn__source *source = count == 1 ? events[0].data.ptr : NULL;

    reactor->is_lone_again = source == reactor->lone;
    reactor->lone = source;
}

static int serve_round(struct afn_reactor *reactor, int timeout)
{
    struct epoll_event events[EVENTS_PER_ROUND];
    int count = afn__sys_epoll_wait(reactor->epoll_fd, events, EVENTS_PER_ROUND, timeout);

    if (count < 0)
        return count;
    if (count)
        note_lone(reactor, events, count);
    serve_events(reactor, events, count);
    if (!reactor->is_stopped)
        count += serve_pending(reactor);
    return count;
}

/*
 * Whether it is worth asking the kernel again depends on the load: with one connection whose peer
 * takes its time never, with many nearly always.  So each vain question makes the next ones rarer.
 */
static bool is_worth_asking(struct afn_reactor *reactor)
{
    if (!reactor->single_rounds)
        return true;
    reactor->single_rounds--;
    return false;
}

static void learn(struct afn_reactor *reactor, bool was_vain)
{
    if (!was_vain) {
        reactor->penalty = 0;
        return;
    }
    reactor->single_rounds = reactor->penalty;
    reactor->penalty = reactor->penalty < MAX_PENALTY ? reactor->penalty * 2 + 1 : MAX_PENALTY;
}

/*
 * While one stream alone has something time after time, and asking again is not worth it, that one
 * is asked instead of the kernel, which drops it from what is ready by itself.  Others wait no
 * longer for it than a dispatch may take.
 */
static bool serve_lone(struct afn_reactor *reactor, uint64_t now)
{
    struct afn__source *source = reactor->lone;

    if (!source || !reactor->is_lone_again || !source->run_unasked || !reactor->single_rounds ||
        !list_is_empty(&reactor->pending) || now - reactor->asked >= TIME_BUDGET)
        return false;
    if (!source->run_unasked(source)) {
        reactor->lone = NULL;
        return false;
    }
    reactor->single_rounds--;
    return true;
}

static int serve_rounds(struct afn_reactor *reactor)
{
    uint64_t now = afn__sys_now(), deadline = now + TIME_BUDGET;
    int total;

    if (serve_lone(reactor, now))
        return 1;
    reactor->asked = now;
    total = serve_round(reactor, 0);
    if (total <= 0 || (list_is_empty(&reactor->pending) && !is_worth_asking(reactor)))
        return total;
    for (unsigned int round = 1; round < reactor->max_rounds; round++) {
        int count;

        if (reactor->is_stopped || (reactor->is_busy && reactor->is_busy(reactor->busy_user)) ||
            afn__sys_now() >= deadline)
            break;
        count = serve_round(reactor, 0);
        if (round == 1)
            learn(reactor, count <= 0);
        if (count <= 0)
            break;
        total += count;
    }
    return total;
}

bool afn__reactor_is_unsettled(struct afn_reactor *reactor, uint64_t dispatch)
{
    return dispatch > reactor->settled &&
           (!reactor->is_busy || reactor->is_busy(reactor->busy_user));
}

static void begin(struct afn_reactor *reactor)
{
    afn_reactor_ref(reactor);
    reactor->is_dispatching = true;
    reactor->dispatches++;
}

static void end(struct afn_reactor *reactor)
{
    reactor->is_dispatching = false;
    while (!list_is_empty(&reactor->graveyard)) {
        struct afn__source *source = first_source(&reactor->graveyard);

        list_remove(&source->links);
        destroy(source);
    }
    while (!list_is_empty(&reactor->postponed)) {
        struct afn__links *links = reactor->postponed.next;

        list_remove(links);
        list_append(&reactor->pending, links);
    }
    arm(reactor);
    if (!list_is_empty(&reactor->pending))
        call_for_dispatch(reactor);
    afn_reactor_unref(reactor);
}

static void settle(struct afn_reactor *reactor, uint64_t dispatch)
{
    if (reactor->settled < dispatch)
        reactor->settled = dispatch;
}

/*
 * Before the host asks its descriptors again it runs what its callbacks have queued.  Not so before
 * a dispatch that is in its queue too: the descriptor may cause another right after that one.
 */
static void settle_watched(struct afn_reactor *reactor)
{
    settle(reactor, reactor->watched);
    reactor->watched = reactor->dispatches + 1;
}

static int dispatch(struct afn_reactor *reactor, int (*serve)(struct afn_reactor *reactor))
{
    int result;

    begin(reactor);
    reactor->is_stopped = 0;
    result = serve(reactor);
    reactor->is_stopped = 0;
    end(reactor);
    return result;
}

int afn_reactor_dispatch(struct afn_reactor *reactor)
{
    if (reactor->is_dispatching)
        return -EBUSY;
    settle_watched(reactor);
    return dispatch(reactor, serve_rounds);
}

int afn_reactor_dispatch_scheduled(struct afn_reactor *reactor)
{
    bool was_requested = reactor->is_requested;

    reactor->is_requested = false;
    if (reactor->is_dispatching)
        return -EBUSY;
    if (was_requested)
        settle(reactor, reactor->requested_at);
    /* What is ready would overtake what the host has queued since. */
    return dispatch(reactor, serve_pending);
}

int afn_reactor_run(struct afn_reactor *reactor)
{
    int result = 0;

    if (reactor->is_dispatching)
        return -EBUSY;
    afn_reactor_ref(reactor);
    while (result >= 0 && !reactor->is_stopped) {
        settle_watched(reactor);
        begin(reactor);
        result = serve_round(reactor, -1);
        end(reactor);
    }
    reactor->is_stopped = 0;
    afn_reactor_unref(reactor);
    return result < 0 ? result : 0;
}

void afn_reactor_stop(struct afn_reactor *reactor)
{
    reactor->is_stopped = 1;
}
