#include "wire/redis_url.h"

#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static struct redis_url taken(const char *text)
{
    struct redis_url url;
    char why[128] = "";
    if (redis_url_parse(text, &url, why, sizeof why) != 0)
        fail_msg("'%s': %s", text, why);
    return url;
}

static void refuse(const char *text, const char *part)
{
    struct redis_url url, before;
    char why[128] = "";
    memset(&url, 0x5a, sizeof url);
    memcpy(&before, &url, sizeof url);
    if (redis_url_parse(text, &url, why, sizeof why) != ERR_OPTION_VALUE)
        fail_msg("'%s' was taken", text);
    assert_memory_equal(&url, &before, sizeof url);
    if (strncmp(why, part, strlen(part)) != 0 || why[strlen(part)] != ':')
        fail_msg("'%s': '%s' does not name the %s", text, why, part);
    assert_null(strstr(why, "s3cret"));
}

static void hosts_and_ports(void **state)
{
    (void)state;
    struct redis_url url = taken("redis://127.0.0.1");
    assert_string_equal(url.host, "127.0.0.1");
    assert_int_equal(url.port, 6379);
    assert_int_equal(url.db, 0);
    assert_false(url.secure);
    assert_string_equal(url.user, "");
    assert_string_equal(url.password, "");
    assert_string_equal(url.path, "");
    url = taken("rediss://[::1]:7000/");
    assert_string_equal(url.host, "::1");
    assert_int_equal(url.port, 7000);
    assert_true(url.secure);
    assert_int_equal(taken("redis://localhost:1/15").db, 15);
}

static void users_and_passwords(void **state)
{
    (void)state;
    struct redis_url url = taken("redis://me:p%40ss%3a%2F@h:1/2");
    assert_string_equal(url.user, "me");
    assert_string_equal(url.password, "p@ss:/");
    assert_string_equal(url.host, "h");
    url = taken("redis://:only@h");
    assert_string_equal(url.user, "");
    assert_string_equal(url.password, "only");
    assert_string_equal(taken("redis://:a@b:c@h").password, "a@b:c"); /* the last @ ends it */
}

static void unix_sockets(void **state)
{
    (void)state;
    struct redis_url url = taken("unix:///run/redis/a%20b.sock");
    assert_string_equal(url.path, "/run/redis/a b.sock");
    assert_string_equal(url.host, "");
    url = taken("unix:///s?db=3&password=p%26w&user=u");
    assert_string_equal(url.path, "/s");
    assert_int_equal(url.db, 3);
    assert_string_equal(url.password, "p&w");
    assert_string_equal(url.user, "u");
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    char path[200] = "unix:///";
    memset(path + 8, 'a', 150);
    refuse("", "scheme");
    refuse("http://h", "scheme");
    refuse("REDIS://h", "scheme");
    refuse("redis://", "host");
    refuse("redis://:s3cret@", "host");
    refuse("redis://h:0", "host");
    refuse("redis://h:65536", "host");
    refuse("redis://h:", "host");
    refuse("redis://h/x", "db");
    refuse("redis://h/1/2", "db");
    refuse("redis://h/-1", "db");
    refuse("redis://h/12345678", "db");
    refuse("redis://:s3cret%2@h", "password");
    refuse("redis://:s3cret%00@h", "password");
    refuse("redis://u@h", "password");
    refuse("redis://u%zz:s3cret@h", "user");
    refuse("redis://h?db=1", "parameter");
    refuse("unix://relative", "path");
    refuse("unix:///", "path");
    refuse(path, "path");
    refuse("unix:///s?db=", "db");
    refuse("unix:///s?colour=red", "parameter");
}

static void a_place_for_logs(void **state)
{
    (void)state;
    char text[64];
    struct redis_url url = taken("redis://:s3cret@[::1]:7");
    assert_string_equal(redis_url_place(&url, text, sizeof text), "[::1]:7");
    url = taken("unix:///s?password=s3cret");
    assert_string_equal(redis_url_place(&url, text, sizeof text), "/s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_and_ports),  cmocka_unit_test(users_and_passwords),
        cmocka_unit_test(unix_sockets),     cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(a_place_for_logs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
