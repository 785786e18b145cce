/* The ledger: the sum, and the largest entry, whatever the order of changes. */
#include "hub/ledger.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void an_empty_ledger_has_no_largest(void **state)
{
    (void)state;
    struct ledger l;
    struct ledger_entry e;
    ledger_init(&l);
    ledger_rank(&l);
    ledger_entry_init(&e);
    assert_null(ledger_largest(&l));
    ledger_update(&l, &e, 0);
    assert_null(ledger_largest(&l));
    assert_int_equal(l.total, 0);
}

static void the_largest_is_found_within_a_bin_and_across(void **state)
{
    (void)state;
    struct ledger l;
    struct ledger_entry e[3];
    ledger_init(&l);
    ledger_rank(&l);
    for (int i = 0; i < 3; i++)
        ledger_entry_init(&e[i]);
    ledger_update(&l, &e[0], 1000);
    ledger_update(&l, &e[1], 1023);
    assert_ptr_equal(ledger_largest(&l), &e[1]);
    ledger_update(&l, &e[2], 1024);
    assert_ptr_equal(ledger_largest(&l), &e[2]);
    assert_int_equal(l.total, 3047);
    ledger_update(&l, &e[2], 1);
    assert_ptr_equal(ledger_largest(&l), &e[1]);
    ledger_update(&l, &e[0], 1022);
    ledger_update(&l, &e[1], 1021);
    assert_ptr_equal(ledger_largest(&l), &e[0]);
}

static void an_entry_at_0_is_out_of_the_ledger(void **state)
{
    (void)state;
    struct ledger l;
    struct ledger_entry e;
    ledger_init(&l);
    ledger_rank(&l);
    ledger_entry_init(&e);
    ledger_update(&l, &e, 5);
    ledger_update(&l, &e, 0);
    assert_null(ledger_largest(&l));
    assert_true(list_empty(&e.link));
    assert_int_equal(l.total, 0);
}

static void every_size_has_its_bin(void **state)
{
    (void)state;
    struct ledger l;
    struct ledger_entry small, e;
    ledger_init(&l);
    ledger_rank(&l);
    ledger_entry_init(&small);
    ledger_entry_init(&e);
    ledger_update(&l, &small, 1);
    for (int bit = 1; bit < 64; bit++) {
        ledger_update(&l, &e, 1ULL << bit);
        assert_ptr_equal(ledger_largest(&l), &e);
    }
    ledger_update(&l, &e, 0);
    assert_ptr_equal(ledger_largest(&l), &small);
}

static void a_ledger_is_ranked_when_somebody_asks(void **state)
{
    (void)state;
    struct ledger l;
    struct ledger_entry e;
    ledger_init(&l);
    ledger_entry_init(&e);
    ledger_update(&l, &e, 5);
    assert_int_equal(l.total, 5);
    assert_true(list_empty(&e.link));
    ledger_rank(&l);
    ledger_update(&l, &e, 5);
    assert_int_equal(l.total, 5);
    assert_ptr_equal(ledger_largest(&l), &e);
}

static void random_changes_agree_with_a_plain_search(void **state)
{
    (void)state;
    enum { ENTRIES = 50 };
    struct ledger l;
    struct ledger_entry e[ENTRIES];
    struct rng r;
    ledger_init(&l);
    ledger_rank(&l);
    rng_seed(&r, 1);
    for (int i = 0; i < ENTRIES; i++)
        ledger_entry_init(&e[i]);
    for (int step = 0; step < 5000; step++) {
        ledger_update(&l, &e[rng_next(&r) % ENTRIES], rng_next(&r) >> (rng_next(&r) % 24 + 40));
        uint64_t total = 0, most = 0;
        for (int i = 0; i < ENTRIES; i++) {
            total += e[i].bytes;
            most = e[i].bytes > most ? e[i].bytes : most;
        }
        const struct ledger_entry *largest = ledger_largest(&l);
        assert_int_equal(l.total, total);
        assert_int_equal(largest ? largest->bytes : 0, most);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_ledger_has_no_largest),
        cmocka_unit_test(the_largest_is_found_within_a_bin_and_across),
        cmocka_unit_test(an_entry_at_0_is_out_of_the_ledger),
        cmocka_unit_test(every_size_has_its_bin),
        cmocka_unit_test(a_ledger_is_ranked_when_somebody_asks),
        cmocka_unit_test(random_changes_agree_with_a_plain_search),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
