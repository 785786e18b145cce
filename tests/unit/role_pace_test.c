/* How often a server looks after its connections, and after how many. */
#include "base/clock.h"
#include "role/pace.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const uint64_t LONG_NS = 10 * NS_PER_S;

static const struct pace seldom = {.others_per_s = 2};

static void short_deadlines_are_looked_for_more_often(void **state)
{
    (void)state;
    struct pace p = {0};
    const uint64_t none[] = {0, LONG_NS, 0}, shorter[] = {LONG_NS, NS_PER_S, 0},
                   least[] = {NS_PER_MS, LONG_NS};
    pace_deadlines(&p, none, 3);
    assert_float_equal(p.others_per_s, 2, 1e-9);
    pace_deadlines(&p, shorter, 3);
    assert_float_equal(p.others_per_s, 4, 1e-9);
    pace_deadlines(&p, least, 2);
    assert_float_equal(p.others_per_s, 10, 1e-9);
}

static void it_is_rare_without_connections(void **state)
{
    (void)state;
    assert_float_equal(pace_tick_s(&seldom, (struct paced){0, 0}, false, LONG_NS), 0.1, 1e-9);
    assert_float_equal(pace_tick_s(&seldom, (struct paced){1, 1}, false, LONG_NS), 0.05, 1e-9);
}

static void a_hundred_times_a_second_with_many_or_when_urgent(void **state)
{
    (void)state;
    assert_float_equal(pace_tick_s(&seldom, (struct paced){500, 0}, false, LONG_NS), 0.01, 1e-9);
    assert_float_equal(pace_tick_s(&seldom, (struct paced){0, 2500}, false, LONG_NS), 0.01, 1e-9);
    assert_float_equal(pace_tick_s(&seldom, (struct paced){0, 1000000}, false, LONG_NS), 0.01, 1e-9);
    assert_float_equal(pace_tick_s(&seldom, (struct paced){0, 0}, true, LONG_NS), 0.01, 1e-9);
}

static void a_short_deadline_is_kept(void **state)
{
    (void)state;
    assert_float_equal(pace_tick_s(&seldom, (struct paced){0, 0}, false, 400 * NS_PER_MS), 0.05, 1e-9);
    assert_float_equal(pace_tick_s(&seldom, (struct paced){0, 0}, false, 0), 0.01, 1e-9);
}

/* Looks a second, where every tick takes so much of the average. */
static struct paced looks(struct paced open, double of_average)
{
    struct pace p = {.ticked_ns = 1, .others_per_s = 2};
    struct paced sum = {0, 0};
    uint64_t now_ns = 1;
    while (now_ns < 10 * NS_PER_S) {
        now_ns += (uint64_t)(pace_tick_s(&p, open, false, LONG_NS) * of_average * NS_PER_S);
        struct paced now = pace_samples(&p, open, now_ns);
        sum.busy += now.busy;
        sum.others += now.others;
    }
    return (struct paced){sum.busy / 10, sum.others / 10};
}

static void assert_near(uint64_t found, uint64_t wanted)
{
    assert_in_range(found, wanted - wanted / 20 - (wanted > 0), wanted + wanted / 50 + 1);
}

static void each_is_looked_at_ten_times_a_second_or_twice(void **state)
{
    (void)state;
    static const uint64_t counts[] = {0, 1, 7, 100, 101, 499, 600};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (int part = 1; part <= 3; part += 2) {
            struct paced open = {counts[i], counts[6 - i]};
            struct paced found = looks(open, part / 2.0);
            assert_near(found.busy, 10 * open.busy);
            assert_near(found.others, 2 * open.others);
        }
}

static void a_hundred_at_most_are_looked_at(void **state)
{
    (void)state;
    struct pace p = {.ticked_ns = 1, .others_per_s = 2};
    struct paced found = pace_samples(&p, (struct paced){100000, 100000}, 10 * NS_PER_S);
    assert_int_equal(found.busy, 100);
    assert_int_equal(found.others, 100);
    found = pace_samples(&p, (struct paced){3, 0}, 20 * NS_PER_S);
    assert_int_equal(found.busy, 3);
    assert_int_equal(found.others, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_deadlines_are_looked_for_more_often),
        cmocka_unit_test(it_is_rare_without_connections),
        cmocka_unit_test(a_hundred_times_a_second_with_many_or_when_urgent),
        cmocka_unit_test(a_short_deadline_is_kept),
        cmocka_unit_test(each_is_looked_at_ten_times_a_second_or_twice),
        cmocka_unit_test(a_hundred_at_most_are_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
