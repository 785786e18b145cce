/* What a refusal and a Close say about coming back. */
#include "peer/hint.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static void check_header(const char *header, uint64_t seconds)
{
    static const struct http1_limits limits = {1000, 10};
    static struct http1_head head;
    char answer[200];
    int size = snprintf(answer, sizeof answer, "HTTP/1.1 503 Busy\r\n%s\r\n", header);
    assert_int_equal(http1_response(answer, (size_t)size, &limits, NULL, &head), size);
    assert_int_equal(hint_retry_after_ns(&head), seconds * NS_PER_S);
}

static void retry_after_is_seconds(void **state)
{
    (void)state;
    check_header("Retry-After: 120\r\n", 120);
    check_header("retry-after:  1  \r\n", 1);
    check_header("Retry-After: 99999999999999999999999999\r\n", 24 * 3600);
    check_header("", 0);
    check_header("Retry-After:\r\n", 0);
    check_header("Retry-After: 0\r\n", 0);
    check_header("Retry-After: -5\r\n", 0);
    check_header("Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n", 0);
}

static void check_reason(int code, const char *reason, uint64_t window_ms)
{
    struct message close = {MESSAGE_CLOSE, (const uint8_t *)reason, strlen(reason), code};
    assert_int_equal(hint_window_ns(&close), window_ms * NS_PER_MS);
}

static void a_window_is_in_the_reason_of_a_restart(void **state)
{
    (void)state;
    check_reason(1012, "{\"wsb\":\"reconnect\",\"window_ms\":15000}", 15000);
    check_reason(1013, "{\"wsb\":\"reconnect\",\"window_ms\":1}", 1);
    check_reason(1012, "{\"wsb\":\"reconnect\",\"window_ms\": 250 ,\"more\":1}", 250);
    check_reason(1012, "{\"wsb\":\"reconnect\",\"window_ms\":15000", 15000);
    check_reason(1012, "{\"wsb\":\"reconnect\",\"window_ms\":99999999999999999999999}", 24 * 3600 * 1000);
}

static void other_closes_say_nothing(void **state)
{
    (void)state;
    check_reason(1001, "{\"wsb\":\"reconnect\",\"window_ms\":15000}", 0);
    check_reason(1012, "", 0);
    check_reason(1012, "service restart", 0);
    check_reason(1012, "{\"wsb\":\"reconnect\",\"window_ms\":", 0);
    check_reason(1012, "{\"wsb\":\"reconnect\",\"window_ms\":-1}", 0);
    check_reason(1012, "{\"wsb\":\"reconnect\",\"window_ms\":\"5\"}", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(retry_after_is_seconds),
        cmocka_unit_test(a_window_is_in_the_reason_of_a_restart),
        cmocka_unit_test(other_closes_say_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
