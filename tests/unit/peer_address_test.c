/* Connections by address: counted while they last, forgotten afterwards. */
#include "peer/address.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MANY = 1000 };

static struct in6_addr number(uint32_t n)
{
    struct in6_addr a = {0};
    memcpy(a.s6_addr + 12, &n, sizeof n);
    return a;
}

static void each_address_has_a_count_of_its_own(void **state)
{
    (void)state;
    struct address_table *t = address_table_new();
    struct in6_addr one = number(1), two = number(2);
    struct address *a = address_enter(t, &one), *b = address_enter(t, &two);
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(address_enter(t, &one), a);
    assert_int_equal(address_count(a), 2);
    assert_int_equal(address_count(b), 1);
    address_leave(t, a);
    assert_int_equal(address_count(a), 1);
    address_leave(t, a);
    address_leave(t, b);
    address_table_free(t);
}

/* Also while the table grows and shrinks; the sanitizers see what would leak. */
static void many_come_and_go(void **state)
{
    (void)state;
    struct address_table *t = address_table_new();
    struct address *held[MANY];
    for (uint32_t i = 0; i < MANY; i++) {
        struct in6_addr from = number(i);
        held[i] = address_enter(t, &from);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        struct in6_addr from = number(i);
        assert_ptr_equal(address_enter(t, &from), held[i]);
        address_leave(t, held[i]);
    }
    for (uint32_t i = 0; i < MANY; i++)
        address_leave(t, held[i]);
    struct in6_addr again = number(7);
    struct address *a = address_enter(t, &again);
    assert_int_equal(address_count(a), 1);
    address_leave(t, a);
    address_table_free(t);
    address_table_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_address_has_a_count_of_its_own),
        cmocka_unit_test(many_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
