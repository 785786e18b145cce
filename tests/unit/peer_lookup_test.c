/* The look-up that upgrades wait for, driven by a clock of our own. */
#include "peer/lookup.h"

#include "base/count.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

enum { JOBS = 8, TIME = 50 };

static struct lookup lookup;
static struct lookup_terms terms;
static char begun[JOBS + 1], ended[JOBS + 1]; /* the names of jobs, in that order */

static struct job {
    struct lookup_job job;
    char name;
    bool gone; /* not worth a look-up */
} job[JOBS];

static void note(char *text, struct lookup_job *j)
{
    text[strlen(text)] = LIST_OF(j, struct job, job)->name;
}

static bool on_begin(struct lookup *l, struct lookup_job *j)
{
    assert_ptr_equal(l, &lookup);
    if (LIST_OF(j, struct job, job)->gone)
        return false;
    note(begun, j);
    return true;
}

static void on_done(struct lookup *l, struct lookup_job *j)
{
    assert_ptr_equal(l, &lookup);
    note(ended, j);
}

static int set_up(void **state)
{
    (void)state;
    memset(count_page->count, 0, sizeof count_page->count);
    memset(job, 0, sizeof job);
    memset(begun, 0, sizeof begun);
    memset(ended, 0, sizeof ended);
    for (int i = 0; i < JOBS; i++)
        job[i].name = (char)('a' + i);
    terms = (struct lookup_terms){.slots = 2, .time_ns = TIME};
    lookup_init(&lookup, on_begin, on_done);
    return 0;
}

static void add(int count)
{
    for (int i = 0; i < count; i++)
        lookup_add(&lookup, &job[i].job);
}

static void run_at(uint64_t now_ns, const char *begun_so_far, const char *ended_so_far)
{
    lookup_run(&lookup, &terms, now_ns);
    assert_string_equal(begun, begun_so_far);
    assert_string_equal(ended, ended_so_far);
}

static void so_many_at_a_time_first_come_first_served(void **state)
{
    (void)state;
    add(5);
    assert_int_equal(count_get(COUNT_auth_waiting), 5);
    run_at(1000, "ab", "");
    assert_int_equal(count_get(COUNT_auth_waiting), 3);
    run_at(1000 + TIME - 1, "ab", "");
    assert_int_equal(lookup_next_ns(&lookup), 1000 + TIME);
    run_at(1000 + TIME, "abcd", "ab");
    run_at(1000 + 2 * TIME + 7, "abcde", "abcd");
    assert_int_equal(lookup_next_ns(&lookup), 1000 + 3 * TIME + 7); /* a slot that is late begins late */
    run_at(1000 + 3 * TIME + 7, "abcde", "abcde");
    assert_int_equal(lookup_next_ns(&lookup), 0);
    assert_int_equal(count_get(COUNT_auth_started), 5);
    assert_int_equal(count_get(COUNT_auth_waiting), 0);
}

static void who_is_gone_takes_no_slot(void **state)
{
    (void)state;
    job[0].gone = job[2].gone = job[3].gone = true;
    add(5);
    run_at(1, "be", "");
    assert_int_equal(count_get(COUNT_auth_started), 2);
    assert_int_equal(count_get(COUNT_auth_waiting), 0);
}

static void terms_count_from_the_next_one_on(void **state)
{
    (void)state;
    add(4);
    run_at(1000, "ab", "");
    terms = (struct lookup_terms){.slots = 3, .time_ns = 10};
    run_at(1001, "abc", "");
    assert_int_equal(lookup_next_ns(&lookup), 1011); /* before those that began earlier */
    terms.slots = 1;
    run_at(1011, "abc", "c");
    run_at(1000 + TIME, "abcd", "cab");
    terms.slots = 0;
    run_at(1000 + TIME + 10, "abcd", "cabd");
}

static void without_time_all_are_through_at_once(void **state)
{
    (void)state;
    terms.time_ns = 0;
    add(5);
    run_at(1, "abcde", "abcde");
}

static void each_can_be_taken_out(void **state)
{
    (void)state;
    add(3);
    run_at(1, "ab", "");
    for (int i = 0; i < 3; i++)
        assert_ptr_equal(lookup_take(&lookup), &job[i].job);
    assert_null(lookup_take(&lookup));
    assert_int_equal(count_get(COUNT_auth_waiting), 0);
    run_at(1000, "ab", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup(name, set_up)
        TEST(so_many_at_a_time_first_come_first_served),
        TEST(who_is_gone_takes_no_slot),
        TEST(terms_count_from_the_next_one_on),
        TEST(without_time_all_are_through_at_once),
        TEST(each_can_be_taken_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
