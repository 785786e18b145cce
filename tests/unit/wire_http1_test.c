#include "base/err.h"
#include "wire/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

enum { LIMIT = 8192 };

typedef int parse_fn(const char *at, size_t size, size_t limit, struct http1_head *ret_head);

static void check_slice(struct slice s, const char *expected)
{
    if (!slice_is(s, expected))
        fail_msg("\"%.*s\", expected \"%s\"", (int)s.size, s.at, expected);
}

/* In memory of exactly `size` bytes, so that reading beyond them is found. */
static int parse_copy(parse_fn *parse, const char *text, size_t size, size_t limit)
{
    struct http1_head head;
    char *copy = memcpy(mem_alloc(size), text, size);
    int n = parse(copy, size, limit, &head);
    free(copy);
    return n;
}

/* The verdict comes at some byte, stays whatever follows, and everything shorter wants more. */
static void check_verdict(parse_fn *parse, const char *text, int expected)
{
    size_t size = strlen(text);
    int n = parse_copy(parse, text, size, LIMIT);
    if (n != expected)
        fail_msg("%d (%s), expected %d (%s): %s", n, err_name(n), expected, err_name(expected), text);
    size_t decided = 0;
    while (decided < size && parse_copy(parse, text, decided, LIMIT) == 0)
        decided++;
    for (; decided < size; decided++)
        assert_int_equal(parse_copy(parse, text, decided, LIMIT), expected);
}

static const char good_request[] = "GET /feed?a=1 HTTP/1.1\r\n"
                                   "Host: example.org:9001\r\n"
                                   "Upgrade:websocket\r\n"
                                   "X-Empty:\r\n"
                                   "X-Space: \t both sides\t \r\n"
                                   "X-Bytes: caf\xC3\xA9 \"quoted\" <a@b>\r\n"
                                   "\r\n";

static void a_request_is_taken_apart(void **state)
{
    (void)state;
    struct http1_head head;
    assert_int_equal(http1_request(good_request, strlen(good_request), LIMIT, &head), strlen(good_request));
    check_slice(head.method, "GET");
    check_slice(head.target, "/feed?a=1");
    assert_int_equal(head.header_count, 5);
    check_slice(head.header[0].name, "Host");
    check_slice(http1_value(&head, "host"), "example.org:9001");
    check_slice(http1_value(&head, "UPGRADE"), "websocket");
    check_slice(http1_value(&head, "x-empty"), "");
    assert_non_null(http1_value(&head, "x-empty").at);
    check_slice(http1_value(&head, "x-space"), "both sides");
    check_slice(http1_value(&head, "x-bytes"), "caf\xC3\xA9 \"quoted\" <a@b>");
    assert_null(http1_value(&head, "x-none").at);
}

static void a_request_in_parts_wants_more(void **state)
{
    (void)state;
    for (size_t size = 0; size < strlen(good_request); size++)
        assert_int_equal(parse_copy(http1_request, good_request, size, LIMIT), 0);
}

static void bytes_behind_the_head_are_left(void **state)
{
    (void)state;
    const char text[] = "GET / HTTP/1.1\r\n\r\n\x81\x80mask and more";
    assert_int_equal(parse_copy(http1_request, text, sizeof text, LIMIT), 18);
}

static void failure_touches_nothing(void **state)
{
    (void)state;
    struct http1_head head = {.status = 7, .header_count = 3};
    assert_int_equal(http1_request("GET\n", 4, LIMIT, &head), ERR_HTTP_SYNTAX);
    assert_int_equal(http1_request("GET /", 5, LIMIT, &head), 0);
    assert_int_equal(head.status, 7);
    assert_int_equal(head.header_count, 3);
}

static void bad_requests(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int err;
    } bad[] = {
        {" GET / HTTP/1.1\r\n\r\n", ERR_HTTP_SYNTAX},
        {"\r\nGET / HTTP/1.1\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET  / HTTP/1.1\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET\t/ HTTP/1.1\r\n\r\n", ERR_HTTP_SYNTAX},
        {"G(T / HTTP/1.1\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET /  HTTP/1.1\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.1 \r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET /a b HTTP/1.1\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET /#f HTTP/1.1\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET /<a> HTTP/1.1\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET /\xC3\xA9 HTTP/1.1\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET /\x7F HTTP/1.1\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET feed HTTP/1.1\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET http://host/ HTTP/1.1\r\n\r\n", ERR_HTTP_SYNTAX},
        {"OPTIONS * HTTP/1.1\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET /\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET / http/1.1\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/x.1\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.11\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.0\r\n\r\n", ERR_HTTP_VERSION},
        {"GET / HTTP/2.0\r\n\r\n", ERR_HTTP_VERSION},
        {"PRI * HTTP/2.0\r\n\r\n", ERR_HTTP_VERSION},
        {"GET / HTTP/1.1\n\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.1\r\r\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.1\r\nA: b\n\r\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.1\r\nA: b\r\n\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.1\r\nA : b\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.1\r\n: b\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.1\r\nA\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.1\r\nA@: b\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.1\r\n A: b\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.1\r\nA: b\r\n\tfolded\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.1\r\nA: \x01\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.1\r\nA: \x7F\r\n\r\n", ERR_HTTP_SYNTAX},
        {"\x16\x03\x01\x02", ERR_HTTP_SYNTAX},
        {"HTTP/1.1 200 OK\r\n\r\n", ERR_HTTP_SYNTAX},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        check_verdict(http1_request, bad[i].text, bad[i].err);
}

static void nul_bytes_are_control_characters(void **state)
{
    (void)state;
    const char in_target[] = "GET /\0 HTTP/1.1\r\n\r\n", in_value[] = "GET / HTTP/1.1\r\nA: b\0c\r\n\r\n";
    assert_int_equal(parse_copy(http1_request, in_target, sizeof in_target - 1, LIMIT), ERR_HTTP_SYNTAX);
    assert_int_equal(parse_copy(http1_request, in_value, sizeof in_value - 1, LIMIT), ERR_HTTP_SYNTAX);
}

static void targets_as_browsers_send_them(void **state)
{
    (void)state;
    struct http1_head head;
    const char text[] = "GET /a%20b?q={\"}|\\^`[]'~ HTTP/1.1\r\n\r\n";
    assert_int_equal(parse_copy(http1_request, text, strlen(text), LIMIT), ERR_HTTP_SYNTAX);
    const char fine[] = "GET /a%20b?q={}|\\^`[]'~ HTTP/1.1\r\n\r\n";
    assert_int_equal(http1_request(fine, strlen(fine), LIMIT, &head), strlen(fine));
    check_slice(head.target, "/a%20b?q={}|\\^`[]'~");
}

static void some_headers_stand_once(void **state)
{
    (void)state;
    static const char *const once[] = {"Host", "Content-Length", "Sec-WebSocket-Key",
                                       "Sec-WebSocket-Version"};
    for (size_t i = 0; i < COUNT_OF(once); i++) {
        char text[200];
        snprintf(text, sizeof text, "GET / HTTP/1.1\r\n%s: a\r\nX: y\r\n%s: b\r\n\r\n", once[i], once[i]);
        text[20] |= 0x20; /* whatever its case */
        check_verdict(http1_request, text, ERR_HTTP_SYNTAX);
    }
    check_verdict(http1_response,
                  "HTTP/1.1 101 S\r\nSec-WebSocket-Accept: a\r\nSec-WebSocket-Accept: b\r\n\r\n",
                  ERR_HTTP_SYNTAX);
}

static void lists_may_stand_in_several_headers(void **state)
{
    (void)state;
    const char request[] = "GET / HTTP/1.1\r\nSec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n"
                           "Connection: x\r\nConnection: y\r\n\r\n";
    check_verdict(http1_request, request, (int)strlen(request));
    const char response[] =
        "HTTP/1.1 426 No\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8\r\n\r\n";
    check_verdict(http1_response, response, (int)strlen(response));
}

static void the_head_is_bounded(void **state)
{
    (void)state;
    size_t size = strlen(good_request);
    assert_int_equal(parse_copy(http1_request, good_request, size, size), size);
    assert_int_equal(parse_copy(http1_request, good_request, size, size - 1), ERR_HTTP_HEAD_SIZE);
    assert_int_equal(parse_copy(http1_request, good_request, 29, 30), 0);
    assert_int_equal(parse_copy(http1_request, good_request, 30, 30), ERR_HTTP_HEAD_SIZE);
    assert_int_equal(parse_copy(http1_request, "GET /\n", 6, 6), ERR_HTTP_SYNTAX);
}

static void request_with_headers(int count, int expected)
{
    char text[2000] = "GET / HTTP/1.1\r\n";
    for (int i = 0; i < count; i++)
        strcat(text, "A: b\r\n");
    strcat(text, "\r\n");
    assert_int_equal(parse_copy(http1_request, text, strlen(text), LIMIT),
                     expected ? expected : (int)strlen(text));
}

static void the_number_of_headers_is_bounded(void **state)
{
    (void)state;
    request_with_headers(0, 0);
    request_with_headers(HTTP1_HEADERS_MAX, 0);
    request_with_headers(HTTP1_HEADERS_MAX + 1, ERR_HTTP_HEAD_SIZE);
}

static void responses(void **state)
{
    (void)state;
    struct http1_head head;
    const char text[] = "HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\nframes";
    assert_int_equal(http1_response(text, strlen(text), LIMIT, &head), strlen(text) - 6);
    assert_int_equal(head.status, 101);
    check_slice(http1_value(&head, "a"), "b");
    const char bare[] = "HTTP/1.1 599 \r\n\r\n";
    assert_int_equal(http1_response(bare, strlen(bare), LIMIT, &head), strlen(bare));
    assert_int_equal(head.status, 599);
    for (size_t size = 0; size < strlen(bare); size++)
        assert_int_equal(parse_copy(http1_response, bare, size, LIMIT), 0);
}

static void bad_responses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int err;
    } bad[] = {
        {"HTTP/1.0 200 OK\r\n\r\n", ERR_HTTP_VERSION}, {"HTTP/2 200\r\n\r\n", ERR_HTTP_VERSION},
        {"HTTP/1.1  200 OK\r\n\r\n", ERR_HTTP_SYNTAX}, {"HTTP/1.1 20 OK\r\n\r\n", ERR_HTTP_SYNTAX},
        {"HTTP/1.1 2000 OK\r\n\r\n", ERR_HTTP_SYNTAX}, {"HTTP/1.1 099 OK\r\n\r\n", ERR_HTTP_SYNTAX},
        {"HTTP/1.1 600 OK\r\n\r\n", ERR_HTTP_SYNTAX},  {"HTTP/1.1 2x0 OK\r\n\r\n", ERR_HTTP_SYNTAX},
        {"HTTP/1.1 200\r\n\r\n", ERR_HTTP_SYNTAX},     {"HTTP/1.1 200 \x01\r\n\r\n", ERR_HTTP_SYNTAX},
        {"SSH-2.0-OpenSSH_9.2\r\n", ERR_HTTP_SYNTAX},  {"<html>", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.1\r\n\r\n", ERR_HTTP_SYNTAX},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        check_verdict(http1_response, bad[i].text, bad[i].err);
}

static void tokens_are_found_in_lists(void **state)
{
    (void)state;
    struct http1_head head;
    const char text[] =
        "GET / HTTP/1.1\r\nConnection: keep-alive ,\tUpgrade\r\nConnection: ,,x\r\nOther: y\r\n\r\n";
    assert_true(http1_request(text, strlen(text), LIMIT, &head) > 0);
    assert_true(http1_has_token(&head, "connection", "upgrade"));
    assert_true(http1_has_token(&head, "Connection", "Keep-Alive"));
    assert_true(http1_has_token(&head, "Connection", "x"));
    assert_false(http1_has_token(&head, "Connection", "y"));
    assert_false(http1_has_token(&head, "Connection", "keep"));
    assert_false(http1_has_token(&head, "Connection", "keep-alive ,\tUpgrade"));
    assert_false(http1_has_token(&head, "None", "x"));
}

static void targets_are_split(void **state)
{
    (void)state;
    static const struct {
        const char *target, *path, *query;
    } rows[] = {
        {"/", "/", ""},          {"/feed?", "/feed", ""}, {"/a?b=1", "/a", "b=1"},
        {"/a?b?c", "/a", "b?c"}, {"?x", "", "x"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct slice path, query;
        http1_split_target((struct slice){rows[i].target, strlen(rows[i].target)}, &path, &query);
        check_slice(path, rows[i].path);
        check_slice(query, rows[i].query);
    }
}

static void query_values_are_found(void **state)
{
    (void)state;
    struct slice query = SLICE("a=1&bb=2=3&&c&d=&a=4&%61=5");
    check_slice(http1_query_value(query, "a"), "1");
    check_slice(http1_query_value(query, "bb"), "2=3");
    check_slice(http1_query_value(query, "c"), "");
    assert_non_null(http1_query_value(query, "c").at);
    check_slice(http1_query_value(query, "d"), "");
    assert_null(http1_query_value(query, "b").at);
    assert_null(http1_query_value(query, "1").at);
    assert_null(http1_query_value((struct slice){0}, "a").at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_taken_apart),
        cmocka_unit_test(a_request_in_parts_wants_more),
        cmocka_unit_test(bytes_behind_the_head_are_left),
        cmocka_unit_test(failure_touches_nothing),
        cmocka_unit_test(bad_requests),
        cmocka_unit_test(nul_bytes_are_control_characters),
        cmocka_unit_test(targets_as_browsers_send_them),
        cmocka_unit_test(some_headers_stand_once),
        cmocka_unit_test(lists_may_stand_in_several_headers),
        cmocka_unit_test(the_head_is_bounded),
        cmocka_unit_test(the_number_of_headers_is_bounded),
        cmocka_unit_test(responses),
        cmocka_unit_test(bad_responses),
        cmocka_unit_test(tokens_are_found_in_lists),
        cmocka_unit_test(targets_are_split),
        cmocka_unit_test(query_values_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
