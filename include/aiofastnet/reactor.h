/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_REACTOR_H
#define AIOFASTNET_REACTOR_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/*
 * A reactor is everything that one event loop needs to watch of this library, behind one file
 * descriptor.  The host loop watches afn_reactor_get_fd() for reading and calls
 * afn_reactor_dispatch() when it is readable.
 *
 * Threads: a reactor, and every object made with it, is used by one thread at a time.  The one
 * exception is afn_reactor_wakeup().
 *
 * Callbacks: only the two dispatches and afn_reactor_run() call the handlers of streams, listeners
 * and connects.  From inside those every function of the library may be called, on any object,
 * except these three.  Small functions that give memory back, ask or inform (release, the hooks, an
 * engine's) may be called from any function on their object; what each must not do stands beside it.
 *
 * Processes: after fork(2) the child must leave the reactors of its parent alone, since both share
 * the epoll set.
 */
struct afn_reactor;

/*
 * Makes a reactor.
 *
 * Ownership: the caller gets one reference.
 * Returns: 0, or -EINVAL, -ENOMEM, -EMFILE, -ENFILE; *ret_reactor is set on success only.
 * Since: 0.1.0
 */
int afn_reactor_new(struct afn_reactor **ret_reactor);

/*
 * Adds or drops a reference.  Every object made with a reactor holds one of its own, so a reactor
 * may outlive the reference of the program.  unref takes NULL and returns NULL.
 *
 * Since: 0.1.0
 */
struct afn_reactor *afn_reactor_ref(struct afn_reactor *reactor);
struct afn_reactor *afn_reactor_unref(struct afn_reactor *reactor);

/*
 * The descriptor to watch for reading (level-triggered).  It is readable whenever dispatch has
 * something to do: ready sockets, due timers, a wake-up, and work that no descriptor shows.
 *
 * Ownership: the reactor's; never read, close or register it elsewhere than for reading.
 * Since: 0.1.0
 */
int afn_reactor_get_fd(const struct afn_reactor *reactor);

/*
 * Does what is due and returns without waiting.  Some or all of what is ready is served, up to a byte
 * budget each, and what is left keeps the descriptor readable; if more arrived meanwhile a small
 * number of further rounds follows, unless the function given to afn_reactor_set_busy_check() says
 * that the host has other work.
 *
 * Callbacks: yes; all of them come from the two dispatches and afn_reactor_run().
 * Returns: the number of events that were served; -EBUSY when called from inside a callback; or the
 *          negative errno of epoll_wait(2), which only fails when a descriptor of the reactor was
 *          closed by others.  What goes wrong with a stream is told to that stream.
 * Since: 0.1.0
 */
int afn_reactor_dispatch(struct afn_reactor *reactor);

/*
 * Does what the schedule hook was called for, and nothing besides: what the descriptor shows is left
 * to afn_reactor_dispatch(), so that it does not overtake what the host has in its queue.  See
 * afn_reactor_set_schedule_hook().
 *
 * Callbacks: yes.
 * Returns: as afn_reactor_dispatch().  With -EBUSY the request is answered too: the dispatch under
 * way makes another one if there is need of it.
 * Since: 0.1.0
 */
int afn_reactor_dispatch_scheduled(struct afn_reactor *reactor);

/*
 * Waits and dispatches until afn_reactor_stop() is called: for programs without a loop of their own.
 *
 * Callbacks: yes.
 * Returns: 0 after afn_reactor_stop(), -EBUSY from inside a callback, or a negative errno.
 * Since: 0.1.0
 */
int afn_reactor_run(struct afn_reactor *reactor);

/*
 * Called from a callback, makes the dispatch under way or afn_reactor_run() return as soon as the
 * callback has.  What was ready and is not served is kept for the next one.  A signal handler that
 * wants the same calls afn_reactor_wakeup() as well.
 *
 * Since: 0.1.0
 */
void afn_reactor_stop(struct afn_reactor *reactor);

/*
 * Makes the descriptor readable once, so that a loop that waits for it turns round.
 *
 * Threads: any, and signal handlers.
 * Returns: 0 or a negative errno.
 * Since: 0.1.0
 */
int afn_reactor_wakeup(struct afn_reactor *reactor);

/*
 * Sets a function that is called in place of making the descriptor readable when a call outside of
 * dispatch, or the end of one, leaves work that no descriptor shows.  A host loop that has a queue of
 * its own dispatches sooner and in its usual order through it.
 *
 * When the function returns true, the host must call afn_reactor_dispatch_scheduled() once and
 * soon, after everything that is in its queue by then; until it has, it is not asked again.  So the
 * library knows that the host has done what earlier callbacks made it do, and tells the end of a
 * stream only after that.  A host that never makes that call is told by the descriptor again once it
 * has dispatched because of that.  When the function returns false, the descriptor becomes readable after
 * all.  Not together with afn_reactor_run().
 *
 * Callbacks: schedule must not call the library.
 * Since: 0.1.0
 */
void afn_reactor_set_schedule_hook(struct afn_reactor *reactor, bool (*schedule)(void *user),
                                   void *user);

/*
 * Sets a function that is asked between the rounds of one dispatch: true ends it at once, because
 * the host loop has other work that is ready.  Without one (NULL), the limits of rounds and of time
 * apply alone.  With max_rounds 1, a dispatch never asks the kernel twice.
 *
 * Callbacks: is_busy must not call the library.
 * Returns: 0, or -EINVAL when max_rounds is 0.
 * Since: 0.1.0
 */
int afn_reactor_set_busy_check(struct afn_reactor *reactor, unsigned int max_rounds,
                               bool (*is_busy)(void *user), void *user);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
