/* The reconnect options: what they make of the policy, and what does not fit together. */
#include "role/retry.h"

#include "base/clock.h"
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static struct retry_shared shared;
static char why[256];

static int configure(const char *const *settings)
{
    struct swarm_config config;
    config_defaults(ROLE_SWARM, &config);
    memset(&shared, 0, sizeof shared);
    why[0] = '\0';
    int err = config_set_all(ROLE_SWARM, &config, settings, false, why, sizeof why);
    return err < 0 ? err : retry_configure(&shared, &config, why, sizeof why);
}

#define SETTINGS(...)                                                                                        \
    (const char *const[])                                                                                    \
    {                                                                                                        \
        __VA_ARGS__, NULL                                                                                    \
    }

static void nobody_comes_back_by_default(void **state)
{
    (void)state;
    assert_int_equal(configure(NULL), 0);
    assert_int_equal(shared.policy, RETRY_NEVER);
    assert_true(shared.honour);
}

static void the_choices_are_the_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *setting;
        enum backoff_shape shape;
    } rows[] = {{"reconnect=fixed", BACKOFF_FIXED},
                {"reconnect=exponential", BACKOFF_EXPONENTIAL},
                {"reconnect=decorrelated", BACKOFF_DECORRELATED},
                {"reconnect=list", BACKOFF_LIST}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(configure(SETTINGS(rows[i].setting, "reconnect_delays=1s")), 0);
        assert_int_equal(shared.policy, RETRY_BACKOFF);
        assert_int_equal(shared.backoff.shape, rows[i].shape);
    }
    assert_int_equal(configure(SETTINGS("reconnect=script")), 0);
    assert_int_equal(shared.policy, RETRY_SCRIPT);
}

static void numbers_arrive_in_nanoseconds(void **state)
{
    (void)state;
    assert_int_equal(
        configure(SETTINGS("reconnect=list", "reconnect_delays=0,300ms,1.5s", "reconnect_jitter=spread",
                           "reconnect_spread=25%", "reconnect_jitter_from=3", "reconnect_window=2s",
                           "reconnect_factor=1.6", "reconnect_honour=false")),
        0);
    const struct backoff *b = &shared.backoff;
    assert_int_equal(b->delays, 3);
    assert_int_equal(b->delay_ns[0], 0);
    assert_int_equal(b->delay_ns[1], 300 * NS_PER_MS);
    assert_int_equal(b->delay_ns[2], 1500 * NS_PER_MS);
    assert_int_equal(b->jitter, JITTER_SPREAD);
    assert_true(b->spread == 0.25);
    assert_true(b->factor == 1.6);
    assert_int_equal(b->jitter_from, 3);
    assert_int_equal(b->window_ns, 2 * NS_PER_S);
    assert_false(shared.honour);
}

static void what_does_not_fit_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *set[3];
        const char *why;
    } rows[] = {
        {{"reconnect=exponential", "reconnect_base=0"}, "reconnect_base: 0 is not accepted"},
        {{"reconnect=decorrelated", "reconnect_base=0"}, "reconnect_base: 0 is not accepted"},
        {{"reconnect=exponential", "reconnect_cap=10ms"}, "reconnect_cap: less than reconnect_base"},
        {{"reconnect=exponential", "reconnect_factor=90%"}, "reconnect_factor: less than 1"},
        {{"reconnect=list"}, "reconnect_delays: '' is not accepted"},
        {{"reconnect=list", "reconnect_delays=1s,soon"}, "reconnect_delays: 'soon' is not accepted"},
        {{"reconnect=list", "reconnect_delays=1s,"}, "reconnect_delays: '' is not accepted"},
        {{"reconnect=list", "reconnect_delays=1s,2"}, "'2' is not accepted; give a duration with its unit"},
        {{"reconnect_delays=1s;2s"}, "reconnect_delays: '1s;2s' is not accepted"},
        {{"reconnect=fixed", "reconnect_jitter=spread", "reconnect_spread=101%"},
         "reconnect_spread: more than 100% is not"},
        {{"reconnect=script", "reconnect_window=1s"}, "reconnect_window: not accepted with script"},
        {{"reconnect=sometimes"}, "none|fixed|exponential"},
        {{"reconnect_spread=much"}, "a ratio, such as 1.6 or 50%"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *const *set = SETTINGS(rows[i].set[0], rows[i].set[1], rows[i].set[2]);
        assert_int_equal(configure(set), ERR_OPTION_VALUE);
        if (strstr(why, rows[i].why) == NULL)
            fail_msg("'%s' does not say '%s'", why, rows[i].why);
    }
}

static void a_list_has_an_end(void **state)
{
    (void)state;
    char delays[256] = "reconnect_delays=0";
    for (int i = 1; i < BACKOFF_DELAYS_MAX; i++)
        strcat(delays, ",0");
    assert_int_equal(configure(SETTINGS("reconnect=list", delays)), 0);
    assert_int_equal(shared.backoff.delays, BACKOFF_DELAYS_MAX);
    strcat(delays, ",0");
    assert_int_equal(configure(SETTINGS("reconnect=list", delays)), ERR_OPTION_VALUE);
    assert_non_null(strstr(why, "give at most 64"));
}

static void answers_are_milliseconds_or_never(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",     "5",   "=5",    "5=",   "a=5",   "1=-5",     "1=5s",
        "1= 5", "1=x", "1=1,5", "-1=5", "1=5=5", "1=nevers", "1=9999999999999999999999999"};
    uint64_t client = 42, wait = 42;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (retry_read_answer(bad[i], &client, &wait) != ERR_OPTION_VALUE || client != 42 || wait != 42)
            fail_msg("took '%s'", bad[i]);
    assert_int_equal(retry_read_answer("7=1500", &client, &wait), 0);
    assert_int_equal(client, 7);
    assert_int_equal(wait, 1500 * NS_PER_MS);
    assert_int_equal(retry_read_answer("0=0.5", &client, &wait), 0);
    assert_int_equal(wait, 500 * NS_PER_US);
    assert_int_equal(retry_read_answer("0=never", &client, &wait), 0);
    assert_true(wait == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_comes_back_by_default),
        cmocka_unit_test(the_choices_are_the_shapes),
        cmocka_unit_test(numbers_arrive_in_nanoseconds),
        cmocka_unit_test(what_does_not_fit_is_named),
        cmocka_unit_test(a_list_has_an_end),
        cmocka_unit_test(answers_are_milliseconds_or_never),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
