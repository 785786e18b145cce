#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void all_zero_is_empty_and_free(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_append(&b, NULL, 0);
    buf_consume(&b, 0);
    assert_null(b.at);
    buf_free(&b);
    buf_free(&b);
}

static void reserve_gives_room_but_uses_none(void **state)
{
    (void)state;
    struct buf b = {0};
    uint8_t *room = buf_reserve(&b, 1000);
    assert_ptr_equal(room, b.at);
    assert_int_equal(b.size, 0);
    assert_true(b.capacity >= 1000);
    memset(room, 'x', 1000);
    b.size = 1000;
    assert_non_null(buf_reserve(&b, 0));
    room = buf_reserve(&b, 5000);
    assert_ptr_equal(room, b.at + 1000);
    assert_int_equal(b.at[999], 'x');
    buf_free(&b);
}

static void append_byte_by_byte_keeps_order(void **state)
{
    (void)state;
    struct buf b = {0};
    for (int i = 0; i < 10000; i++)
        buf_append(&b, &(uint8_t){(uint8_t)(i * 7)}, 1);
    assert_int_equal(b.size, 10000);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(b.at[i], (uint8_t)(i * 7));
    assert_true(b.capacity < 40000);
    buf_free(&b);
}

static void printf_appends_without_the_terminator(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_append(&b, "a", 1);
    buf_printf(&b, "%s", "");
    buf_printf(&b, "%d-%s", 42, "xyz");
    buf_printf(&b, "%0200d", 1);
    assert_int_equal(b.size, 1 + 6 + 200);
    assert_memory_equal(b.at, "a42-xyz000", 10);
    assert_int_equal(b.at[206], '1');
    buf_free(&b);
}

static void consume_removes_from_the_front(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_append(&b, "abcdef", 6);
    buf_consume(&b, 2);
    assert_int_equal(b.size, 4);
    assert_memory_equal(b.at, "cdef", 4);
    buf_consume(&b, 4);
    assert_int_equal(b.size, 0);
    buf_append(&b, "x", 1);
    assert_memory_equal(b.at, "x", 1);
    buf_free(&b);
    assert_int_equal(b.capacity, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_zero_is_empty_and_free),
        cmocka_unit_test(reserve_gives_room_but_uses_none),
        cmocka_unit_test(append_byte_by_byte_keeps_order),
        cmocka_unit_test(printf_appends_without_the_terminator),
        cmocka_unit_test(consume_removes_from_the_front),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
