#include "wire/url.h"

#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static void check(const char *text, const char *host, uint16_t port, const char *target)
{
    struct url url;
    assert_int_equal(url_parse(text, &url), 0);
    assert_int_equal(url.secure, strncmp(text, "wss:", 4) == 0);
    assert_string_equal(url.host, host);
    assert_int_equal(url.port, port);
    assert_string_equal(url.target, target);
}

static void refuse(const char *text)
{
    struct url url, before;
    memset(&url, 0x5a, sizeof url);
    memcpy(&before, &url, sizeof url);
    if (url_parse(text, &url) != ERR_OPTION_VALUE)
        fail_msg("'%s' was taken", text);
    assert_memory_equal(&url, &before, sizeof url);
}

static void names_and_addresses(void **state)
{
    (void)state;
    check("ws://127.0.0.1:9001/feed", "127.0.0.1", 9001, "/feed");
    check("ws://localhost:1/", "localhost", 1, "/");
    check("ws://example.org:65535/a/b", "example.org", 65535, "/a/b");
}

static void port_and_path_may_be_left_out(void **state)
{
    (void)state;
    check("ws://host", "host", 80, "/");
    check("ws://host/", "host", 80, "/");
    check("ws://host:8080", "host", 8080, "/");
    check("ws://host/feed", "host", 80, "/feed");
}

static void the_query_stays_in_the_target(void **state)
{
    (void)state;
    check("ws://host/feed?key=a&b=:/?", "host", 80, "/feed?key=a&b=:/?");
    check("ws://host?key=a", "host", 80, "/?key=a");
    check("ws://host:7?", "host", 7, "/?");
}

static void v6_addresses_stand_in_brackets(void **state)
{
    (void)state;
    check("ws://[::1]:9001/feed", "::1", 9001, "/feed");
    check("ws://[fe80::1]/", "fe80::1", 80, "/");
    check("ws://[::1]", "::1", 80, "/");
    refuse("ws://::1:9001/");
    refuse("ws://[::1/");
    refuse("ws://[]/");
    refuse("ws://[::1]9001/");
}

static void secure_ones_have_443_by_default(void **state)
{
    (void)state;
    check("wss://host", "host", 443, "/");
    check("wss://host/feed?key=a", "host", 443, "/feed?key=a");
    check("wss://127.0.0.1:80/", "127.0.0.1", 80, "/");
    check("wss://[::1]/", "::1", 443, "/");
    check("wss://[::1]:9001/", "::1", 9001, "/");
    refuse("wss://");
    refuse("wss://host:0/");
}

static void only_ws(void **state)
{
    (void)state;
    refuse("");
    refuse("host:80/feed");
    refuse("http://host/");
    refuse("https://host/");
    refuse("wsss://host/");
    refuse("WS://host/");
    refuse("WSS://host/");
    refuse("ws:/host/");
}

static void a_host_is_needed(void **state)
{
    (void)state;
    refuse("ws://");
    refuse("ws:///feed");
    refuse("ws://:80/feed");
    refuse("ws://?x");
}

static void ports_are_1_to_65535(void **state)
{
    (void)state;
    refuse("ws://host:/");
    refuse("ws://host:0/");
    refuse("ws://host:65536/");
    refuse("ws://host:99999/");
    refuse("ws://host:000080/");
    refuse("ws://host:-1/");
    refuse("ws://host:+1/");
    refuse("ws://host: 1/");
    refuse("ws://host:80x/");
    refuse("ws://host:80:80/");
}

/* What would end the request line, or begin a header of somebody else's choice. */
static void no_blanks_fragments_or_users(void **state)
{
    (void)state;
    refuse("ws://host/a b");
    refuse("ws://host/a\tb");
    refuse("ws://host/\r\nX: y");
    refuse("ws://host/a#b");
    refuse("ws://host#b");
    refuse("ws://ho st/");
    refuse("ws://host\r\nX: y/");
    refuse("ws://user@host/");
}

static void longest_parts(void **state)
{
    (void)state;
    char text[URL_TARGET_MAX + URL_HOST_MAX + 16], host[URL_HOST_MAX + 1], target[URL_TARGET_MAX + 1];
    memset(host, 'h', sizeof host);
    memset(target, 't', sizeof target);
    target[0] = '/';
    host[URL_HOST_MAX - 1] = '\0';
    target[URL_TARGET_MAX - 1] = '\0';
    snprintf(text, sizeof text, "ws://%s%s", host, target);
    check(text, host, 80, target);
    snprintf(text, sizeof text, "ws://%sh%s", host, target);
    refuse(text);
    snprintf(text, sizeof text, "ws://%s%st", host, target);
    refuse(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_addresses),
        cmocka_unit_test(port_and_path_may_be_left_out),
        cmocka_unit_test(the_query_stays_in_the_target),
        cmocka_unit_test(v6_addresses_stand_in_brackets),
        cmocka_unit_test(secure_ones_have_443_by_default),
        cmocka_unit_test(only_ws),
        cmocka_unit_test(a_host_is_needed),
        cmocka_unit_test(ports_are_1_to_65535),
        cmocka_unit_test(no_blanks_fragments_or_users),
        cmocka_unit_test(longest_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
