/* The cookie of a load balancer: what is kept of a Set-Cookie, and what is sent back. */
#include "peer/cookie.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static struct cookie cookie;

static bool take(const char *text)
{
    return cookie_take(&cookie, (struct slice){text, strlen(text)});
}

static void check_told(const char *line)
{
    struct buf out = {0};
    cookie_tell(&cookie, &out);
    assert_int_equal(out.size, strlen(line));
    assert_memory_equal(buf_reserve(&out, 1) - out.size, line, out.size);
    buf_free(&out);
}

static int set_up(void **state)
{
    (void)state;
    cookie = (struct cookie){0};
    return 0;
}

static void the_pair_is_kept_and_the_rest_is_not(void **state)
{
    (void)state;
    check_told("");
    assert_true(take("node=a; path=/; HttpOnly"));
    check_told("Cookie: node=a\r\n");
    assert_false(take("node = x")); /* a name is a token */
    check_told("Cookie: node=a\r\n");
}

static void a_new_one_takes_its_place(void **state)
{
    (void)state;
    assert_true(take("node=a"));
    assert_true(take("other=\"b=c\";Max-Age=60"));
    check_told("Cookie: other=\"b=c\"\r\n");
}

static void an_empty_or_outlived_one_leaves_none(void **state)
{
    (void)state;
    static const char *const over[] = {"node=; Expires=Thu, 01-Jan-1970 00:00:01 GMT; path=/",
                                       "node=", "node=a; Max-Age=0", "node=a; path=/ ;max-age = -1 "};
    for (size_t i = 0; i < sizeof over / sizeof *over; i++) {
        assert_true(take("node=a"));
        assert_true(take(over[i]));
        check_told("");
    }
}

static void what_is_malformed_changes_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",         ";",         "node",          "=a",        "no de=a", "node=a b",
        "node=a,b", "node=\x01", "node=\xc3\xa4", "node=a\\b", "node;=a"};
    assert_true(take("node=a"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(take(bad[i]));
    check_told("Cookie: node=a\r\n");
}

static void the_longest(void **state)
{
    (void)state;
    char text[COOKIE_MAX + 2] = "n=";
    memset(text + 2, 'x', COOKIE_MAX - 2);
    assert_true(take(text));
    assert_int_equal(cookie.size, COOKIE_MAX);
    text[COOKIE_MAX] = 'x';
    cookie = (struct cookie){0};
    assert_false(take(text));
    assert_int_equal(cookie.size, 0);
}

static void the_last_of_an_answer_stays(void **state)
{
    (void)state;
    static const struct http1_limits limits = {1000, 10};
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nset-cookie: a=1; path=/\r\n"
                                 "Set-Cookie: b=2\r\nX: c=3\r\nSet-Cookie: junk\r\n\r\n";
    static struct http1_head head;
    assert_true(http1_response(answer, sizeof answer - 1, &limits, NULL, &head) > 0);
    cookie_hear(&cookie, &head);
    check_told("Cookie: b=2\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_pair_is_kept_and_the_rest_is_not, set_up),
        cmocka_unit_test_setup(a_new_one_takes_its_place, set_up),
        cmocka_unit_test_setup(an_empty_or_outlived_one_leaves_none, set_up),
        cmocka_unit_test_setup(what_is_malformed_changes_nothing, set_up),
        cmocka_unit_test_setup(the_longest, set_up),
        cmocka_unit_test_setup(the_last_of_an_answer_stays, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
