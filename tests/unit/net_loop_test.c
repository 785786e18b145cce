/* Work at the end of the turn: order, rounds, cancelling, and that the loop never blocks on work left over.
 */
#include "net/loop.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A turn entry that writes its letter, and adds another entry or itself some times over. */
struct note {
    struct turn turn;
    struct loop *loop;
    char letter;
    struct note *then;
    int again;
};

static char written[64];

static void write_note(struct turn *t)
{
    struct note *n = (struct note *)(void *)t;
    size_t used = strlen(written);
    if (used < sizeof(written) - 1)
        written[used] = n->letter;
    if (n->then)
        loop_at_turn_end(n->loop, &n->then->turn);
    if (n->again-- > 0)
        loop_at_turn_end(n->loop, &n->turn);
}

static struct note note(struct loop *l, char letter)
{
    return (struct note){.loop = l, .letter = letter};
}

static void ready(struct note *n)
{
    turn_init(&n->turn, write_note);
}

static int set_up(void **state)
{
    memset(written, 0, sizeof(written));
    alarm(20); /* a loop that blocks is killed instead of hanging the suite */
    *state = loop_new(ev_loop_new(EVFLAG_AUTO));
    return 0;
}

static int tear_down(void **state)
{
    struct ev_loop *ev = loop_ev(*state);
    loop_free(*state);
    ev_loop_destroy(ev);
    alarm(0);
    return 0;
}

static void entries_run_in_the_order_they_were_asked_for(void **state)
{
    struct note a = note(*state, 'a'), b = note(*state, 'b');
    ready(&a), ready(&b);
    loop_at_turn_end(*state, &b.turn);
    loop_at_turn_end(*state, &a.turn);
    assert_string_equal(written, "");
    ev_run(loop_ev(*state), EVRUN_NOWAIT);
    assert_string_equal(written, "ba");
    ev_run(loop_ev(*state), EVRUN_NOWAIT);
    assert_string_equal(written, "ba");
}

static void asking_twice_is_asking_once(void **state)
{
    struct note a = note(*state, 'a'), b = note(*state, 'b');
    ready(&a), ready(&b);
    loop_at_turn_end(*state, &a.turn);
    loop_at_turn_end(*state, &b.turn);
    loop_at_turn_end(*state, &a.turn);
    ev_run(loop_ev(*state), EVRUN_NOWAIT);
    assert_string_equal(written, "ab");
}

static void what_an_entry_adds_runs_in_the_next_round(void **state)
{
    struct note a = note(*state, 'a'), b = note(*state, 'b'), c = note(*state, 'c');
    ready(&a), ready(&b), ready(&c);
    a.then = &c;
    loop_at_turn_end(*state, &a.turn);
    loop_at_turn_end(*state, &b.turn);
    ev_run(loop_ev(*state), EVRUN_NOWAIT);
    assert_string_equal(written, "abc");
}

static void an_entry_may_add_itself(void **state)
{
    struct note a = note(*state, 'a');
    ready(&a);
    a.again = 3;
    loop_at_turn_end(*state, &a.turn);
    ev_run(loop_ev(*state), EVRUN_NOWAIT);
    assert_string_equal(written, "aaaa");
}

static void a_cancelled_entry_does_not_run(void **state)
{
    struct note a = note(*state, 'a'), b = note(*state, 'b');
    ready(&a), ready(&b);
    loop_at_turn_end(*state, &a.turn);
    loop_at_turn_end(*state, &b.turn);
    turn_cancel(&a.turn);
    turn_cancel(&a.turn);
    ev_run(loop_ev(*state), EVRUN_NOWAIT);
    assert_string_equal(written, "b");
}

struct canceller {
    struct turn turn;
    struct turn *victim;
};

static void cancel_victim(struct turn *t)
{
    turn_cancel(((struct canceller *)(void *)t)->victim);
}

static void an_entry_may_cancel_one_of_the_same_round(void **state)
{
    struct note a = note(*state, 'a');
    ready(&a);
    struct canceller c = {.victim = &a.turn};
    turn_init(&c.turn, cancel_victim);
    loop_at_turn_end(*state, &c.turn);
    loop_at_turn_end(*state, &a.turn);
    ev_run(loop_ev(*state), EVRUN_NOWAIT);
    assert_string_equal(written, "");
}

static void on_far_timer(struct ev_loop *ev, struct ev_timer *w, int events)
{
    (void)ev, (void)w, (void)events;
}

/* More rounds than one turn has: EVRUN_ONCE would sleep until the timer if work did not keep it awake. */
static void work_left_over_does_not_let_the_loop_block(void **state)
{
    struct ev_loop *ev = loop_ev(*state);
    struct ev_timer far;
    ev_timer_init(&far, on_far_timer, 3600, 0);
    ev_timer_start(ev, &far);
    struct note a = note(*state, 'a');
    ready(&a);
    a.again = 40;
    loop_at_turn_end(*state, &a.turn);
    ev_run(ev, EVRUN_ONCE);
    size_t after_one = strlen(written);
    assert_in_range(after_one, 1, 40);
    while (strlen(written) + after_one <= 41)
        ev_run(ev, EVRUN_ONCE);
    ev_run(ev, EVRUN_NOWAIT);
    assert_int_equal(strlen(written), 41);
    ev_timer_stop(ev, &far);
}

static void the_loop_ends_when_nobody_waits(void **state)
{
    struct note a = note(*state, 'a');
    ready(&a);
    a.again = 40;
    loop_at_turn_end(*state, &a.turn);
    ev_run(loop_ev(*state), 0);
    assert_int_equal(strlen(written), 41);
}

static void on_soon(struct ev_loop *ev, struct ev_timer *w, int events)
{
    (void)ev, (void)events;
    struct note *n = w->data;
    strcat(written, "(");
    loop_at_turn_end(n->loop, &n->turn);
    strcat(written, ")");
}

static void work_asked_for_in_a_callback_waits_for_its_end(void **state)
{
    struct ev_loop *ev = loop_ev(*state);
    struct note a = note(*state, 'a');
    ready(&a);
    struct ev_timer soon;
    ev_timer_init(&soon, on_soon, 0, 0);
    soon.data = &a;
    ev_timer_start(ev, &soon);
    ev_run(ev, EVRUN_ONCE);
    ev_run(ev, EVRUN_NOWAIT);
    assert_string_equal(written, "()a");
}

static void freeing_runs_what_is_due(void **state)
{
    (void)state;
    struct ev_loop *ev = ev_loop_new(EVFLAG_AUTO);
    struct loop *l = loop_new(ev);
    struct note a = note(l, 'a'), b = note(l, 'b');
    ready(&a), ready(&b);
    a.then = &b;
    loop_at_turn_end(l, &a.turn);
    loop_free(l);
    assert_string_equal(written, "ab");
    ev_loop_destroy(ev);
    loop_free(NULL);
}

static void the_clock_moves_on_refresh_and_with_each_turn(void **state)
{
    uint64_t before = clock_now_ns();
    uint64_t refreshed = loop_refresh(*state);
    assert_true(refreshed >= before);
    assert_int_equal(loop_now_ns(*state), refreshed);
    while (clock_now_ns() == refreshed)
        ;
    assert_int_equal(loop_now_ns(*state), refreshed);
    ev_run(loop_ev(*state), EVRUN_NOWAIT);
    assert_true(loop_now_ns(*state) > refreshed);
}

static void the_scratch_memory_can_be_written_to_its_end(void **state)
{
    uint8_t *scratch = loop_scratch(*state);
    memset(scratch, 0xa5, LOOP_SCRATCH_SIZE);
    ev_run(loop_ev(*state), EVRUN_NOWAIT);
    assert_ptr_equal(loop_scratch(*state), scratch);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(entries_run_in_the_order_they_were_asked_for),
        TEST(asking_twice_is_asking_once),
        TEST(what_an_entry_adds_runs_in_the_next_round),
        TEST(an_entry_may_add_itself),
        TEST(a_cancelled_entry_does_not_run),
        TEST(an_entry_may_cancel_one_of_the_same_round),
        TEST(work_left_over_does_not_let_the_loop_block),
        TEST(the_loop_ends_when_nobody_waits),
        TEST(work_asked_for_in_a_callback_waits_for_its_end),
        TEST(freeing_runs_what_is_due),
        TEST(the_clock_moves_on_refresh_and_with_each_turn),
        TEST(the_scratch_memory_can_be_written_to_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
