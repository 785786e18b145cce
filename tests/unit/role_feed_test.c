/* Schedules, on a real loop: every time and number is settled by the plan, so each is checked exactly. A plan
 * that began a second ago is due at once; nothing here waits to measure. */
#include "role/feed.h"

#include "base/clock.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <unistd.h>

enum { SEEN_MAX = 4096 };

static struct ev_loop *ev;
static struct loop *loop;
static struct feed *feed;
static struct stamp seen[SEEN_MAX];
static size_t seen_count;
static int finishes;
static size_t expected_size;
static size_t stop_after; /* break the loop then */

static void on_emit(struct feed_owner *owner, const struct stamp *stamp, struct slice payload)
{
    (void)owner;
    struct stamp written;
    assert_true(seen_count < SEEN_MAX);
    assert_int_equal(payload.size, expected_size);
    assert_true(stamp_read((const uint8_t *)payload.at, payload.size, &written));
    assert_true(stamp_intact(&written, (const uint8_t *)payload.at, payload.size));
    assert_memory_equal(&written.sequence, &stamp->sequence, sizeof stamp->sequence);
    assert_int_equal(written.intended_ns, stamp->intended_ns);
    assert_int_equal(written.publisher, stamp->publisher);
    assert_true(clock_now_ns() >= stamp->intended_ns);
    seen[seen_count++] = *stamp;
    if (stop_after > 0 && seen_count >= stop_after) /* several may leave in one turn */
        ev_break(ev, EVBREAK_ALL);
}

static void on_finished(struct feed_owner *owner)
{
    (void)owner;
    finishes++;
    ev_break(ev, EVBREAK_ALL);
}

static struct feed_owner owner = {on_emit, on_finished};

static int set_up(void **state)
{
    (void)state;
    alarm(20);
    ev = ev_loop_new(EVFLAG_AUTO);
    loop = loop_new(ev);
    feed = feed_new(loop, &owner);
    seen_count = 0;
    finishes = 0;
    stop_after = 0;
    expected_size = 100;
    return feed == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    feed_free(feed);
    loop_free(loop);
    ev_loop_destroy(ev);
    alarm(0);
    return 0;
}

/* Runs the plan from one that is all due already, to its end. */
static uint64_t run(const struct feed_plan *plan)
{
    uint64_t start_ns = loop_refresh(loop) - 5 * NS_PER_S;
    int before = finishes;
    feed_run(feed, plan, start_ns);
    ev_run(ev, 0);
    assert_int_equal(finishes, before + 1);
    return start_ns;
}

static void constant_times_are_exact(void **state)
{
    (void)state;
    struct feed_plan plan = {.rate = 1000, .size = 100, .duration_ns = 50 * NS_PER_MS, .publisher = 7};
    uint64_t start_ns = run(&plan);
    assert_int_equal(seen_count, 50);
    for (uint64_t i = 0; i < 50; i++) {
        assert_int_equal(seen[i].publisher, 7);
        assert_int_equal(seen[i].sequence, i);
        assert_int_equal(seen[i].intended_ns, start_ns + i * NS_PER_MS);
    }
}

static void rounding_does_not_add_up(void **state)
{
    (void)state;
    struct feed_plan plan = {.rate = 3, .size = 100, .duration_ns = 4 * NS_PER_S};
    uint64_t start_ns = run(&plan);
    assert_int_equal(seen_count, 12);
    for (uint64_t i = 0; i < 12; i++) {
        uint64_t exact_ns = start_ns + i * NS_PER_S / 3;
        assert_in_range(seen[i].intended_ns, exact_ns - 1, exact_ns + 1);
    }
}

static void more_than_one_burst(void **state)
{
    (void)state;
    struct feed_plan plan = {.rate = 10000, .size = 100, .duration_ns = 200 * NS_PER_MS};
    run(&plan);
    assert_int_equal(seen_count, 2000);
    for (uint64_t i = 0; i < seen_count; i++)
        assert_int_equal(seen[i].sequence, i);
}

static void the_end_is_not_part_of_the_schedule(void **state)
{
    (void)state;
    struct feed_plan plan = {.rate = 10, .size = 100, .duration_ns = NS_PER_S + 1};
    run(&plan);
    assert_int_equal(seen_count, 11);
}

static void a_rate_too_low_for_its_duration_sends_one(void **state)
{
    (void)state;
    struct feed_plan plan = {.rate = 0.01, .size = 100, .duration_ns = NS_PER_S};
    run(&plan);
    assert_int_equal(seen_count, 1);
}

static void poisson_times_are_those_of_the_seed(void **state)
{
    (void)state;
    struct feed_plan plan = {
        .rate = 500, .poisson = true, .size = 100, .duration_ns = 4 * NS_PER_S, .seed = 42};
    uint64_t start_ns = run(&plan);
    struct rng rng;
    double offset_ns = 0;
    size_t count = 0;
    rng_seed(&rng, 42);
    while (offset_ns < 4e9) {
        assert_true(count < seen_count);
        assert_int_equal(seen[count++].intended_ns, start_ns + (uint64_t)offset_ns);
        offset_ns += rng_exponential(&rng, 2e6);
    }
    assert_int_equal(seen_count, count);
    assert_in_range(count, 1800, 2200); /* 4.5 standard deviations; the seed is fixed */
}

static void another_seed_is_another_schedule(void **state)
{
    (void)state;
    struct feed_plan plan = {.rate = 100, .poisson = true, .size = 100, .duration_ns = NS_PER_S, .seed = 1};
    uint64_t first_ns = run(&plan);
    size_t first_count = seen_count;
    plan.seed = 2;
    uint64_t second_ns = run(&plan);
    assert_true(seen[1].intended_ns - first_ns != seen[first_count + 1].intended_ns - second_ns);
}

static void numbers_go_on_with_the_next_plan(void **state)
{
    (void)state;
    struct feed_plan plan = {.rate = 100, .size = 100, .duration_ns = 50 * NS_PER_MS};
    run(&plan);
    plan.size = expected_size = STAMP_SIZE;
    run(&plan);
    assert_int_equal(seen_count, 10);
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(seen[i].sequence, i);
}

static void a_plan_that_is_over_may_run_again(void **state)
{
    (void)state;
    struct feed_plan plan = {.rate = 100, .size = 100, .duration_ns = 50 * NS_PER_MS};
    run(&plan);
    run(&plan);
    assert_int_equal(seen_count, 10);
}

static void the_same_plan_changes_nothing(void **state)
{
    (void)state;
    struct feed_plan plan = {.rate = 1000, .size = 100};
    uint64_t start_ns = loop_refresh(loop);
    feed_run(feed, &plan, start_ns);
    stop_after = 2;
    ev_run(ev, 0);
    feed_run(feed, &plan, start_ns + NS_PER_S / 3);
    stop_after = 5;
    ev_run(ev, 0);
    for (uint64_t i = 0; i < 5; i++)
        assert_int_equal(seen[i].intended_ns, start_ns + i * NS_PER_MS);
}

static void nothing_leaves_before_its_time(void **state)
{
    (void)state;
    struct feed_plan plan = {.rate = 1000, .size = 100, .duration_ns = 5 * NS_PER_MS};
    feed_run(feed, &plan, loop_refresh(loop) + 5 * NS_PER_MS); /* on_emit looks at the clock */
    ev_run(ev, EVRUN_NOWAIT);
    assert_int_equal(seen_count, 0);
    ev_run(ev, 0);
    assert_int_equal(seen_count, 5);
}

static void no_rate_is_silence(void **state)
{
    (void)state;
    struct feed_plan plan = {.rate = 1000, .size = 100};
    feed_run(feed, &plan, loop_refresh(loop) - NS_PER_MS);
    stop_after = 1;
    ev_run(ev, 0);
    size_t before = seen_count;
    plan.rate = 0;
    feed_run(feed, &plan, loop_refresh(loop) - NS_PER_S);
    for (int i = 0; i < 5; i++)
        ev_run(ev, EVRUN_NOWAIT);
    assert_int_equal(seen_count, before);
    assert_int_equal(finishes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(constant_times_are_exact, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rounding_does_not_add_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_than_one_burst, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_end_is_not_part_of_the_schedule, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_rate_too_low_for_its_duration_sends_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(poisson_times_are_those_of_the_seed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_seed_is_another_schedule, set_up, tear_down),
        cmocka_unit_test_setup_teardown(numbers_go_on_with_the_next_plan, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_plan_that_is_over_may_run_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_same_plan_changes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_leaves_before_its_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_rate_is_silence, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
