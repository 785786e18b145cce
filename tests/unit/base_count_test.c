#include "base/count.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static struct page page;

static int fresh_page(void **state)
{
    (void)state;
    memset(&page, 0, sizeof page);
    count_use(&page);
    return 0;
}

static void there_is_always_a_page(void **state)
{
    (void)state;
    assert_non_null(count_page);
    count_add(COUNT_messages_in, 1);
    assert_true(count_page->magic == PAGE_MAGIC);
}

static void use_signs_the_page(void **state)
{
    (void)state;
    assert_ptr_equal(count_page, &page);
    assert_true(page.magic == PAGE_MAGIC);
}

static void counts_go_where_they_are_named(void **state)
{
    (void)state;
    count_add(COUNT_messages_in, 3);
    count_add(COUNT_messages_in, 2);
    count_set(COUNT_queue_bytes, 100);
    count_sub(COUNT_queue_bytes, 40);
    assert_int_equal(page.count[COUNT_messages_in], 5);
    assert_int_equal(count_get(COUNT_queue_bytes), 60);
    assert_int_equal(page.count[COUNT_messages_published], 0);
}

static void a_peak_only_rises(void **state)
{
    (void)state;
    count_peak(COUNT_queue_bytes_peak, 10);
    count_peak(COUNT_queue_bytes_peak, 5);
    assert_int_equal(count_get(COUNT_queue_bytes_peak), 10);
    count_peak(COUNT_queue_bytes_peak, 11);
    assert_int_equal(count_get(COUNT_queue_bytes_peak), 11);
}

static void times_go_to_their_histogram(void **state)
{
    (void)state;
    count_time(HIST_fanout_lag, 500);
    assert_int_equal(page.hist[HIST_fanout_lag].count, 1);
    assert_int_equal(page.hist[HIST_fanout_lag].max_ns, 500);
    assert_int_equal(page.hist[HIST_connect_time].count, 0);
}

static void each_close_code_has_a_row(void **state)
{
    (void)state;
    count_close_sent(1013);
    count_close_seen(1000);
    count_close_sent(1013);
    count_close_seen(1013);
    assert_int_equal(page.close[0].code, 1013);
    assert_int_equal(page.close[0].sent, 2);
    assert_int_equal(page.close[0].seen, 1);
    assert_int_equal(page.close[1].code, 1000);
    assert_int_equal(page.close[1].sent, 0);
    assert_int_equal(page.close[1].seen, 1);
    assert_int_equal(page.close[2].code, 0);
}

static void the_last_row_gathers_the_rest(void **state)
{
    (void)state;
    for (int code = 3000; code < 3000 + CLOSE_ROWS + 4; code++)
        count_close_seen(code);
    const struct close_row *last = &page.close[CLOSE_ROWS - 1];
    assert_int_equal(page.close[CLOSE_ROWS - 2].code, 3000 + CLOSE_ROWS - 2);
    assert_int_equal(last->code, 0);
    assert_int_equal(last->seen, 5);
    count_close_seen(3000);
    assert_int_equal(page.close[0].seen, 2);
}

static void no_code_is_gathered_too(void **state)
{
    (void)state;
    count_close_sent(0);
    count_close_sent(-3);
    assert_int_equal(page.close[CLOSE_ROWS - 1].sent, 2);
    assert_int_equal(page.close[0].code, 0);
    assert_int_equal(page.close[0].sent, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_is_always_a_page),
        cmocka_unit_test_setup(use_signs_the_page, fresh_page),
        cmocka_unit_test_setup(counts_go_where_they_are_named, fresh_page),
        cmocka_unit_test_setup(a_peak_only_rises, fresh_page),
        cmocka_unit_test_setup(times_go_to_their_histogram, fresh_page),
        cmocka_unit_test_setup(each_close_code_has_a_row, fresh_page),
        cmocka_unit_test_setup(the_last_row_gathers_the_rest, fresh_page),
        cmocka_unit_test_setup(no_code_is_gathered_too, fresh_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
