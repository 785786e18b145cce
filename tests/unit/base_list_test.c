#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct item {
    int number;
    struct link link;
};

static int take_number(struct link *head)
{
    struct link *l = list_take(head);
    return l ? LIST_OF(l, struct item, link)->number : -1;
}

static void takes_in_order_of_append(void **state)
{
    (void)state;
    struct link head;
    struct item item[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
    link_init(&head);
    assert_true(list_empty(&head));
    assert_null(list_take(&head));
    for (int i = 0; i < 3; i++) {
        link_init(&item[i].link);
        list_append(&head, &item[i].link);
    }
    assert_false(list_empty(&head));
    for (int i = 0; i < 3; i++)
        assert_int_equal(take_number(&head), i);
    assert_int_equal(take_number(&head), -1);
}

static void removes_from_the_middle_and_twice(void **state)
{
    (void)state;
    struct link head;
    struct item item[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
    link_init(&head);
    for (int i = 0; i < 3; i++) {
        link_init(&item[i].link);
        list_append(&head, &item[i].link);
    }
    link_remove(&item[1].link);
    link_remove(&item[1].link);
    assert_true(list_empty(&item[1].link));
    assert_int_equal(take_number(&head), 0);
    assert_int_equal(take_number(&head), 2);
    assert_true(list_empty(&head));
}

static void append_moves_from_another_list(void **state)
{
    (void)state;
    struct link a, b;
    struct item item = {.number = 7};
    link_init(&a);
    link_init(&b);
    link_init(&item.link);
    list_append(&a, &item.link);
    list_append(&b, &item.link);
    list_append(&b, &item.link);
    assert_true(list_empty(&a));
    assert_int_equal(take_number(&b), 7);
    assert_true(list_empty(&b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_in_order_of_append),
        cmocka_unit_test(removes_from_the_middle_and_twice),
        cmocka_unit_test(append_moves_from_another_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
