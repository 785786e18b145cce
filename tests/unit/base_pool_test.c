/* The pool: objects do not overlap, come back, and leave the process when nobody needs them. */
#include "base/pool.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

enum { MANY = 5000 };

struct object {
    uint64_t number[5];
};

static struct pool pool = POOL_OF(pool, struct object);
static struct object *held[MANY];
static uint64_t now_ns;

static void take_all(void)
{
    for (uint64_t i = 0; i < MANY; i++) {
        held[i] = pool_take(&pool);
        for (int word = 0; word < 5; word++)
            held[i]->number[word] = i;
    }
}

static void put_every(int step)
{
    for (int i = 0; i < MANY; i += step) {
        if (held[i] != NULL)
            pool_put(&pool, held[i]);
        held[i] = NULL;
    }
}

static void trim(void)
{
    pool_trim(&pool, now_ns += NS_PER_S);
}

/* Whether the page of this address still is the process's. */
static bool is_mapped(void *at)
{
    unsigned char resident;
    return mincore((void *)((uintptr_t)at & ~(uintptr_t)4095), 1, &resident) == 0;
}

static void objects_do_not_overlap(void **state)
{
    (void)state;
    take_all();
    put_every(3);
    for (uint64_t i = 0; i < MANY; i += 3)
        held[i] = memset(pool_take(&pool), 0xFF, sizeof(struct object));
    for (uint64_t i = 0; i < MANY; i++)
        for (int word = 0; word < 5; word++)
            assert_int_equal(held[i]->number[word], i % 3 == 0 ? UINT64_MAX : i);
    put_every(1);
}

static void all_are_aligned(void **state)
{
    (void)state;
    take_all();
    for (int i = 0; i < MANY; i++)
        assert_int_equal((uintptr_t)held[i] % _Alignof(struct object), 0);
    put_every(1);
}

static void what_nobody_needs_goes_back(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip();
#endif
    take_all();
    void *one = held[MANY / 2];
    put_every(1);
    trim();
    assert_true(is_mapped(one)); /* it was needed a moment ago */
    trim();
    assert_false(is_mapped(one));
    assert_int_equal(pool.empties, 0);
}

static void what_is_needed_now_and_then_stays(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip();
#endif
    take_all();
    void *one = held[MANY / 2];
    for (int i = 0; i < 10; i++) {
        put_every(1);
        trim();
        take_all();
        assert_true(is_mapped(one));
    }
    put_every(2);
    trim();
    trim();
    for (int i = 1; i < MANY; i += 2)
        assert_int_equal(held[i]->number[0], i);
    put_every(1);
}

static void it_is_trimmed_once_a_second(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip();
#endif
    take_all();
    put_every(1);
    trim();
    uint32_t empties = pool.empties;
    assert_true(empties > 0);
    pool_trim(&pool, now_ns + NS_PER_S - 1);
    assert_int_equal(pool.empties, empties);
    trim();
    assert_int_equal(pool.empties, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_do_not_overlap),      cmocka_unit_test(all_are_aligned),
        cmocka_unit_test(what_nobody_needs_goes_back), cmocka_unit_test(what_is_needed_now_and_then_stays),
        cmocka_unit_test(it_is_trimmed_once_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
