/* SPDX-License-Identifier: MIT */
/* Links: libaiofastnet.la (the shared library), check, OpenSSL.  Nothing of tests/support. */
/* A program that sees no more of the library than its users do. */
#include <aiofastnet/aiofastnet.h>
#include <check.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

START_TEST(version_of_the_library_is_that_of_the_header)
{
    char expected[32];

    snprintf(expected, sizeof expected, "%d.%d.%d", AFN_VERSION_MAJOR, AFN_VERSION_MINOR,
             AFN_VERSION_MICRO);
    ck_assert_str_eq(afn_version(), expected);
    ck_assert(afn_has_ktls() == 0 || afn_has_ktls() == 1);
}
END_TEST

START_TEST(every_error_has_words_of_its_own)
{
    static const int errors[] = {
        AFN_ERR_TLS,    AFN_ERR_TRUNCATED, AFN_ERR_HANDSHAKE_TIMEOUT, AFN_ERR_SHUTDOWN_TIMEOUT,
        AFN_ERR_ENGINE, AFN_ERR_ABORTED,
    };
    const size_t count = sizeof errors / sizeof errors[0];

    for (size_t i = 0; i < count; i++) {
        /* Not what strerror() makes of a number that means nothing. */
        ck_assert_ptr_null(strstr(afn_strerror(errors[i]), strerror(-errors[i])));
        for (size_t k = 0; k < i; k++)
            ck_assert_str_ne(afn_strerror(errors[i]), afn_strerror(errors[k]));
    }
    ck_assert_str_eq(afn_strerror(-EPIPE), strerror(EPIPE));
    ck_assert_ptr_nonnull(afn_strerror(0));
    ck_assert_ptr_nonnull(afn_strerror(-99999));
    ck_assert_ptr_nonnull(afn_strerror(12345678));
}
END_TEST

START_TEST(every_function_of_the_headers_can_be_linked)
{
    typedef void function(void);
    function *const functions[] = {
        (function *)afn_connect_cancel,
        (function *)afn_connect_new,
        (function *)afn_connect_unref,
        (function *)afn_has_ktls,
        (function *)afn_listener_close,
        (function *)afn_listener_new,
        (function *)afn_listener_ref,
        (function *)afn_listener_unref,
        (function *)afn_reactor_dispatch,
        (function *)afn_reactor_get_fd,
        (function *)afn_reactor_new,
        (function *)afn_reactor_ref,
        (function *)afn_reactor_run,
        (function *)afn_reactor_set_busy_check,
        (function *)afn_reactor_dispatch_scheduled,
        (function *)afn_reactor_set_schedule_hook,
        (function *)afn_reactor_stop,
        (function *)afn_reactor_unref,
        (function *)afn_reactor_wakeup,
        (function *)afn_stream_abort,
        (function *)afn_stream_close,
        (function *)afn_stream_cork,
        (function *)afn_stream_get_fd,
        (function *)afn_stream_get_ssl,
        (function *)afn_stream_get_stats,
        (function *)afn_stream_get_tls_error,
        (function *)afn_stream_get_write_buffer_size,
        (function *)afn_stream_get_write_limits,
        (function *)afn_stream_is_closing,
        (function *)afn_stream_is_reading,
        (function *)afn_stream_new,
        (function *)afn_stream_pause_reading,
        (function *)afn_stream_ref,
        (function *)afn_stream_resume_reading,
        (function *)afn_stream_set_handler,
        (function *)afn_stream_set_write_limits,
        (function *)afn_stream_start_engine,
        (function *)afn_stream_start_tls,
        (function *)afn_stream_take_fd,
        (function *)afn_stream_uncork,
        (function *)afn_stream_unref,
        (function *)afn_stream_write,
        (function *)afn_stream_write_eof,
        (function *)afn_stream_write_ref,
        (function *)afn_stream_writev,
        (function *)afn_strerror,
        (function *)afn_tls_drain,
        (function *)afn_tls_feed,
        (function *)afn_tls_free,
        (function *)afn_tls_handshake,
        (function *)afn_tls_new,
        (function *)afn_tls_read,
        (function *)afn_tls_shutdown,
        (function *)afn_tls_write,
        (function *)afn_version,
    };

    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        ck_assert(functions[i] != NULL);
}
END_TEST

struct user {
    char received[16];
    size_t length;
    int closed;
};

static void on_data(struct afn_stream *stream, void *pointer, const void *data, size_t length)
{
    struct user *user = pointer;

    ck_assert_uint_le(length, sizeof user->received - user->length);
    memcpy(user->received + user->length, data, length);
    user->length += length;
    ck_assert_int_eq(afn_stream_write(stream, data, length), 0);
}

static void on_closed(struct afn_stream *stream, void *pointer, int error)
{
    struct user *user = pointer;

    (void)stream;
    ck_assert_int_eq(error, 0);
    user->closed++;
}

/* The first program of anybody: with poll(2) as its loop. */
START_TEST(stream_echoes_in_a_loop_of_the_program)
{
    static const struct afn_stream_handler handler = {
        .size = sizeof handler,
        .data = on_data,
        .closed = on_closed,
    };
    struct user user = {.length = 0};
    struct afn_reactor *reactor;
    struct afn_stream *stream;
    char answer[6];
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    ck_assert_int_eq(afn_reactor_new(&reactor), 0);
    ck_assert_int_eq(afn_stream_new(reactor, fds[0], &handler, &user, 0, &stream), 0);
    ck_assert_int_eq(write(fds[1], "hello", 5), 5);
    ck_assert_int_eq(shutdown(fds[1], SHUT_WR), 0);
    while (user.closed == 0) {
        struct pollfd item = {.fd = afn_reactor_get_fd(reactor), .events = POLLIN};

        ck_assert_int_eq(poll(&item, 1, 10000), 1);
        ck_assert_int_ge(afn_reactor_dispatch(reactor), 0);
    }
    ck_assert_int_eq(read(fds[1], answer, sizeof answer), 5);
    ck_assert_mem_eq(answer, "hello", 5);
    ck_assert_mem_eq(user.received, "hello", 5);
    ck_assert_int_eq(user.closed, 1);
    ck_assert_ptr_null(afn_stream_unref(stream));
    ck_assert_ptr_null(afn_reactor_unref(reactor));
    close(fds[1]);
}
END_TEST

START_TEST(engine_is_made_from_an_ssl_of_the_program)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(context);
    struct afn_tls *tls;
    unsigned char hello[8];

    SSL_set_connect_state(ssl);
    ck_assert_int_eq(afn_tls_new(ssl, &tls), 0);
    ck_assert_int_eq(afn_tls_handshake(tls), -EAGAIN);
    ck_assert_uint_eq(afn_tls_drain(tls, hello, sizeof hello), sizeof hello);
    /* A handshake record, as any TLS begins. */
    ck_assert_int_eq(hello[0], 22);
    ck_assert_ptr_null(afn_tls_free(tls));
    SSL_free(ssl);
    SSL_CTX_free(context);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("public-api");
    TCase *tests = tcase_create("public-api");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tests, version_of_the_library_is_that_of_the_header);
    tcase_add_test(tests, every_error_has_words_of_its_own);
    tcase_add_test(tests, every_function_of_the_headers_can_be_linked);
    tcase_add_test(tests, stream_echoes_in_a_loop_of_the_program);
    tcase_add_test(tests, engine_is_made_from_an_ssl_of_the_program);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
