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

typedef int parse_fn(const char *at, size_t size, const struct http1_limits *limits, struct http1_scan *scan,
                     struct http1_head *ret_head);

static const struct http1_limits limits = {LIMIT, HTTP1_HEADERS_MAX};

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
    int n = parse(copy, size, &(struct http1_limits){limit, HTTP1_HEADERS_MAX}, NULL, &head);
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

/* Byte by byte, and to another place each time: what the last call says, and what is left unread by then. */
static int parse_bytes(parse_fn *parse, const char *text, size_t size, struct http1_head *ret_head,
                       size_t *ret_left)
{
    static char places[2][LIMIT];
    struct http1_scan scan = {0};
    int n = 0;
    size_t given = 0;
    while (n == 0 && given < size) {
        given++;
        memset(places[(given + 1) % 2], '?', given);
        memcpy(places[given % 2], text, given);
        n = parse(places[given % 2], given, &limits, &scan, ret_head);
    }
    *ret_left = size - given;
    return n;
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
    assert_int_equal(http1_request(good_request, strlen(good_request), &limits, NULL, &head),
                     strlen(good_request));
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
    assert_int_equal(http1_request("GET\n", 4, &limits, NULL, &head), ERR_HTTP_SYNTAX);
    assert_int_equal(http1_request("GET /", 5, &limits, NULL, &head), 0);
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
        {"CONNECT host:80 HTTP/1.1\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET https://host HTTP/1.1\r\n\r\n", ERR_HTTP_SYNTAX},
        {"hello\r\n", ERR_HTTP_SYNTAX},
        {"GET /\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/0.9\r\n\r\n", ERR_HTTP_VERSION},
        {"GET / HTTP/1.2\r\n\r\n", ERR_HTTP_VERSION},
        {"GET / HTTP/1.1\r\nA\t: b\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.1\r\nA: b\r\n \r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.1\r\nA: b\r\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.1\r\nA: \x0b\r\n\r\n", ERR_HTTP_SYNTAX},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        check_verdict(http1_request, bad[i].text, bad[i].err);
}

static void header_values_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *headers;
        bool good;
    } rows[] = {
        {"Content-Length: 0", true},
        {"Content-Length: 18446744073709551616", true}, /* well formed; nobody reads a body */
        {"Content-Length:", false},
        {"Content-Length: +5", false},
        {"Content-Length: -0", false},
        {"Content-Length: 5, 5", false},
        {"Content-Length: 0x5", false},
        {"Content-Length: 5 ", true},
        {"Content-Length: 5 5", false},
        {"Transfer-Encoding: chunked", true},
        {"Transfer-Encoding: chunked\r\nContent-Length: 5", false},
        {"Content-Length: 0\r\ntransfer-encoding: x", false},
        {"Host: h", true},
        {"Host: h:80", true},
        {"Host: a-b_c.example.", true},
        {"Host: a%20b", true},
        {"Host: 127.0.0.1:65535", true},
        {"Host: [::1]", true},
        {"Host: [fe80::1]:9001", true},
        {"Host:", false},
        {"Host: :80", false},
        {"Host: h:", false},
        {"Host: h:65536", false},
        {"Host: h:000080", false},
        {"Host: h:8o", false},
        {"Host: h:1:2", false},
        {"Host: a b", false},
        {"Host: a, b", false},
        {"Host: user@h", false},
        {"Host: user:secret@h", false},
        {"Host: h/path", false},
        {"Host: h?q", false},
        {"Host: h#f", false},
        {"Host: http://h", false},
        {"Host: a%2", false},
        {"Host: a%zz", false},
        {"Host: h\xC3\xA9", false},
        {"Host: ::1", false},
        {"Host: [::1", false},
        {"Host: []", false},
        {"Host: [h]", false},
        {"Host: [::1]80", false},
        {"Host: [::1]:", false},
        {"Host: [1:2:3:4:5:6:7:8:9]", false},
        {"Host: [0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[200];
        int size = snprintf(text, sizeof text, "GET / HTTP/1.1\r\n%s\r\n\r\n", rows[i].headers);
        check_verdict(http1_request, text, rows[i].good ? size : ERR_HTTP_SYNTAX);
    }
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
    assert_int_equal(http1_request(fine, strlen(fine), &limits, NULL, &head), strlen(fine));
    check_slice(head.target, "/a%20b?q={}|\\^`[]'~");
}

static void some_headers_stand_once(void **state)
{
    (void)state;
    static const char *const once[] = {
        "Host",   "Content-Length", "Transfer-Encoding", "Upgrade",
        "Origin", "Authorization",  "Sec-WebSocket-Key", "Sec-WebSocket-Version"};
    for (size_t i = 0; i < COUNT_OF(once); i++) {
        char text[200];
        snprintf(text, sizeof text, "GET / HTTP/1.1\r\n%s: 0\r\nX: y\r\n%s: 0\r\n\r\n", once[i], once[i]);
        text[18] |= 0x20; /* whatever its case */
        check_verdict(http1_request, text, ERR_HTTP_SYNTAX);
    }
    check_verdict(http1_response,
                  "HTTP/1.1 101 S\r\nSec-WebSocket-Accept: a\r\nSec-WebSocket-Accept: b\r\n\r\n",
                  ERR_HTTP_SYNTAX);
    check_verdict(http1_response, "HTTP/1.1 400 S\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
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

static void request_with_headers(int count, size_t most, int expected)
{
    struct http1_head head;
    char text[2000] = "GET / HTTP/1.1\r\n";
    for (int i = 0; i < count; i++)
        strcat(text, "A: b\r\n");
    strcat(text, "\r\n");
    int n = http1_request(text, strlen(text), &(struct http1_limits){LIMIT, most}, NULL, &head);
    assert_int_equal(n, expected ? expected : (int)strlen(text));
}

static void the_number_of_headers_is_bounded(void **state)
{
    (void)state;
    request_with_headers(0, 0, 0);
    request_with_headers(1, 0, ERR_HTTP_HEAD_SIZE);
    request_with_headers(3, 3, 0);
    request_with_headers(4, 3, ERR_HTTP_HEAD_SIZE);
    request_with_headers(HTTP1_HEADERS_MAX, SIZE_MAX, 0);
    request_with_headers(HTTP1_HEADERS_MAX + 1, SIZE_MAX, ERR_HTTP_HEAD_SIZE);
}

static void a_head_may_come_byte_by_byte(void **state)
{
    (void)state;
    struct http1_head head;
    size_t left, size = strlen(good_request);
    assert_int_equal(parse_bytes(http1_request, good_request, size, &head, &left), size);
    assert_int_equal(left, 0);
    check_slice(head.method, "GET");
    check_slice(head.target, "/feed?a=1");
    assert_int_equal(head.header_count, 5);
    check_slice(head.header[0].name, "Host");
    check_slice(http1_value(&head, "x-space"), "both sides");
}

/* The error of a line is told when it ends at the latest, and no line after it is waited for. */
static void errors_are_told_at_the_end_of_the_line(void **state)
{
    (void)state;
    static const struct {
        const char *line, *rest;
        int err;
    } bad[] = {
        {"hello\r\n", "A: b\r\n\r\n", ERR_HTTP_SYNTAX},
        {"\x16\x03\x01", "\x02\x03\x04", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.0\r\n", "A: b\r\n\r\n", ERR_HTTP_VERSION},
        {"PRI * HTTP/2.0\r\n", "\r\nSM\r\n\r\n", ERR_HTTP_VERSION},
        {"GET / HTTP/1.1\r\nA : b\r\n", "C: d\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.1\r\nA: b\n", "C: d\r\n\r\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.1\r\nA: b\r\n folded\r\n", "\r\n", ERR_HTTP_SYNTAX},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "", ERR_HTTP_SYNTAX},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct http1_head head;
        char text[200];
        size_t left;
        int size = snprintf(text, sizeof text, "%s%s", bad[i].line, bad[i].rest);
        int n = parse_bytes(http1_request, text, (size_t)size, &head, &left);
        if (n != bad[i].err || left < strlen(bad[i].rest))
            fail_msg("%d, %zu left: %s", n, left, text);
    }
}

/* However it is cut in two, and whatever the limits become in between. */
static void a_head_may_be_cut_anywhere(void **state)
{
    (void)state;
    size_t size = strlen(good_request);
    for (size_t cut = 0; cut < size; cut++) {
        struct http1_head head;
        struct http1_scan scan = {0}, same;
        assert_int_equal(http1_request(good_request, cut, &limits, &scan, &head), 0);
        same = scan;
        assert_int_equal(http1_request(good_request, size, &(struct http1_limits){10, 9}, &same, &head),
                         ERR_HTTP_HEAD_SIZE);
        same = scan;
        assert_int_equal(http1_request(good_request, size, &(struct http1_limits){LIMIT, 1}, &same, &head),
                         ERR_HTTP_HEAD_SIZE);
        assert_int_equal(http1_request(good_request, size, &limits, &scan, &head), size);
        assert_int_equal(head.header_count, 5);
    }
}

/* What was parsed goes by `checked`, which moves only when the line has doubled: 2^n bytes, n + 1 times. */
static void the_cost_is_linear(void **state)
{
    (void)state;
    static char text[LIMIT];
    struct http1_scan scan = {0};
    struct http1_head head;
    size_t parsed = 0, times = 0;
    memset(text, 'x', sizeof text);
    memcpy(text, "GET /", 5);
    for (size_t size = 1; size < LIMIT; size++) {
        size_t before = scan.checked;
        assert_int_equal(http1_request(text, size, &limits, &scan, &head), 0);
        if (scan.checked != before) {
            parsed += scan.checked - scan.line;
            times++;
        }
    }
    assert_in_range(parsed, 1, 2 * LIMIT);
    assert_in_range(times, 1, 13);
    assert_int_equal(http1_request(text, LIMIT, &limits, &scan, &head), ERR_HTTP_HEAD_SIZE);
}

static void responses(void **state)
{
    (void)state;
    struct http1_head head;
    const char text[] = "HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\nframes";
    assert_int_equal(http1_response(text, strlen(text), &limits, NULL, &head), strlen(text) - 6);
    assert_int_equal(head.status, 101);
    check_slice(http1_value(&head, "a"), "b");
    const char bare[] = "HTTP/1.1 599 \r\n\r\n";
    assert_int_equal(http1_response(bare, strlen(bare), &limits, NULL, &head), strlen(bare));
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
    assert_true(http1_request(text, strlen(text), &limits, NULL, &head) > 0);
    assert_true(http1_has_token(&head, "connection", "upgrade"));
    assert_true(http1_has_token(&head, "Connection", "Keep-Alive"));
    assert_true(http1_has_token(&head, "Connection", "x"));
    assert_false(http1_has_token(&head, "Connection", "y"));
    assert_false(http1_has_token(&head, "Connection", "keep"));
    assert_false(http1_has_token(&head, "Connection", "keep-alive ,\tUpgrade"));
    assert_false(http1_has_token(&head, "None", "x"));
}

static void lists_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *list, *elements; /* one in < > each */
    } rows[] = {
        {"", "<>"},      {"a", "<a>"},    {"a,b", "<a><b>"}, {" a , b\t,c d ", "<a><b><c d>"},
        {"a,", "<a><>"}, {",a", "<><a>"}, {" , ", "<><>"},
    };
    struct slice element, none = {0};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct slice list = {rows[i].list, strlen(rows[i].list)};
        char text[100] = "";
        while (http1_next(&list, &element))
            snprintf(text + strlen(text), sizeof text - strlen(text), "<%.*s>", (int)element.size,
                     element.at);
        assert_string_equal(text, rows[i].elements);
    }
    assert_false(http1_next(&none, &element));
    assert_true(http1_is_token(SLICE("a.b-2")));
    assert_false(http1_is_token(SLICE("")));
    assert_false(http1_is_token(SLICE("a b")));
    assert_false(http1_is_token(SLICE("a/b")));
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
        cmocka_unit_test(header_values_are_checked),
        cmocka_unit_test(a_head_may_come_byte_by_byte),
        cmocka_unit_test(errors_are_told_at_the_end_of_the_line),
        cmocka_unit_test(a_head_may_be_cut_anywhere),
        cmocka_unit_test(the_cost_is_linear),
        cmocka_unit_test(lists_are_taken_apart),
        cmocka_unit_test(responses),
        cmocka_unit_test(bad_responses),
        cmocka_unit_test(tokens_are_found_in_lists),
        cmocka_unit_test(targets_are_split),
        cmocka_unit_test(query_values_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
