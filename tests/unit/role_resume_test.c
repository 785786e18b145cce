/* Where a client is in the history, and what a message moves. */
#include "role/resume.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct replay_recovered word(bool yes, const char *epoch, uint64_t offset)
{
    struct replay_recovered r = {.recovered = yes, .at.offset = offset};
    memcpy(r.at.epoch, epoch, sizeof r.at.epoch);
    return r;
}

static enum resume_arrival arrive(struct resume_place *p, const char *epoch, uint64_t offset)
{
    struct replay_id id = word(true, epoch, offset).at;
    return resume_note(p, &id);
}

static bool hear(struct resume_place *p, bool yes, const char *epoch, uint64_t offset)
{
    struct replay_recovered r = word(yes, epoch, offset);
    return resume_recovered(p, &r);
}

static void from_the_first_word_on(void **state)
{
    (void)state;
    struct resume_place p = {0};
    assert_false(resume_knows(&p));
    assert_false(hear(&p, true, "0000000a", 5));
    assert_true(resume_knows(&p));
    assert_false(resume_behind(&p));
    assert_int_equal(arrive(&p, "0000000a", 6), RESUME_NEW);
    assert_int_equal(arrive(&p, "0000000a", 6), RESUME_SEEN);
    assert_int_equal(arrive(&p, "0000000a", 2), RESUME_SEEN);
    assert_int_equal(p.last.offset, 6);
}

static void what_was_missed_ends(void **state)
{
    (void)state;
    struct resume_place p = {0};
    hear(&p, true, "0000000a", 5);
    assert_true(hear(&p, true, "0000000a", 8));
    assert_true(resume_behind(&p));
    assert_int_equal(arrive(&p, "0000000a", 6), RESUME_MISSED);
    assert_int_equal(arrive(&p, "0000000a", 8), RESUME_MISSED);
    assert_false(resume_behind(&p));
    assert_int_equal(arrive(&p, "0000000a", 9), RESUME_NEW);
}

/* Forward, and into another epoch; a server that is behind the others does not take it back. */
static void a_refusal_moves_it_on(void **state)
{
    (void)state;
    struct resume_place p = {0};
    hear(&p, true, "0000000a", 50);
    assert_false(hear(&p, false, "0000000a", 10));
    assert_int_equal(arrive(&p, "0000000a", 11), RESUME_SEEN);
    assert_false(hear(&p, false, "0000000a", 60));
    assert_int_equal(arrive(&p, "0000000a", 61), RESUME_NEW);
    assert_false(hear(&p, false, "0000000b", 0));
    assert_int_equal(arrive(&p, "0000000b", 1), RESUME_NEW);
    assert_false(hear(&p, true, "0000000c", 3));
    assert_false(resume_behind(&p));
    assert_int_equal(arrive(&p, "0000000d", 1), RESUME_NEW);
}

static void what_it_asks_for(void **state)
{
    (void)state;
    char query[RESUME_QUERY_SIZE];
    struct resume_place places[2] = {0};
    struct resume r = {.acks = true};
    resume_query(&r, 0, query);
    assert_string_equal(query, "acks=1");
    resume_query(&r, 1, query);
    assert_string_equal(query, "");
    r.place = places;
    resume_query(&r, 1, query);
    assert_string_equal(query, "since=");
    hear(&places[0], true, "ffffffff", UINT64_MAX);
    resume_query(&r, 0, query);
    assert_string_equal(query, "since=ffffffff:18446744073709551615&acks=1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_the_first_word_on),
        cmocka_unit_test(what_was_missed_ends),
        cmocka_unit_test(a_refusal_moves_it_on),
        cmocka_unit_test(what_it_asks_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
