/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
/* A host that has a queue of its own, and what it is asked to put there. */
#include <errno.h>
#include <unistd.h>

#include "harness.h"
#include "world.h"

/* Two streams of a reactor whose host is asked for dispatches. */
struct scene {
    struct world world;
    struct link one, two;
    unsigned int calls; /* of the schedule hook */
    bool result;        /* of the hook */
};

static bool note_schedule(void *user)
{
    struct scene *scene = user;

    scene->calls++;
    return scene->result;
}

static void set_hook(struct scene *scene)
{
    afn_reactor_set_schedule_hook(scene->world.reactor, note_schedule, scene);
}

static void remove_hook(struct scene *scene)
{
    afn_reactor_set_schedule_hook(scene->world.reactor, NULL, NULL);
}

static void scene_open(struct scene *scene, bool result)
{
    scene->calls = 0;
    scene->result = result;
    world_open(&scene->world);
    link_open(&scene->one, &scene->world, PAIR_UNIX, NULL);
    link_open(&scene->two, &scene->world, PAIR_UNIX, NULL);
    set_hook(scene);
}

static void scene_close(struct scene *scene)
{
    link_close(&scene->one);
    link_close(&scene->two);
    world_close(&scene->world);
}

START_TEST(reactor_asks_the_host_for_a_dispatch)
{
    struct scene scene;

    scene_open(&scene, _i);
    recorder_abort(&scene.one.recorder, 0);
    require_equal(scene.calls, 1);
    /* A host that has taken note needs no descriptor to be told again. */
    require_equal(pump_is_ready(&scene.world), !scene.result);
    (scene.result ? pump_dispatch_scheduled : pump_dispatch)(&scene.world);
    require_story(&scene.one.recorder, "closed(0)");
    require_equal(scene.calls, 1);
    require(!pump_is_ready(&scene.world));
    scene_close(&scene);
}
END_TEST

static void abort_other(struct recorder *recorder, enum event_kind kind)
{
    struct link *other = recorder->hook_user;

    (void)kind;
    recorder_abort(&other->recorder, 0);
    afn_reactor_stop(other->world->reactor);
}

START_TEST(reactor_asks_the_host_for_another_dispatch_at_the_end_of_one)
{
    struct scene scene;

    scene_open(&scene, _i);
    scene.one.recorder.hook = abort_other;
    scene.one.recorder.hook_user = &scene.two;
    require(write(scene.one.peer.fd, "x", 1) == 1);
    require(pump_is_ready(&scene.world));
    pump_dispatch(&scene.world);
    require_story(&scene.two.recorder, "");
    require_equal(scene.calls, 1);
    require_equal(pump_is_ready(&scene.world), !scene.result);
    remove_hook(&scene);
    pump_dispatch(&scene.world);
    require_story(&scene.two.recorder, "closed(0)");
    scene_close(&scene);
}
END_TEST

static void answer_by_the_descriptor(struct scene *scene)
{
    pump_dispatch(&scene->world);
}

/* Nothing is stuck for a request that a host forgets. */
START_TEST(reactor_goes_on_although_the_host_never_answers)
{
    static void (*const ways[])(struct scene *) = {answer_by_the_descriptor, set_hook, remove_hook};
    struct scene scene;

    scene_open(&scene, true);
    recorder_abort(&scene.one.recorder, 0);
    require_equal(scene.calls, 1);
    ways[_i](&scene);
    recorder_abort(&scene.two.recorder, 0);
    pump_until(&scene.world, scene.one.recorder.counts[EVENT_CLOSED] &&
                                 scene.two.recorder.counts[EVENT_CLOSED]);
    scene_close(&scene);
}
END_TEST

START_TEST(scheduled_dispatch_leaves_alone_what_the_descriptor_shows)
{
    struct scene scene;

    scene_open(&scene, true);
    recorder_abort(&scene.one.recorder, 0);
    require(write(scene.two.peer.fd, "x", 1) == 1);
    require_equal(pump_dispatch_scheduled(&scene.world), 1);
    require_story(&scene.one.recorder, "closed(0)");
    require_story(&scene.two.recorder, "");
    require_equal(scene.calls, 1);
    pump_dispatch(&scene.world);
    require_story(&scene.two.recorder, "data(1)");
    scene_close(&scene);
}
END_TEST

static void schedule_inside(struct recorder *recorder, enum event_kind kind)
{
    struct link *link = recorder->hook_user;

    (void)kind;
    require_equal(afn_reactor_dispatch_scheduled(link->world->reactor), -EBUSY);
    afn_reactor_stop(link->world->reactor);
}

START_TEST(reactor_asks_the_host_once_until_the_dispatch_comes)
{
    struct scene scene;

    scene_open(&scene, true);
    scene.one.recorder.hook = schedule_inside;
    scene.one.recorder.hook_user = &scene.one;
    recorder_abort(&scene.one.recorder, 0);
    recorder_abort(&scene.two.recorder, 0);
    require_equal(scene.calls, 1);
    /* An answer from inside a callback leaves the rest to another one. */
    pump_dispatch(&scene.world);
    require_story(&scene.one.recorder, "closed(0)");
    require_story(&scene.two.recorder, "");
    require_equal(scene.calls, 2);
    pump_dispatch_scheduled(&scene.world);
    require_story(&scene.two.recorder, "closed(0)");
    scene_close(&scene);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {reactor_asks_the_host_for_a_dispatch, 2},
        {reactor_asks_the_host_for_another_dispatch_at_the_end_of_one, 2},
        {reactor_goes_on_although_the_host_never_answers, 3},
        {scheduled_dispatch_leaves_alone_what_the_descriptor_shows, 1},
        {reactor_asks_the_host_once_until_the_dispatch_comes, 1},
    };

    return harness_main("reactor-schedule", cases, COUNT_OF(cases));
}
