#include "role/config.h"

#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static struct server_config server;
static struct swarm_config swarm;
static char why[256];

static int set_up(void **state)
{
    (void)state;
    config_defaults(ROLE_SERVER, &server);
    config_defaults(ROLE_SWARM, &swarm);
    memset(why, 0, sizeof why);
    return 0;
}

static int set_server(const char *name, const char *value)
{
    return config_set(ROLE_SERVER, &server, name, value, false, why, sizeof why);
}

static int set_swarm(const char *name, const char *value)
{
    return config_set(ROLE_SWARM, &swarm, name, value, false, why, sizeof why);
}

/* The refusal has to name the option, what was given and what would do; and nothing has changed. */
static void refuse(const char *name, const char *value, const char *accepted)
{
    struct server_config before = server;
    assert_int_equal(set_server(name, value), ERR_OPTION_VALUE);
    assert_non_null(strstr(why, name));
    assert_non_null(strstr(why, value));
    if (strstr(why, accepted) == NULL)
        fail_msg("'%s' does not say '%s'", why, accepted);
    assert_memory_equal(&server, &before, sizeof server);
}

static void counts(void **state)
{
    (void)state;
    assert_int_equal(set_server("backlog", "10k"), 0);
    assert_int_equal(server.backlog, 10000);
    assert_int_equal(set_server("port", "0"), 0);
    refuse("backlog", "1.5", "a whole number");
    refuse("backlog", "-1", "a whole number");
    refuse("backlog", "many", "a whole number");
    refuse("backlog", "1KiB", "a whole number");
    refuse("backlog", " 1", "a whole number");
}

static void sizes(void **state)
{
    (void)state;
    assert_int_equal(set_server("high_water_mark", "64KiB"), 0);
    assert_int_equal(server.high_water_mark, 65536);
    assert_int_equal(set_server("high_water_mark", "1MB"), 0);
    assert_int_equal(server.high_water_mark, 1000000);
    refuse("high_water_mark", "64 KiB", "a size in bytes");
    refuse("high_water_mark", "64kib", "a size in bytes");
    refuse("high_water_mark", "1s", "a size in bytes");
    refuse("high_water_mark", "0x10", "a size in bytes");
}

static void durations(void **state)
{
    (void)state;
    assert_int_equal(set_server("evict_grace", "250ms"), 0);
    assert_int_equal(server.evict_grace, 250000000);
    assert_int_equal(set_server("evict_grace", "0"), 0);
    assert_int_equal(server.evict_grace, 0);
    refuse("evict_grace", "5", "a duration");
    refuse("evict_grace", "-1s", "a duration");
    refuse("evict_grace", "inf", "a duration");
}

static void rates(void **state)
{
    (void)state;
    assert_int_equal(set_server("feed_rate", "30/m"), 0);
    assert_true(server.feed_rate == 0.5);
    assert_int_equal(set_server("feed_rate", "2.5"), 0);
    assert_true(server.feed_rate == 2.5);
    assert_int_equal(set_swarm("read_rate", "64KiB/s"), 0);
    assert_true(swarm.read_rate == 65536);
    assert_int_equal(set_swarm("read_rate", "64KiB"), ERR_OPTION_VALUE);
    assert_true(swarm.read_rate == 65536);
    refuse("feed_rate", "1/day", "a rate");
    refuse("feed_rate", "nan", "a rate");
}

static void booleans(void **state)
{
    (void)state;
    assert_int_equal(set_server("echo", "true"), 0);
    assert_true(server.echo);
    assert_int_equal(set_server("echo", "false"), 0);
    assert_false(server.echo);
    refuse("echo", "yes", "true or false");
    refuse("echo", "1", "true or false");
    refuse("echo", "TRUE", "true or false");
}

static void choices(void **state)
{
    (void)state;
    static const char *const names[] = {"none", "close", "drop-newest", "drop-oldest", "conflate"};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(set_server("on_overflow", names[i]), 0);
        assert_int_equal(server.on_overflow, i);
    }
    refuse("on_overflow", "clos", "none|close|drop-newest|drop-oldest|conflate");
    refuse("on_overflow", "close|", "none|close");
    refuse("on_overflow", "none|close", "none|close");
    refuse("on_overflow", "drop", "drop-newest");
    assert_int_equal(set_server("on_overflow", ""), ERR_OPTION_VALUE);
}

static void texts(void **state)
{
    (void)state;
    char longest[OPTION_TEXT_MAX + 1];
    memset(longest, 'x', sizeof longest);
    longest[OPTION_TEXT_MAX - 1] = '\0';
    assert_int_equal(set_server("path", longest), 0);
    assert_string_equal(server.path.at, longest);
    longest[OPTION_TEXT_MAX - 1] = 'x';
    longest[OPTION_TEXT_MAX] = '\0';
    assert_int_equal(set_server("path", longest), ERR_OPTION_VALUE);
    assert_int_equal(strlen(server.path.at), OPTION_TEXT_MAX - 1);
    assert_int_equal(set_server("path", ""), 0);
    assert_string_equal(server.path.at, "");
}

static void unknown_names(void **state)
{
    (void)state;
    assert_int_equal(set_server("high_water_marc", "1"), ERR_OPTION_NAME);
    assert_non_null(strstr(why, "high_water_marc"));
    assert_int_equal(set_server("", "1"), ERR_OPTION_NAME);
    assert_int_equal(set_server("url", "ws://host/"), ERR_OPTION_NAME);
    assert_int_equal(set_swarm("high_water_mark", "1"), ERR_OPTION_NAME);
}

/* Any value that its type takes. */
static const char *a_value_of(const struct option *o)
{
    return o->type == OPTION_TEXT ? "x" : o->fallback;
}

static void fixed_options_are_refused_while_running(void **state)
{
    (void)state;
    static void *const configs[] = {[ROLE_SERVER] = &server, [ROLE_SWARM] = &swarm};
    for (enum role role = ROLE_SERVER; role <= ROLE_SWARM; role++) {
        size_t count, live = 0;
        const struct option *o = config_options(role, &count);
        for (size_t i = 0; i < count; i++) {
            int err = config_set(role, configs[role], o[i].name, a_value_of(&o[i]), true, why, sizeof why);
            assert_int_equal(err, o[i].live ? 0 : ERR_OPTION_FIXED);
            if (err < 0)
                assert_non_null(strstr(why, o[i].name));
            live += o[i].live;
        }
        assert_true(live > 0 && live < count);
    }
}

static void a_fixed_option_keeps_its_value(void **state)
{
    (void)state;
    assert_int_equal(config_set(ROLE_SERVER, &server, "port", "99", true, why, sizeof why), ERR_OPTION_FIXED);
    assert_int_equal(server.port, 0);
}

static int set_all(const char *const *settings, bool running)
{
    return config_set_all(ROLE_SERVER, &server, settings, running, why, sizeof why);
}

static void all_at_once(void **state)
{
    (void)state;
    assert_int_equal(
        set_all((const char *[]){"port=99", "echo=true", "path=/a=b", "echo=false", NULL}, false), 0);
    assert_int_equal(server.port, 99);
    assert_false(server.echo);
    assert_string_equal(server.path.at, "/a=b");
    assert_int_equal(set_all(NULL, false), 0);
    assert_int_equal(set_all((const char *[]){NULL}, false), 0);
}

static void check_none(const char *const *settings, bool running, int err, const char *named)
{
    struct server_config before = server;
    assert_int_equal(set_all(settings, running), err);
    assert_non_null(strstr(why, named));
    assert_memory_equal(&server, &before, sizeof server);
}

static void all_or_nothing(void **state)
{
    (void)state;
    check_none((const char *[]){"echo=true", "port=x", NULL}, false, ERR_OPTION_VALUE, "port");
    check_none((const char *[]){"echo=true", "prot=1", NULL}, false, ERR_OPTION_NAME, "prot");
    check_none((const char *[]){"echo=true", "port", NULL}, false, ERR_OPTION_NAME, "port");
    check_none((const char *[]){"echo=true", "=1", NULL}, false, ERR_OPTION_NAME, "");
    check_none((const char *[]){"echo=true", "port=1", NULL}, true, ERR_OPTION_FIXED, "port");
}

static void a_long_name_is_no_name(void **state)
{
    (void)state;
    char setting[300];
    memset(setting, 'n', sizeof setting);
    memcpy(setting + 290, "=1", 3);
    assert_int_equal(set_all((const char *[]){setting, NULL}, false), ERR_OPTION_NAME);
}

static void a_short_why_is_cut_not_overrun(void **state)
{
    (void)state;
    char little[8];
    assert_int_equal(config_set(ROLE_SERVER, &server, "echo", "maybe", false, little, sizeof little),
                     ERR_OPTION_VALUE);
    assert_string_equal(little, "echo: '");
}

static void every_option_is_described(void **state)
{
    (void)state;
    for (enum role role = ROLE_SERVER; role <= ROLE_SWARM; role++) {
        size_t count;
        const struct option *o = config_options(role, &count);
        for (size_t i = 0; i < count; i++) {
            assert_true(strlen(o[i].help) > 10);
            assert_true((o[i].type == OPTION_CHOICE) == (strchr(o[i].choices, '|') != NULL));
            assert_true(strlen(config_type_name(o[i].type)) > 3);
            for (size_t k = 0; k < i; k++)
                assert_string_not_equal(o[i].name, o[k].name);
        }
    }
}

static void roles_by_name(void **state)
{
    (void)state;
    enum role role = ROLE_SERVER;
    assert_int_equal(config_role("swarm", &role), 0);
    assert_int_equal(role, ROLE_SWARM);
    assert_int_equal(config_role("server", &role), 0);
    assert_int_equal(role, ROLE_SERVER);
    assert_int_equal(config_role("serve", &role), ERR_VERB);
    assert_string_equal(config_role_name(ROLE_SWARM), "swarm");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(counts, set_up),
        cmocka_unit_test_setup(sizes, set_up),
        cmocka_unit_test_setup(durations, set_up),
        cmocka_unit_test_setup(rates, set_up),
        cmocka_unit_test_setup(booleans, set_up),
        cmocka_unit_test_setup(choices, set_up),
        cmocka_unit_test_setup(texts, set_up),
        cmocka_unit_test_setup(unknown_names, set_up),
        cmocka_unit_test_setup(fixed_options_are_refused_while_running, set_up),
        cmocka_unit_test_setup(a_fixed_option_keeps_its_value, set_up),
        cmocka_unit_test_setup(all_at_once, set_up),
        cmocka_unit_test_setup(all_or_nothing, set_up),
        cmocka_unit_test_setup(a_long_name_is_no_name, set_up),
        cmocka_unit_test_setup(a_short_why_is_cut_not_overrun, set_up),
        cmocka_unit_test_setup(every_option_is_described, set_up),
        cmocka_unit_test_setup(roles_by_name, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
