#include "base/err.h"
#include "wire/token.h"
#include "wire/upgrade.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static const struct http1_limits limits = {8192, HTTP1_HEADERS_MAX};
static const struct slice nothing;

/* The key and the answer of RFC 6455 section 1.3. */
static const char key[] = "dGhlIHNhbXBsZSBub25jZQ==";
static const char key_accept[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

static int check_request(const char *text)
{
    struct http1_head head;
    assert_int_equal(http1_request(text, strlen(text), &limits, NULL, &head), strlen(text));
    return upgrade_check_request(&head);
}

static int check_response(const char *text, const char *subprotocols, bool extensions)
{
    struct http1_head head;
    assert_int_equal(http1_response(text, strlen(text), &limits, NULL, &head), strlen(text));
    return upgrade_check_response(&head, key, subprotocols, extensions);
}

/* What a client makes of the answer to the key above. */
static int check_answer(void)
{
    struct http1_head head = {.status = 101, .header_count = 3};
    head.header[0] = (struct http1_header){SLICE("Upgrade"), SLICE("websocket")};
    head.header[1] = (struct http1_header){SLICE("Connection"), SLICE("Upgrade")};
    head.header[2] = (struct http1_header){SLICE("Sec-WebSocket-Accept"), SLICE(key_accept)};
    return upgrade_check_response(&head, key, NULL, false);
}

/* Appended with its NUL, so that it reads as text. */
static const char *text_of(struct buf *b)
{
    buf_append(b, "", 1);
    return (const char *)b->at;
}

#define HOST      "Host: h\r\n"
#define UPGRADE   "Upgrade: websocket\r\n"
#define CONNECT   "Connection: Upgrade\r\n"
#define VERSION   "Sec-WebSocket-Version: 13\r\n"
#define KEY       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define GET(text) "GET /chat HTTP/1.1\r\n" text "\r\n"

static void good_requests_pass(void **state)
{
    (void)state;
    static const char *const good[] = {
        GET(HOST UPGRADE CONNECT KEY VERSION),
        GET(HOST "upgrade: WebSocket\r\nconnection: keep-alive, upgrade\r\n" KEY VERSION),
        GET(HOST "Upgrade: h2c, websocket\r\nConnection: close\r\nConnection: Upgrade\r\n" KEY VERSION),
        GET(HOST UPGRADE CONNECT KEY VERSION "Origin: http://x\r\nSec-WebSocket-Protocol: chat\r\n"),
        GET(HOST UPGRADE CONNECT KEY VERSION "Content-Length: 0\r\n"),
        GET(HOST UPGRADE CONNECT VERSION "Sec-WebSocket-Key: +/AAAAAAAAAAAAAAAAAAAA==\r\n"),
    };
    for (size_t i = 0; i < COUNT_OF(good); i++)
        assert_int_equal(check_request(good[i]), 0);
}

static void bad_requests_say_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int err;
    } bad[] = {
        {"POST / HTTP/1.1\r\n" HOST UPGRADE CONNECT KEY VERSION "\r\n", ERR_HTTP_METHOD},
        {"get / HTTP/1.1\r\n" HOST UPGRADE CONNECT KEY VERSION "\r\n", ERR_HTTP_METHOD},
        {GET(UPGRADE CONNECT KEY VERSION), ERR_HTTP_SYNTAX},
        {GET(HOST UPGRADE CONNECT KEY VERSION "Expect: 100-continue\r\n"), ERR_HTTP_SYNTAX},
        {GET(HOST UPGRADE CONNECT KEY VERSION "Content-Length: 5\r\n"), ERR_HTTP_SYNTAX},
        {GET(HOST UPGRADE CONNECT KEY VERSION "Transfer-Encoding: chunked\r\n"), ERR_HTTP_SYNTAX},
        {GET(HOST), ERR_HTTP_NOT_UPGRADE},
        {GET(HOST CONNECT KEY VERSION), ERR_HTTP_NOT_UPGRADE},
        {GET(HOST UPGRADE KEY VERSION), ERR_HTTP_NOT_UPGRADE},
        {GET(HOST "Upgrade: h2c\r\n" CONNECT KEY VERSION), ERR_HTTP_NOT_UPGRADE},
        {GET(HOST UPGRADE "Connection: keep-alive\r\n" KEY VERSION), ERR_HTTP_NOT_UPGRADE},
        {GET(HOST UPGRADE CONNECT KEY), ERR_HTTP_WS_VERSION},
        {GET(HOST UPGRADE CONNECT KEY "Sec-WebSocket-Version: 8\r\n"), ERR_HTTP_WS_VERSION},
        {GET(HOST UPGRADE CONNECT KEY "Sec-WebSocket-Version: 13, 8\r\n"), ERR_HTTP_WS_VERSION},
        {GET(HOST UPGRADE CONNECT VERSION), ERR_HTTP_WS_KEY},
        {GET(HOST UPGRADE CONNECT VERSION "Sec-WebSocket-Key:\r\n"), ERR_HTTP_WS_KEY},
        {GET(HOST UPGRADE CONNECT VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n"), ERR_HTTP_WS_KEY},
        {GET(HOST UPGRADE CONNECT VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ===\r\n"),
         ERR_HTTP_WS_KEY},
        {GET(HOST UPGRADE CONNECT VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA\r\n"),
         ERR_HTTP_WS_KEY},
        {GET(HOST UPGRADE CONNECT VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j-Q==\r\n"),
         ERR_HTTP_WS_KEY},
        {GET(HOST UPGRADE CONNECT VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQA=\r\n"),
         ERR_HTTP_WS_KEY},
        {GET(HOST UPGRADE CONNECT VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZS=ub25jZQ==\r\n"),
         ERR_HTTP_WS_KEY},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (check_request(bad[i].text) != bad[i].err)
            fail_msg("%s: %s", err_name(check_request(bad[i].text)), bad[i].text);
}

static void *accept_often(void *ret_wrong)
{
    size_t *wrong = ret_wrong;
    for (int i = 0; i < 100000; i++)
        *wrong += check_answer() < 0;
    return NULL;
}

/* Each a server, on a loop of its own. */
static void two_threads_do_not_disturb_each_other(void **state)
{
    (void)state;
    pthread_t other;
    size_t wrong[2] = {0};
    assert_int_equal(pthread_create(&other, NULL, accept_often, &wrong[1]), 0);
    accept_often(&wrong[0]);
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_int_equal(wrong[0] + wrong[1], 0);
}

static void the_accept_of_the_rfc(void **state)
{
    (void)state;
    struct http1_head head;
    struct buf out = {0};
    const char request[] = GET(HOST UPGRADE CONNECT KEY VERSION);
    assert_true(http1_request(request, strlen(request), &limits, NULL, &head) > 0);
    upgrade_accept(&head, nothing, nothing, &out);
    assert_string_equal(text_of(&out), "HTTP/1.1 101 Switching Protocols\r\n"
                                       "Upgrade: websocket\r\n"
                                       "Connection: Upgrade\r\n"
                                       "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                                       "\r\n");
    assert_int_equal(strlen(key_accept), UPGRADE_ACCEPT_SIZE);
    buf_free(&out);
    upgrade_accept(&head, SLICE("chat"), SLICE("X: y\r\n"), &out);
    const char *more = strstr(text_of(&out), "\r\nSec-WebSocket-Protocol");
    assert_non_null(more);
    assert_string_equal(more, "\r\nSec-WebSocket-Protocol: chat\r\nX: y\r\n\r\n");
    buf_free(&out);
}

#define OFFER(list) "Sec-WebSocket-Protocol: " list "\r\n"

static void the_clients_order_of_subprotocols_decides(void **state)
{
    (void)state;
    static const struct {
        const char *ours, *headers, *chosen; /* NULL: none */
        int err;
    } rows[] = {
        {"a,b", "", NULL, 0},
        {"", "", NULL, 0},
        {"", OFFER("a"), NULL, 0},
        {"a", OFFER("a"), "a", 0},
        {"a, b", OFFER("b, a"), "b", 0},
        {"a , b", OFFER("c,a,b"), "a", 0},
        {"a,b", OFFER("c") "X: y\r\n" OFFER("b,a"), "b", 0},
        {"a,b", OFFER("c") "sec-websocket-protocol: d\r\n", NULL, 0},
        {"chat", OFFER("Chat"), NULL, 0},
        {"chat", OFFER("Chat, chat"), "chat", 0},
        {"chat", OFFER("cha"), NULL, 0},
        {"a", OFFER(""), NULL, ERR_HTTP_EXTENSION},
        {"a", OFFER("a,"), NULL, ERR_HTTP_EXTENSION},
        {"a", OFFER("a,,b"), NULL, ERR_HTTP_EXTENSION},
        {"a", OFFER("a b"), NULL, ERR_HTTP_EXTENSION},
        {"a", OFFER("a,\"b\""), NULL, ERR_HTTP_EXTENSION},
        {"a", OFFER("a/1"), NULL, ERR_HTTP_EXTENSION},
        {"a", OFFER("a, b, a"), NULL, ERR_HTTP_EXTENSION},
        {"", OFFER("a") OFFER("a"), NULL, ERR_HTTP_EXTENSION},
        {"z", OFFER("0,1,2,3,4,5,6,7,8,9,a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u") OFFER("z"), "z", 0},
        {"z", OFFER("0,1,2,3,4,5,6,7,8,9,a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v") OFFER("z"), NULL,
         ERR_HTTP_EXTENSION},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct http1_head head;
        struct slice chosen = SLICE("untouched");
        char text[400];
        int size = snprintf(text, sizeof text, "GET / HTTP/1.1\r\n%s\r\n", rows[i].headers);
        assert_int_equal(http1_request(text, (size_t)size, &limits, NULL, &head), size);
        int err = upgrade_subprotocol(&head, rows[i].ours, &chosen);
        const char *expected = rows[i].err ? "untouched" : rows[i].chosen;
        bool right = expected ? slice_is(chosen, expected) : chosen.at == NULL;
        if (err != rows[i].err || !right)
            fail_msg("%s, \"%.*s\": %s", err_name(err), (int)chosen.size, chosen.at, rows[i].headers);
        bool ours = chosen.at >= rows[i].ours && chosen.at < rows[i].ours + strlen(rows[i].ours);
        assert_true(ours || err < 0 || chosen.at == NULL); /* the answer is not made of the request's bytes */
    }
}

static void lists_of_subprotocols_are_validated(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        bool valid;
    } rows[] = {
        {"", true},   {"a", true},    {"a, b.c", true}, {"a,", false},
        {" ", false}, {"a b", false}, {"a,a", false},   {"a\r\nX: y", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(upgrade_subprotocols_valid(rows[i].list), rows[i].valid);
}

/* Every error that has an HTTP status is refused with it, and the body is as long as it says. */
static void refusals_are_whole_responses(void **state)
{
    (void)state;
    for (int err = -1; err >= -ERR_ROWS; err--) {
        struct buf out = {0};
        struct http1_head head;
        upgrade_refuse(err, 0, &out);
        int size = http1_response((const char *)out.at, out.size, &limits, NULL, &head);
        assert_true(size > 0);
        assert_int_equal(head.status, err_http_status(err) ? err_http_status(err) : 500);
        assert_true(http1_has_token(&head, "Connection", "close"));
        assert_null(http1_value(&head, "Retry-After").at);
        assert_int_equal(strtoul(http1_value(&head, "Content-Length").at, NULL, 10), out.size - (size_t)size);
        assert_memory_equal(out.at + size, err_text(err), strlen(err_text(err)));
        buf_free(&out);
    }
}

static void check_refusal_has(int err, unsigned retry_after_s, const char *line)
{
    struct buf out = {0};
    upgrade_refuse(err, retry_after_s, &out);
    assert_non_null(strstr(text_of(&out), line));
    buf_free(&out);
}

static void refusals_carry_what_their_status_needs(void **state)
{
    (void)state;
    check_refusal_has(ERR_HTTP_WS_VERSION, 0, "HTTP/1.1 426 Upgrade Required\r\n");
    check_refusal_has(ERR_HTTP_WS_VERSION, 0, "\r\nSec-WebSocket-Version: 13\r\n");
    check_refusal_has(ERR_HTTP_NOT_UPGRADE, 0, "\r\nUpgrade: websocket\r\n");
    check_refusal_has(ERR_HTTP_METHOD, 0, "\r\nAllow: GET\r\n");
    check_refusal_has(ERR_CAPACITY, 7, "HTTP/1.1 503 Service Unavailable\r\n");
    check_refusal_has(ERR_CAPACITY, 7, "\r\nRetry-After: 7\r\n");
    check_refusal_has(ERR_ADDRESS, 7, "HTTP/1.1 429 Too Many Requests\r\n");
    check_refusal_has(ERR_ADDRESS, 7, "\r\nRetry-After: 7\r\n");
    check_refusal_has(ERR_TOKEN, 7, "HTTP/1.1 401 Unauthorized\r\n");
    check_refusal_has(ERR_TOKEN, 7, "\r\nWWW-Authenticate: Bearer\r\n");
    check_refusal_has(ERR_ORIGIN, 7, "HTTP/1.1 403 Forbidden\r\n");
}

static void keys_are_base64_of_16_bytes(void **state)
{
    (void)state;
    char made[UPGRADE_KEY_SIZE + 1];
    upgrade_make_key((const uint8_t *)"the sample nonce", made);
    assert_string_equal(made, key);
}

static void a_request_passes_the_own_server(void **state)
{
    (void)state;
    struct buf out = {0};
    struct http1_head head;
    struct upgrade_ask ask = {.host = "host:80",
                              .target = "/feed?x=1",
                              .key = key,
                              .origin = "http://o",
                              .token = "s3cret",
                              .subprotocols = "b, a",
                              .extra = SLICE("X: y\r\nZ: z\r\n")};
    upgrade_request(&ask, &out);
    assert_int_equal(http1_request((const char *)out.at, out.size, &limits, NULL, &head), out.size);
    assert_int_equal(upgrade_check_request(&head), 0);
    assert_true(slice_is(head.target, "/feed?x=1"));
    assert_true(slice_is(http1_value(&head, "Host"), "host:80"));
    assert_true(slice_is(http1_value(&head, "Origin"), "http://o"));
    assert_true(slice_is(http1_value(&head, "Z"), "z"));
    assert_true(slice_is(http1_value(&head, "Sec-WebSocket-Protocol"), "b, a"));
    assert_true(token_matches("s3cret", &head, nothing));
    buf_free(&out);
    ask = (struct upgrade_ask){.host = "h", .target = "/", .key = key, .token = "", .subprotocols = ""};
    upgrade_request(&ask, &out);
    assert_int_equal(http1_request((const char *)out.at, out.size, &limits, NULL, &head), out.size);
    assert_int_equal(head.header_count, 5);
    buf_free(&out);
}

#define SWITCH "HTTP/1.1 101 Switching Protocols\r\n"
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

static void responses_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int err;
    } rows[] = {
        {SWITCH UPGRADE CONNECT ACCEPT "\r\n", 0},
        {SWITCH "upgrade: WEBSOCKET\r\nconnection: upgrade\r\n" ACCEPT "Server: x\r\n\r\n", 0},
        {"HTTP/1.1 200 OK\r\n" UPGRADE CONNECT ACCEPT "\r\n", ERR_HTTP_STATUS},
        {"HTTP/1.1 503 Busy\r\n\r\n", ERR_HTTP_STATUS},
        {SWITCH CONNECT ACCEPT "\r\n", ERR_HTTP_NOT_UPGRADE},
        {SWITCH UPGRADE ACCEPT "\r\n", ERR_HTTP_NOT_UPGRADE},
        {SWITCH UPGRADE CONNECT "\r\n", ERR_HTTP_ACCEPT},
        {SWITCH UPGRADE CONNECT "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
         ERR_HTTP_ACCEPT},
        {SWITCH UPGRADE CONNECT "Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", ERR_HTTP_ACCEPT},
        {SWITCH UPGRADE CONNECT ACCEPT "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", ERR_PROTOCOL},
        {SWITCH UPGRADE CONNECT ACCEPT "Sec-WebSocket-Protocol: chat\r\n\r\n", ERR_PROTOCOL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(check_response(rows[i].text, NULL, false), rows[i].err);
}

static void responses_agree_to_what_was_offered(void **state)
{
    (void)state;
    static const struct {
        const char *offered;
        bool extensions;
        const char *headers;
        int err;
    } rows[] = {
        {"a, b", false, "", 0},
        {"a, b", false, OFFER("a"), 0},
        {"a, b", false, OFFER("b"), 0},
        {"a, b", false, OFFER("c"), ERR_PROTOCOL},
        {"a, b", false, OFFER("A"), ERR_PROTOCOL},
        {"a, b", false, OFFER("a, b"), ERR_PROTOCOL},
        {"a, b", false, OFFER("a") OFFER("b"), ERR_PROTOCOL},
        {"a, b", false, OFFER("a") OFFER("a"), ERR_PROTOCOL},
        {"a, b", false, OFFER(""), ERR_PROTOCOL},
        {"", false, OFFER(""), ERR_PROTOCOL},
        {"", false, OFFER("a"), ERR_PROTOCOL},
        {NULL, true, "Sec-WebSocket-Extensions: permessage-deflate\r\n", 0},
        {"a", false, "Sec-WebSocket-Extensions: permessage-deflate\r\n", ERR_PROTOCOL},
        {NULL, true, OFFER("a"), ERR_PROTOCOL},
        {NULL, true, "Content-Length: 0\r\n", 0},
        {NULL, true, "Content-Length: 5\r\n", ERR_PROTOCOL},
        {NULL, true, "Transfer-Encoding: chunked\r\n", ERR_PROTOCOL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[400];
        snprintf(text, sizeof text, SWITCH UPGRADE CONNECT ACCEPT "%s\r\n", rows[i].headers);
        int err = check_response(text, rows[i].offered, rows[i].extensions);
        if (err != rows[i].err)
            fail_msg("%s: row %zu, %s", err_name(err), i, rows[i].headers);
    }
}

static void tokens_come_by_header_or_query(void **state)
{
    (void)state;
    static const struct {
        const char *wanted, *authorization, *query;
        bool matches;
    } rows[] = {
        {"", "", "", true},
        {"", "Bearer x", "token=y", true},
        {"s3cret", "", "", false},
        {"s3cret", "Bearer s3cret", "", true},
        {"s3cret", "bearer   s3cret", "", true},
        {"s3cret", "Bearer s3cre", "", false},
        {"s3cret", "Bearer s3crets", "", false},
        {"s3cret", "Bearer S3cret", "", false},
        {"s3cret", "Bearer s3cret, x", "", false},
        {"s3cret", "Bearer", "", false},
        {"s3cret", "Bearers3cret", "", false},
        {"s3cret", "Basic s3cret", "", false},
        {"s3cret", "s3cret", "", false},
        {"s3cret", "", "token=s3cret", true},
        {"s3cret", "", "key=a&token=s3cret&b", true},
        {"s3cret", "Basic x", "token=s3cret", true},
        {"s3cret", "", "token=%733cret", true},
        {"a b+c/d", "", "token=a%20b%2Bc%2fd", true},
        {"a+b", "", "token=a+b", true},
        {"s3cret", "", "token=", false},
        {"s3cret", "", "token", false},
        {"s3cret", "", "Token=s3cret", false},
        {"s3cret", "", "token=s3cret%00", false},
        {"s3cret", "", "token=s3cret%", false},
        {"s3cret", "", "token=s3cret%2", false},
        {"s3cret", "", "token=%g33cret", false},
        {"s3cret", "", "token=x&token=s3cret", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct http1_head head = {.header_count = 1};
        head.header[0] = (struct http1_header){SLICE("authorization"),
                                               {rows[i].authorization, strlen(rows[i].authorization)}};
        struct slice query = {rows[i].query, strlen(rows[i].query)};
        if (token_matches(rows[i].wanted, &head, query) != rows[i].matches)
            fail_msg("%s: \"%s\" \"%s\"", rows[i].wanted, rows[i].authorization, rows[i].query);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_requests_pass),
        cmocka_unit_test(bad_requests_say_what_is_wrong),
        cmocka_unit_test(the_accept_of_the_rfc),
        cmocka_unit_test(two_threads_do_not_disturb_each_other),
        cmocka_unit_test(the_clients_order_of_subprotocols_decides),
        cmocka_unit_test(lists_of_subprotocols_are_validated),
        cmocka_unit_test(responses_agree_to_what_was_offered),
        cmocka_unit_test(tokens_come_by_header_or_query),
        cmocka_unit_test(refusals_are_whole_responses),
        cmocka_unit_test(refusals_carry_what_their_status_needs),
        cmocka_unit_test(keys_are_base64_of_16_bytes),
        cmocka_unit_test(a_request_passes_the_own_server),
        cmocka_unit_test(responses_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
