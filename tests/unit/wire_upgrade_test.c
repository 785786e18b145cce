#include "base/err.h"
#include "wire/upgrade.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

enum { LIMIT = 8192 };

/* The key and the answer of RFC 6455 section 1.3. */
static const char key[] = "dGhlIHNhbXBsZSBub25jZQ==";
static const char key_accept[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

static int check_request(const char *text)
{
    struct http1_head head;
    assert_int_equal(http1_request(text, strlen(text), LIMIT, &head), strlen(text));
    return upgrade_check_request(&head);
}

static int check_response(const char *text)
{
    struct http1_head head;
    assert_int_equal(http1_response(text, strlen(text), LIMIT, &head), strlen(text));
    return upgrade_check_response(&head, key);
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
        {GET("Host:\r\n" UPGRADE CONNECT KEY VERSION), ERR_HTTP_SYNTAX},
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

static void the_accept_of_the_rfc(void **state)
{
    (void)state;
    struct http1_head head;
    struct buf out = {0};
    const char request[] = GET(HOST UPGRADE CONNECT KEY VERSION);
    assert_true(http1_request(request, strlen(request), LIMIT, &head) > 0);
    upgrade_accept(&head, &out);
    assert_string_equal(text_of(&out), "HTTP/1.1 101 Switching Protocols\r\n"
                                       "Upgrade: websocket\r\n"
                                       "Connection: Upgrade\r\n"
                                       "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                                       "\r\n");
    assert_int_equal(strlen(key_accept), UPGRADE_ACCEPT_SIZE);
    buf_free(&out);
}

/* Every error that has an HTTP status is refused with it, and the body is as long as it says. */
static void refusals_are_whole_responses(void **state)
{
    (void)state;
    for (int err = -1; err >= -ERR_ROWS; err--) {
        struct buf out = {0};
        struct http1_head head;
        upgrade_refuse(err, 0, &out);
        int size = http1_response((const char *)out.at, out.size, LIMIT, &head);
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
    upgrade_request("host:80", "/feed?x=1", "http://o", key, &out);
    assert_int_equal(http1_request((const char *)out.at, out.size, LIMIT, &head), out.size);
    assert_int_equal(upgrade_check_request(&head), 0);
    assert_true(slice_is(head.target, "/feed?x=1"));
    assert_true(slice_is(http1_value(&head, "Host"), "host:80"));
    assert_true(slice_is(http1_value(&head, "Origin"), "http://o"));
    buf_free(&out);
    upgrade_request("h", "/", NULL, key, &out);
    assert_int_equal(http1_request((const char *)out.at, out.size, LIMIT, &head), out.size);
    assert_null(http1_value(&head, "Origin").at);
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
        assert_int_equal(check_response(rows[i].text), rows[i].err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_requests_pass),
        cmocka_unit_test(bad_requests_say_what_is_wrong),
        cmocka_unit_test(the_accept_of_the_rfc),
        cmocka_unit_test(refusals_are_whole_responses),
        cmocka_unit_test(refusals_carry_what_their_status_needs),
        cmocka_unit_test(keys_are_base64_of_16_bytes),
        cmocka_unit_test(a_request_passes_the_own_server),
        cmocka_unit_test(responses_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
