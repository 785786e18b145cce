/* Waits: exact where there is no chance in them, within their borders (and up to them) where there is. */
#include "base/backoff.h"
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { SEEDS = 2000 };

static const uint64_t s = NS_PER_S, ms = NS_PER_MS;

static void check_waits(const struct backoff *b, const uint64_t *wanted, size_t count)
{
    struct backoff_state state = {0};
    struct rng rng;
    rng_seed(&rng, 1);
    for (size_t i = 0; i < count; i++) {
        uint64_t wait = backoff_next(b, &state, &rng);
        if (wait != wanted[i])
            fail_msg("attempt %zu: %llu, not %llu", i + 1, (unsigned long long)wait,
                     (unsigned long long)wanted[i]);
    }
    assert_int_equal(state.attempts, count);
}

static void fixed_is_the_same_each_time(void **test)
{
    (void)test;
    const struct backoff b = {.base_ns = 7 * s, .cap_ns = s};
    check_waits(&b, (uint64_t[]){7 * s, 7 * s, 7 * s}, 3);
}

static void exponential_grows_to_the_cap(void **test)
{
    (void)test;
    struct backoff b = {.shape = BACKOFF_EXPONENTIAL, .base_ns = s, .cap_ns = 30 * s, .factor = 2};
    check_waits(&b, (uint64_t[]){s, 2 * s, 4 * s, 8 * s, 16 * s, 30 * s, 30 * s}, 7);
    b.factor = 1.6;
    b.cap_ns = 2 * s;
    check_waits(&b, (uint64_t[]){s, 1600 * ms, 2 * s}, 3);
    b.factor = 1;
    check_waits(&b, (uint64_t[]){s, s, s}, 3);
}

static void the_last_of_a_list_repeats(void **test)
{
    (void)test;
    const struct backoff b = {.shape = BACKOFF_LIST, .delay_ns = {0, 2 * s, 10 * s}, .delays = 3};
    check_waits(&b, (uint64_t[]){0, 2 * s, 10 * s, 10 * s, 10 * s}, 5);
}

static void a_million_attempts_do_not_overflow(void **test)
{
    (void)test;
    const uint64_t most = 1ULL << 53;
    struct backoff b = {
        .base_ns = s, .cap_ns = most, .factor = 1e9, .delay_ns = {most}, .delays = 1, .spread = 1};
    for (int shape = BACKOFF_FIXED; shape <= BACKOFF_LIST; shape++) {
        struct backoff_state state = {0};
        struct rng rng;
        rng_seed(&rng, 5);
        b.shape = (enum backoff_shape)shape;
        b.jitter = JITTER_SPREAD;
        for (int i = 0; i < 1000 * 1000; i++)
            if (backoff_next(&b, &state, &rng) > 2 * most)
                fail_msg("shape %d, attempt %d", shape, i + 1);
        assert_int_equal(state.attempts, 1000 * 1000);
    }
}

static void nothing_grown_for_ever_is_nothing(void **test)
{
    (void)test;
    const struct backoff b = {.shape = BACKOFF_EXPONENTIAL, .cap_ns = s, .factor = 1e300};
    check_waits(&b, (uint64_t[]){0, 0, 0, 0}, 4);
}

/* Attempt `attempt` of many clients lies in [from, to) and comes near both ends. */
static void check_borders(const struct backoff *b, uint64_t attempt, uint64_t from, uint64_t to)
{
    uint64_t least = UINT64_MAX, most = 0, near = (to - from) / 50;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct backoff_state state = {0};
        struct rng rng;
        uint64_t wait = 0;
        rng_seed(&rng, seed);
        while (state.attempts < attempt)
            wait = backoff_next(b, &state, &rng);
        least = wait < least ? wait : least;
        most = wait > most ? wait : most;
    }
    if (least < from || least > from + near || most > to || most < to - near)
        fail_msg("%llu to %llu, not %llu to %llu", (unsigned long long)least, (unsigned long long)most,
                 (unsigned long long)from, (unsigned long long)to);
}

static void each_jitter_has_its_borders(void **test)
{
    (void)test;
    struct backoff b = {.shape = BACKOFF_EXPONENTIAL,
                        .base_ns = s,
                        .cap_ns = 30 * s,
                        .factor = 2,
                        .spread = 0.2,
                        .added_ns = 500 * ms};
    b.jitter = JITTER_FULL;
    check_borders(&b, 3, 0, 4 * s);
    check_borders(&b, 9, 0, 30 * s);
    b.jitter = JITTER_EQUAL;
    check_borders(&b, 3, 2 * s, 4 * s);
    b.jitter = JITTER_SPREAD;
    check_borders(&b, 3, 3200 * ms, 4800 * ms);
    b.jitter = JITTER_ADDED;
    check_borders(&b, 3, 4 * s, 4500 * ms);
}

static void decorrelated_goes_from_the_one_before(void **test)
{
    (void)test;
    struct backoff b = {.shape = BACKOFF_DECORRELATED, .base_ns = s, .cap_ns = 1000 * s};
    struct backoff_state state = {0};
    struct rng rng;
    check_borders(&b, 1, s, 3 * s);
    rng_seed(&rng, 3);
    for (uint64_t before = s, i = 0; i < SEEDS; i++) {
        uint64_t wait = backoff_next(&b, &state, &rng);
        assert_true(wait >= s && wait <= 3 * before && wait <= b.cap_ns);
        before = wait;
    }
    b.cap_ns = 2 * s;
    check_borders(&b, 20, s, 2 * s);
}

static void jitter_begins_with_its_attempt(void **test)
{
    (void)test;
    const struct backoff b = {.shape = BACKOFF_LIST,
                              .delay_ns = {0, 300 * ms, 1200 * ms},
                              .delays = 3,
                              .jitter = JITTER_ADDED,
                              .added_ns = s,
                              .jitter_from = 3};
    check_waits(&b, (uint64_t[]){0, 300 * ms}, 2);
    check_borders(&b, 3, 1200 * ms, 2200 * ms);
}

static void a_window_takes_the_place_of_the_first_wait(void **test)
{
    (void)test;
    const struct backoff b = {.shape = BACKOFF_EXPONENTIAL,
                              .base_ns = s,
                              .cap_ns = 30 * s,
                              .factor = 2,
                              .jitter = JITTER_EQUAL,
                              .window_ns = 15 * s};
    struct backoff plain = b;
    struct backoff_state state = {0};
    struct rng rng;
    check_borders(&b, 1, 0, 15 * s);
    check_borders(&b, 2, s, 2 * s);
    plain.jitter = JITTER_NONE;
    rng_seed(&rng, 1);
    backoff_next(&plain, &state, &rng);
    assert_int_equal(backoff_next(&plain, &state, &rng), 2 * s);
    plain.shape = BACKOFF_DECORRELATED;
    check_borders(&plain, 2, s, 3 * s);
}

static void a_budget_is_a_minute_s_worth_and_then_a_token_at_a_time(void **test)
{
    (void)test;
    struct backoff_budget budget = {0};
    const uint64_t at = 1000 * s;
    for (int i = 0; i < 6; i++)
        assert_int_equal(backoff_pay(&budget, 6, at), at);
    assert_int_equal(backoff_pay(&budget, 6, at), at + 10 * s);
    assert_int_equal(backoff_pay(&budget, 6, at + 11 * s), at + 20 * s);
    assert_int_equal(backoff_pay(&budget, 6, at + 45 * s), at + 45 * s);
}

static void a_budget_that_rests_saves_up_a_minute_s_worth_and_no_more(void **test)
{
    (void)test;
    struct backoff_budget budget = {0};
    const uint64_t at = 5000 * s;
    for (int i = 0; i < 3; i++)
        assert_int_equal(backoff_pay(&budget, 2, s), s + (i == 2 ? 30 * s : 0));
    assert_int_equal(backoff_pay(&budget, 2, at), at);
    assert_int_equal(backoff_pay(&budget, 2, at), at);
    assert_int_equal(backoff_pay(&budget, 2, at), at + 30 * s);
}

static void no_budget_is_no_limit(void **test)
{
    (void)test;
    struct backoff_budget budget = {0};
    for (int i = 0; i < 1000; i++)
        assert_int_equal(backoff_pay(&budget, 0, s), s);
    assert_int_equal(backoff_pay(&budget, 1ULL << 53, s), s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_is_the_same_each_time),
        cmocka_unit_test(exponential_grows_to_the_cap),
        cmocka_unit_test(the_last_of_a_list_repeats),
        cmocka_unit_test(a_million_attempts_do_not_overflow),
        cmocka_unit_test(nothing_grown_for_ever_is_nothing),
        cmocka_unit_test(each_jitter_has_its_borders),
        cmocka_unit_test(decorrelated_goes_from_the_one_before),
        cmocka_unit_test(jitter_begins_with_its_attempt),
        cmocka_unit_test(a_window_takes_the_place_of_the_first_wait),
        cmocka_unit_test(a_budget_is_a_minute_s_worth_and_then_a_token_at_a_time),
        cmocka_unit_test(a_budget_that_rests_saves_up_a_minute_s_worth_and_no_more),
        cmocka_unit_test(no_budget_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
