/* The schedule of the cuts: the seed alone decides it. */
#include "role/cutter.h"

#include "base/bytes.h"
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { CUTS = 10000, CLIENTS = 10 };

static struct cut first[CUTS], second[CUTS];

static void draw(uint64_t seed, const char *reconnect, struct cut *cuts)
{
    struct swarm_config c;
    struct cut_plan plan;
    char why[256];
    config_defaults(ROLE_SWARM, &c);
    assert_int_equal(config_set(ROLE_SWARM, &c, "reconnect", reconnect, false, why, sizeof why), 0);
    c.clients = CLIENTS;
    c.seed = seed;
    c.kill_rate = 100;
    cut_plan_init(&plan, &c);
    uint64_t at_ns = 0;
    for (size_t i = 0; i < CUTS; i++) {
        cuts[i] = cut_plan_next(&plan, at_ns);
        assert_true(cuts[i].due_ns >= at_ns);
        assert_in_range(cuts[i].client, 0, CLIENTS - 1);
        at_ns = cuts[i].due_ns;
    }
}

static void the_seed_decides(void **state)
{
    (void)state;
    size_t same = 0;
    draw(7, "fixed", first);
    draw(7, "fixed", second);
    for (size_t i = 0; i < CUTS; i++) {
        assert_int_equal(first[i].due_ns, second[i].due_ns);
        assert_int_equal(first[i].client, second[i].client);
        assert_int_equal(first[i].how, second[i].how);
        assert_int_equal(first[i].again, second[i].again);
        assert_int_equal(first[i].again_ns, second[i].again_ns);
    }
    draw(8, "fixed", second);
    for (size_t i = 0; i < CUTS; i++)
        same += first[i].due_ns == second[i].due_ns;
    assert_true(same < CUTS / 100);
}

static void as_many_as_asked_for(void **state)
{
    (void)state;
    size_t of_client[CLIENTS] = {0}, of_how[3] = {0}, cuts = CUTS;
    draw(1, "fixed", first);
    for (size_t i = 0; i < CUTS; i++) {
        of_client[first[i].client]++;
        of_how[first[i].how]++;
        cuts += first[i].again;
        assert_true(first[i].again_ns < 100 * NS_PER_MS);
    }
    double a_second = (double)cuts / ((double)first[CUTS - 1].due_ns / NS_PER_S);
    assert_true(a_second > 90 && a_second < 110);
    for (size_t i = 0; i < CLIENTS; i++)
        assert_in_range(of_client[i], 800, 1200);
    assert_in_range(of_how[CUT_LEAVE], 1000, 1500);
    assert_in_range(of_how[CUT_RESET], 4000, 5500);
    assert_in_range(of_how[CUT_CLOSE], 4000, 5000);
}

static void who_does_not_come_back_is_cut_once(void **state)
{
    (void)state;
    draw(1, "none", first);
    for (size_t i = 0; i < CUTS; i++)
        assert_false(first[i].again);
    double a_second = CUTS / ((double)first[CUTS - 1].due_ns / NS_PER_S);
    assert_true(a_second > 90 && a_second < 110);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_seed_decides),
        cmocka_unit_test(as_many_as_asked_for),
        cmocka_unit_test(who_does_not_come_back_is_cut_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
