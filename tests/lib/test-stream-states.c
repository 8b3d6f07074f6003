/* SPDX-License-Identifier: MIT */
/* The table of the programmer's guide, doc/guide.md, that says what a call answers in each state.
 */
#include <aiofastnet/aiofastnet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "certificate.h"
#include "fault-sys.h"
#include "harness.h"
#include "world.h"

/* ---- the questions ---- */

static void name_result(int result, char *answer, size_t size)
{
    static const struct {
        int error;
        const char *name;
    } known[] = {{-EPIPE, "-EPIPE"}, {-EBUSY, "-EBUSY"}, {-EBADF, "-EBADF"}};

    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (result == known[i].error) {
            snprintf(answer, size, "%s", known[i].name);
            return;
        }
    snprintf(answer, size, "%d", result);
}

static void name_descriptor(const struct link *link, int result, char *answer, size_t size)
{
    if (result == link->fd)
        snprintf(answer, size, "fd");
    else
        name_result(result, answer, size);
}

static void ask_write(struct link *link, char *answer, size_t size)
{
    const struct afn_buffer buffer = {"x", 1};
    int result = afn_stream_write(link->stream, "x", 1);

    require_equal(afn_stream_write_ref(link->stream, "x", 1, NULL, NULL), result);
    require_equal(afn_stream_writev(link->stream, &buffer, 1), result);
    name_result(result, answer, size);
}

static void ask_write_eof(struct link *link, char *answer, size_t size)
{
    name_result(afn_stream_write_eof(link->stream), answer, size);
}

static int start_tls(struct link *link)
{
    SSL *ssl = certificate_make_ssl(TLS1_3_VERSION, 0);
    int result = afn_stream_start_tls(link->stream, ssl, NULL);

    SSL_free(ssl);
    return result;
}

static void ask_start_tls(struct link *link, char *answer, size_t size)
{
    name_result(start_tls(link), answer, size);
}

static void ask_take_fd(struct link *link, char *answer, size_t size)
{
    int result = afn_stream_take_fd(link->stream);

    name_descriptor(link, result, answer, size);
    if (result >= 0)
        close(result);
}

static void ask_get_fd(struct link *link, char *answer, size_t size)
{
    name_descriptor(link, afn_stream_get_fd(link->stream), answer, size);
}

static void ask_is_closing(struct link *link, char *answer, size_t size)
{
    snprintf(answer, size, "%s", afn_stream_is_closing(link->stream) ? "true" : "false");
}

static void ask_is_reading(struct link *link, char *answer, size_t size)
{
    snprintf(answer, size, "%s", afn_stream_is_reading(link->stream) ? "true" : "false");
}

typedef void question_type(struct link *link, char *answer, size_t size);

static question_type *const questions[] = {ask_write,  ask_write_eof,  ask_start_tls, ask_take_fd,
                                           ask_get_fd, ask_is_closing, ask_is_reading};

/* ---- the states ---- */

static void enter_open(struct link *link)
{
    (void)link;
}

static void enter_paused(struct link *link)
{
    recorder_pause(&link->recorder);
}

static void enter_write_ended(struct link *link)
{
    require_equal(afn_stream_write_eof(link->stream), 0);
}

static void enter_peer_ended(struct link *link)
{
    link->recorder.keeps_open = true;
    link->peer.ends = true;
    pump_until(link->world, link->recorder.counts[EVENT_EOF] == 1);
}

static void enter_secured(struct link *link)
{
    link_secure(link, TLS1_3_VERSION, 1);
}

static void enter_handshake(struct link *link)
{
    link_start_tls(link, TLS1_3_VERSION, 1, NULL);
}

static void enter_broken(struct link *link)
{
    fault_sys_fail(FAULT_SEND, 0, 1, -EPIPE);
    require_equal(afn_stream_write(link->stream, "x", 1), 0);
}

static void enter_closing(struct link *link)
{
    recorder_end(&link->recorder);
}

static void enter_lost(struct link *link)
{
    recorder_abort(&link->recorder, AFN_ERR_ABORTED);
}

/* Those inside of the callback are asked there. */
static question_type *asked;
static char *asked_answer;
static size_t asked_size;

static void ask_inside(struct recorder *recorder, enum event_kind kind)
{
    struct link *link = recorder->hook_user;

    if (kind == EVENT_CLOSED)
        asked(link, asked_answer, asked_size);
}

static void take_and_ask(struct recorder *recorder, enum event_kind kind)
{
    struct link *link = recorder->hook_user;

    if (kind != EVENT_CLOSED)
        return;
    require_equal(afn_stream_take_fd(link->stream), link->fd);
    close(link->fd);
    asked(link, asked_answer, asked_size);
}

static void enter_closed(struct link *link)
{
    link->recorder.hook = ask_inside;
    link->recorder.hook_user = link;
    enter_lost(link);
    pump_until(link->world, recorder_is_closed(&link->recorder));
}

static void enter_taken(struct link *link)
{
    link->recorder.hook = take_and_ask;
    link->recorder.hook_user = link;
    enter_lost(link);
    pump_until(link->world, recorder_is_closed(&link->recorder));
}

static void enter_gone(struct link *link)
{
    enter_lost(link);
    pump_until(link->world, recorder_is_closed(&link->recorder));
}

static const struct {
    const char *name;
    void (*enter)(struct link *link);
} states[] = {
    {"OPEN", enter_open},
    {"OPEN, paused", enter_paused},
    {"OPEN, write_eof", enter_write_ended},
    {"OPEN, peer ended", enter_peer_ended},
    {"OPEN, with TLS", enter_secured},
    {"HANDSHAKE", enter_handshake},
    {"BROKEN", enter_broken},
    {"CLOSING", enter_closing},
    {"LOST", enter_lost},
    {"CLOSED", enter_closed},
    {"CLOSED, fd taken", enter_taken},
    {"GONE", enter_gone},
};

#define FIRST_BROKEN 6 /* of those that a stream with TLS can be in as well */

/* ---- the guide ---- */

static char guide[64 * 1024];

/* Reads it with every run of spaces made one. */
static void read_guide(void)
{
    const char *directory = getenv("srcdir");
    static char text[sizeof guide];
    char path[1024];
    size_t length = 0;
    ssize_t count;
    int fd;

    snprintf(path, sizeof path, "%s/../../doc/guide.md", directory != NULL ? directory : ".");
    fd = open(path, O_RDONLY | O_CLOEXEC);
    require(fd >= 0);
    count = read(fd, text, sizeof text);
    close(fd);
    require(count > 0 && (size_t)count < sizeof text);
    for (ssize_t i = 0; i < count; i++)
        if (text[i] != ' ' || length == 0 || guide[length - 1] != ' ')
            guide[length++] = text[i];
    guide[length] = '\0';
}

static const char *find_table(void)
{
    const char *table =
        strstr(guide, "| state | write | write_eof | start_tls | take_fd | get_fd | "
                      "is_closing | is_reading |\n");

    require(table != NULL);
    return table;
}

static void ask(size_t state, question_type *question, bool has_tls, char *answer, size_t size)
{
    struct world world;
    struct link link;

    world_open(&world);
    link_open(&link, &world, PAIR_UNIX, NULL);
    if (has_tls)
        enter_secured(&link);
    asked = question;
    asked_answer = answer;
    asked_size = size;
    states[state].enter(&link);
    if (link.recorder.hook == NULL)
        question(&link, answer, size);
    /* Before the peer is, for a stream that is closing would wait for it. */
    recorder_abort(&link.recorder, 0);
    pump_until(&world, recorder_is_closed(&link.recorder));
    link_close(&link);
    world_close(&world);
}

START_TEST(guide_says_what_every_call_answers_in_a_state)
{
    char row[256];
    int length;

    read_guide();
    length = snprintf(row, sizeof row, "\n| %s |", states[_i].name);
    for (size_t i = 0; i < COUNT_OF(questions); i++) {
        char answer[32];

        ask((size_t)_i, questions[i], false, answer, sizeof answer);
        length += snprintf(row + length, sizeof row - (size_t)length, " %s |", answer);
    }
    if (strstr(find_table(), row) == NULL)
        harness_fail(__FILE__, __LINE__, "the guide has no row%s", row);
}
END_TEST

START_TEST(guide_has_no_state_that_is_not_tested)
{
    const char *row;
    size_t rows = 0;

    read_guide();
    for (row = strchr(find_table(), '\n') + 1; *row == '|'; row = strchr(row, '\n') + 1)
        rows++;
    require_equal(rows, COUNT_OF(states) + 1); /* a ruler is the first */
}
END_TEST

START_TEST(tls_is_refused_in_every_state_after_tls)
{
    char answer[32];

    ask((size_t)_i + FIRST_BROKEN, ask_start_tls, true, answer, sizeof answer);
    require_string(answer, "-EBUSY");
    ask((size_t)_i + FIRST_BROKEN, ask_write, true, answer, sizeof answer);
    require_string(answer, "-EPIPE");
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {guide_says_what_every_call_answers_in_a_state, COUNT_OF(states)},
        {guide_has_no_state_that_is_not_tested, 1},
        {tls_is_refused_in_every_state_after_tls, COUNT_OF(states) - FIRST_BROKEN},
    };

    return harness_main("stream-states", cases, COUNT_OF(cases));
}
