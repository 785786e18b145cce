#include "wire/authority.h"
#include "wire/origin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static struct slice slice_of(const char *text)
{
    return text ? (struct slice){text, strlen(text)} : (struct slice){0};
}

static const struct {
    const char *list, *origin; /* NULL: no header */
    bool allowed;
} compared[] = {
    {"", "https://a", true},
    {"", "null", true},
    {"", "nonsense", true},
    {"", NULL, true},
    {"https://a", "https://a", true},
    {"https://a", "HTTPS://A", true},
    {"HTTPS://A", "https://a", true},
    {"https://a", "http://a", false},
    {"https://a", "https://a:443", true},
    {"https://a:443", "https://a", true},
    {"https://a:80", "https://a", false},
    {"http://a", "http://a:80", true},
    {"http://a", "http://a:443", false},
    {"ws://a:80, wss://b:443", "wss://b", true},
    {"https://a:8443", "https://a:8443", true},
    {"https://a:8443", "https://a", false},
    {"https://a:8443", "https://a:08443", true},
    {"https://a.example", "https://a.example.evil", false},
    {"https://a.example", "https://evil.a.example", false},
    {"https://a.example", "https://a.example.", false},
    {"https://a.example", "https://xa.example", false},
    {"https://a", "https://a/", false},
    {"https://a", "https://a/path", false},
    {"https://a", "https://user@a", false},
    {"https://a", "https://a https://b", false},
    {"https://a", "https://a, https://b", false},
    {"https://a", " https://a", false},
    {"https://a", "https:a", false},
    {"https://a", "//a", false},
    {"https://a", "a", false},
    {"https://a", "", false},
    {"https://a", "null", false},
    {"https://a", NULL, false},
    {"https://[::1]:9", "https://[::1]:9", true},
    {"https://[fe80::A]", "https://[fe80::a]:443", true},
    {"chrome-extension://abc", "chrome-extension://abc", true},
    {"chrome-extension://abc", "chrome-extension://abc:80", false},
    {"https://a, https://b:8443", "https://b:8443", true},
    {"https://a,https://b", "https://a", true},
    {"https://a , https://b", "https://a", true},
    {"https://a, https://b", "https://c", false},
    {"null", "null", true},
    {"null", "NULL", false},
    {"null", "", false},
    {"null", NULL, false},
    {"null", "https://null", false},
    {"https://null", "null", false},
    {"absent", NULL, true},
    {"absent", "absent", false},
    {"absent", "", false},
    {"absent", "null", false},
    {"https://a, null, absent", NULL, true},
    {"https://a, null, absent", "null", true},
    {"https://a,", "", false},
};

static void origins_are_compared_as_serialized(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(compared); i++)
        if (origin_allowed(slice_of(compared[i].list), slice_of(compared[i].origin)) != compared[i].allowed)
            fail_msg("\"%s\": %s", compared[i].list, compared[i].origin ? compared[i].origin : "(no header)");
}

static void lists_are_validated(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        bool valid;
    } rows[] = {
        {"", true},
        {"null", true},
        {"absent", true},
        {"https://a.example, http://b:8080 ,null,\tabsent", true},
        {"chrome-extension://abcdef", true},
        {" ", false},
        {",", false},
        {"https://a,", false},
        {"https://a,,https://b", false},
        {"https://a https://b", false},
        {"*", false},
        {"a.example", false},
        {"https://", false},
        {"https://*.example", false},
        {"https://a/", false},
        {"https://a:", false},
        {"https://a:99999", false},
        {"https://u@a", false},
        {"://a", false},
        {"1s://a", false},
        {"Null", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (origin_list_valid(rows[i].list) != rows[i].valid)
            fail_msg("\"%s\"", rows[i].list);
}

static void authorities_are_split(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host; /* NULL: malformed */
        int port;
    } rows[] = {
        {"a", "a", AUTHORITY_NO_PORT},
        {"a.b:0", "a.b", 0},
        {"a:00080", "a", 80},
        {"[::1]", "[::1]", AUTHORITY_NO_PORT},
        {"[::ffff:1.2.3.4]:65535", "[::ffff:1.2.3.4]", 65535},
        {"", NULL, 0},
        {":1", NULL, 0},
        {"a:65536", NULL, 0},
        {"a: 1", NULL, 0},
        {"[", NULL, 0},
        {"[::1]a", NULL, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct slice host = SLICE("untouched");
        int port = 7;
        bool good = authority_split(slice_of(rows[i].text), &host, &port);
        assert_int_equal(good, rows[i].host != NULL);
        assert_true(slice_is(host, good ? rows[i].host : "untouched"));
        assert_int_equal(port, good ? rows[i].port : 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(origins_are_compared_as_serialized),
        cmocka_unit_test(lists_are_validated),
        cmocka_unit_test(authorities_are_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
