#include "wire/redis_slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The value of the cluster specification, and what CLUSTER KEYSLOT answers. */
static void crc_and_slots(void **state)
{
    (void)state;
    assert_int_equal(redis_crc16(SLICE("123456789")), 0x31C3);
    assert_int_equal(redis_slot(SLICE("")), 0);
    assert_int_equal(redis_slot(SLICE("foo")), 12182);
    assert_int_equal(redis_slot(SLICE("bar")), 5061);
    assert_int_equal(redis_slot(SLICE("a")), 15495);
}

static void only_a_tag_that_is_not_empty_counts(void **state)
{
    (void)state;
    assert_int_equal(redis_slot(SLICE("{foo}.a")), 12182);
    assert_int_equal(redis_slot(SLICE("x{foo}{bar}")), 12182);
    assert_int_equal(redis_slot(SLICE("foo{}{bar}")), redis_crc16(SLICE("foo{}{bar}")) % REDIS_SLOTS);
    assert_int_equal(redis_slot(SLICE("foo{{bar}}")), redis_slot(SLICE("{bar")));
    assert_int_equal(redis_slot(SLICE("foo{bar")), redis_crc16(SLICE("foo{bar")) % REDIS_SLOTS);
    assert_int_equal(redis_slot(SLICE("{")), redis_crc16(SLICE("{")) % REDIS_SLOTS);
}

static void redirects(void **state)
{
    (void)state;
    struct redis_redirect r;
    assert_true(redis_redirect_parse(SLICE("MOVED 3999 127.0.0.1:6381"), &r));
    assert_false(r.ask);
    assert_int_equal(r.slot, 3999);
    assert_true(slice_is(r.host, "127.0.0.1"));
    assert_int_equal(r.port, 6381);
    assert_true(redis_redirect_parse(SLICE("ASK 0 ::1:7000"), &r));
    assert_true(r.ask);
    assert_true(slice_is(r.host, "::1"));
    assert_true(redis_redirect_parse(SLICE("MOVED 1 :7000"), &r));
    assert_int_equal(r.host.size, 0);
}

static void what_is_no_redirect(void **state)
{
    (void)state;
    struct redis_redirect r;
    assert_false(redis_redirect_parse(SLICE(""), &r));
    assert_false(redis_redirect_parse(SLICE("ERR no"), &r));
    assert_false(redis_redirect_parse(SLICE("MOVED"), &r));
    assert_false(redis_redirect_parse(SLICE("MOVED 16384 h:1"), &r));
    assert_false(redis_redirect_parse(SLICE("MOVED 99999999999 h:1"), &r));
    assert_false(redis_redirect_parse(SLICE("MOVED 1 h"), &r));
    assert_false(redis_redirect_parse(SLICE("MOVED 1 h:"), &r));
    assert_false(redis_redirect_parse(SLICE("MOVED 1 h:0"), &r));
    assert_false(redis_redirect_parse(SLICE("MOVED 1 h:65536"), &r));
    assert_false(redis_redirect_parse(SLICE("MOVED 1 h:1x"), &r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_and_slots),
        cmocka_unit_test(only_a_tag_that_is_not_empty_counts),
        cmocka_unit_test(redirects),
        cmocka_unit_test(what_is_no_redirect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
