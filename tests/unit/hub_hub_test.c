/* The hub: who gets a broadcast, above all when members come and go while one is being delivered. */
#include "hub/hub.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A subscriber that counts, and once, at its first delivery, does something to the hub. */
struct sub {
    struct member member; /* first: deliver casts back */
    struct hub *hub;
    int got;
    void (*then)(struct sub *);
    struct sub *other;
    char text[8]; /* the first letters of what it got */
};

static struct hub *hub;
static struct hub_owner owner;
static int dues, bursts;
static const struct slice news = {"news", 4};

static void count_delivery(struct member *m, struct burst *b)
{
    struct sub *s = (struct sub *)(void *)m;
    for (uint32_t i = 0; i < b->count; i++)
        if (b->casts[i].except != m)
            s->text[s->got++ % (int)(sizeof s->text - 1)] = b->casts[i].cast.payload.at[0];
    void (*then)(struct sub *) = s->then;
    s->then = NULL;
    if (then)
        then(s);
}

static void count_due(struct hub_owner *o)
{
    (void)o;
    dues++;
}

static void count_burst(struct hub_owner *o, struct burst *b)
{
    (void)o, (void)b;
    bursts++;
}

static struct blob *encode(const struct cast *c, unsigned format)
{
    (void)format;
    struct blob *b = blob_new(c->payload.size, 0, 0);
    memcpy(b->bytes, c->payload.at, c->payload.size);
    return b;
}

static void join(struct sub *s, struct slice topic)
{
    s->member.deliver = count_delivery;
    s->hub = hub;
    hub_join(hub, topic, &s->member);
}

static uint32_t publish_later(struct slice topic, struct slice payload, const struct member *except)
{
    struct cast c = {.payload = payload, .encode = encode};
    uint32_t members = hub_publish(hub, topic, &c, except);
    cast_done(&c);
    return members;
}

static uint32_t publish(struct slice topic)
{
    uint32_t members = publish_later(topic, SLICE("x"), NULL);
    hub_settle(hub);
    return members;
}

/* So much that it does not wait. */
static uint32_t publish_much(struct slice topic)
{
    static char much[1024 * 1024] = "M";
    return publish_later(topic, (struct slice){much, sizeof much}, NULL);
}

static int set_up(void **state)
{
    (void)state;
    hub = hub_new();
    owner = (struct hub_owner){.due = count_due, .handed = count_burst};
    dues = bursts = 0;
    hub_own(hub, &owner);
    return 0;
}

/* hub_free aborts if a test leaves members behind. */
static int tear_down(void **state)
{
    (void)state;
    hub_free(hub);
    return blob_bytes_alive() == 0 ? 0 : -1;
}

static void leave_all(struct sub *subs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hub_leave(hub, &subs[i].member);
}

static void every_member_of_the_topic_gets_it_and_nobody_else(void **state)
{
    (void)state;
    struct sub s[3] = {0};
    join(&s[0], news), join(&s[1], news), join(&s[2], SLICE("newsreel"));
    assert_int_equal(publish(news), 2);
    assert_int_equal(publish(SLICE("new")), 0);
    assert_int_equal(publish(SLICE("")), 0);
    assert_int_equal(s[0].got + s[1].got, 2);
    assert_int_equal(s[2].got, 0);
    leave_all(s, 3);
}

static void the_one_excepted_gets_nothing(void **state)
{
    (void)state;
    struct sub s[2] = {0};
    join(&s[0], news), join(&s[1], news);
    assert_int_equal(publish_later(news, SLICE("x"), &s[0].member), 1);
    hub_settle(hub);
    assert_int_equal(s[0].got, 0);
    assert_int_equal(s[1].got, 1);
    leave_all(s, 2);
}

static void members_are_counted_and_an_empty_topic_is_gone(void **state)
{
    (void)state;
    struct sub s[2] = {0};
    assert_int_equal(hub_members(hub, news), 0);
    join(&s[0], news), join(&s[1], news);
    assert_int_equal(hub_members(hub, news), 2);
    leave_all(s, 2);
    assert_int_equal(hub_members(hub, news), 0);
    assert_null(s[0].member.topic);
    leave_all(s, 2);
}

static void joining_another_topic_leaves_the_first(void **state)
{
    (void)state;
    struct sub s = {0};
    join(&s, news);
    join(&s, SLICE("sport"));
    assert_int_equal(publish(news), 0);
    assert_int_equal(publish(SLICE("sport")), 1);
    join(&s, SLICE("sport"));
    assert_int_equal(publish(SLICE("sport")), 1);
    hub_leave(hub, &s.member);
}

static void a_topic_name_is_bytes_and_not_kept_by_the_caller(void **state)
{
    (void)state;
    struct sub s[2] = {0};
    char name[] = {'a', 0, 'b'};
    join(&s[0], (struct slice){name, 3});
    join(&s[1], (struct slice){"a", 1});
    name[2] = 'c';
    assert_int_equal(publish((struct slice){"a\0b", 3}), 1);
    assert_int_equal(publish((struct slice){name, 3}), 0);
    leave_all(s, 2);
}

/* Every order of leaving, so that each slot is once the one that the last member moves into. */
static void whoever_leaves_the_others_stay(void **state)
{
    (void)state;
    for (int first = 0; first < 5; first++)
        for (int second = 0; second < 5; second++) {
            struct sub s[5] = {0};
            for (int i = 0; i < 5; i++)
                join(&s[i], news);
            hub_leave(hub, &s[first].member);
            hub_leave(hub, &s[second].member);
            assert_int_equal(publish(news), first == second ? 4 : 3);
            for (int i = 0; i < 5; i++)
                assert_int_equal(s[i].got, i != first && i != second);
            leave_all(s, 5);
        }
}

static void many_topics_and_many_members(void **state)
{
    (void)state;
    enum { TOPICS = 100, EACH = 30 };
    static struct sub s[TOPICS * EACH];
    memset(s, 0, sizeof(s));
    char name[16];
    for (int i = 0; i < TOPICS * EACH; i++) {
        int size = snprintf(name, sizeof(name), "t%d", i % TOPICS);
        join(&s[i], (struct slice){name, (size_t)size});
    }
    assert_int_equal(publish(SLICE("t7")), EACH);
    assert_int_equal(hub_members(hub, SLICE("t99")), EACH);
    leave_all(s, TOPICS * EACH);
}

static void leave_self(struct sub *s)
{
    hub_leave(s->hub, &s->member);
}

static void leave_other(struct sub *s)
{
    hub_leave(s->hub, &s->other->member);
}

static void join_other(struct sub *s)
{
    join(s->other, news);
}

static void rejoin_self(struct sub *s)
{
    hub_leave(s->hub, &s->member);
    join(s, news);
}

static void publish_again(struct sub *s)
{
    (void)s;
    publish_much(news);
}

static void publish_again_and_leave(struct sub *s)
{
    publish_much(news);
    hub_leave(s->hub, &s->member);
}

static void a_member_may_leave_while_it_is_delivered_to(void **state)
{
    (void)state;
    for (int who = 0; who < 3; who++) {
        struct sub s[3] = {0};
        for (int i = 0; i < 3; i++)
            join(&s[i], news);
        s[who].then = leave_self;
        assert_int_equal(publish(news), 3);
        assert_int_equal(hub_members(hub, news), 2);
        assert_int_equal(publish(news), 2);
        for (int i = 0; i < 3; i++)
            assert_int_equal(s[i].got, i == who ? 1 : 2);
        leave_all(s, 3);
    }
}

static void all_may_leave_during_the_walk(void **state)
{
    (void)state;
    struct sub s[3] = {0};
    for (int i = 0; i < 3; i++) {
        join(&s[i], news);
        s[i].then = leave_self;
    }
    assert_int_equal(publish(news), 3);
    assert_int_equal(hub_members(hub, news), 0);
    assert_int_equal(publish(news), 0);
}

static void whoever_is_removed_before_its_turn_gets_nothing(void **state)
{
    (void)state;
    struct sub s[3] = {0};
    for (int i = 0; i < 3; i++)
        join(&s[i], news);
    s[0].then = leave_other;
    s[0].other = &s[2];
    publish(news);
    assert_int_equal(s[1].got, 1);
    assert_int_equal(s[2].got, 0);
    leave_all(s, 3);
}

static void whoever_is_removed_long_before_its_turn_gets_nothing(void **state)
{
    (void)state;
    struct sub s[6] = {0};
    for (int i = 0; i < 6; i++)
        join(&s[i], news);
    s[0].then = leave_other;
    s[0].other = &s[4];
    publish(news);
    assert_int_equal(s[4].got, 0);
    assert_int_equal(s[5].got, 1);
    leave_all(s, 6);
}

static void whoever_was_already_served_may_be_removed(void **state)
{
    (void)state;
    struct sub s[3] = {0};
    for (int i = 0; i < 3; i++)
        join(&s[i], news);
    s[1].then = leave_other;
    s[1].other = &s[0];
    assert_int_equal(publish(news), 3);
    assert_int_equal(publish(news), 2);
    assert_int_equal(s[0].got, 1);
    assert_int_equal(s[2].got, 2);
    leave_all(s, 3);
}

/* Four fill the array, so that the fifth moves it under the walker. */
static void whoever_joins_during_the_walk_waits_for_the_next(void **state)
{
    (void)state;
    struct sub s[5] = {0};
    for (int i = 0; i < 4; i++)
        join(&s[i], news);
    s[0].then = join_other;
    s[0].other = &s[4];
    assert_int_equal(publish(news), 4);
    assert_int_equal(s[4].got, 0);
    assert_int_equal(hub_members(hub, news), 5);
    assert_int_equal(publish(news), 5);
    leave_all(s, 5);
}

static void leaving_and_joining_again_is_not_served_twice(void **state)
{
    (void)state;
    struct sub s[2] = {0};
    join(&s[0], news), join(&s[1], news);
    s[0].then = rejoin_self;
    assert_int_equal(publish(news), 2);
    assert_int_equal(s[0].got, 1);
    assert_int_equal(hub_members(hub, news), 2);
    assert_int_equal(publish(news), 2);
    leave_all(s, 2);
}

static void the_last_one_may_leave_and_another_join_the_same_topic(void **state)
{
    (void)state;
    struct sub s[1] = {0};
    join(&s[0], news);
    s[0].then = rejoin_self;
    assert_int_equal(publish(news), 1);
    assert_int_equal(hub_members(hub, news), 1);
    leave_all(s, 1);
}

static void a_member_may_publish_while_it_is_delivered_to(void **state)
{
    (void)state;
    struct sub s[3] = {0};
    for (int i = 0; i < 3; i++)
        join(&s[i], news);
    s[1].then = publish_again;
    assert_int_equal(publish(news), 3);
    for (int i = 0; i < 3; i++)
        assert_string_equal(s[i].text, "xM");
    leave_all(s, 3);
}

static void what_is_published_in_a_walk_is_for_those_who_stay(void **state)
{
    (void)state;
    struct sub s[3] = {0};
    for (int i = 0; i < 3; i++)
        join(&s[i], news);
    s[0].then = publish_again_and_leave;
    s[1].then = leave_self;
    publish(news);
    assert_string_equal(s[0].text, "x");
    assert_string_equal(s[1].text, "x");
    assert_string_equal(s[2].text, "xM");
    assert_int_equal(hub_members(hub, news), 1);
    hub_leave(hub, &s[2].member);
}

static void the_last_ones_may_leave_while_something_waits(void **state)
{
    (void)state;
    struct sub s[2] = {0};
    join(&s[0], news), join(&s[1], news);
    s[0].then = publish_again_and_leave;
    s[1].then = leave_self;
    publish(news);
    assert_int_equal(s[0].got + s[1].got, 2);
    assert_int_equal(hub_members(hub, news), 0);
}

static void a_hole_is_no_member_whoever_is_excepted(void **state)
{
    (void)state;
    struct sub s[3] = {0};
    for (int i = 0; i < 3; i++)
        join(&s[i], news);
    s[0].then = leave_other;
    s[0].other = &s[1];
    publish(news);
    assert_int_equal(publish_later(news, SLICE("x"), &s[2].member), 1);
    leave_all(s, 3);
}

static void whoever_moved_when_holes_were_closed_can_leave(void **state)
{
    (void)state;
    struct sub s[4] = {0};
    for (int i = 0; i < 4; i++)
        join(&s[i], news);
    s[0].then = leave_self;
    publish(news);
    hub_leave(hub, &s[1].member);
    assert_int_equal(publish(news), 2);
    assert_int_equal(s[1].got, 1);
    assert_int_equal(s[2].got, 2);
    assert_int_equal(s[3].got, 2);
    leave_all(s, 4);
}

static void what_is_published_waits_until_it_is_settled(void **state)
{
    (void)state;
    struct sub s[2] = {0};
    join(&s[0], news), join(&s[1], SLICE("sport"));
    assert_int_equal(publish_later(news, SLICE("a"), NULL), 1);
    assert_int_equal(publish_later(SLICE("sport"), SLICE("b"), NULL), 1);
    assert_int_equal(publish_later(news, SLICE("c"), NULL), 1);
    assert_int_equal(s[0].got + s[1].got, 0);
    assert_int_equal(dues, 1);
    hub_settle(hub);
    assert_string_equal(s[0].text, "ac");
    assert_string_equal(s[1].text, "b");
    assert_int_equal(bursts, 2);
    publish_later(news, SLICE("d"), NULL);
    assert_int_equal(dues, 2);
    hub_settle(hub);
    assert_string_equal(s[0].text, "acd");
    leave_all(s, 2);
}

static void one_topic_can_be_settled_alone(void **state)
{
    (void)state;
    struct sub s[2] = {0};
    join(&s[0], news), join(&s[1], SLICE("sport"));
    publish_later(news, SLICE("a"), NULL);
    publish_later(SLICE("sport"), SLICE("b"), NULL);
    hub_settle_topic(hub, s[1].member.topic);
    hub_settle_topic(hub, s[1].member.topic);
    hub_settle_topic(hub, NULL);
    assert_int_equal(s[0].got, 0);
    assert_int_equal(s[1].got, 1);
    hub_settle(hub);
    assert_int_equal(s[0].got, 1);
    assert_int_equal(s[1].got, 1);
    leave_all(s, 2);
}

static void whoever_joins_gets_nothing_that_was_published_before(void **state)
{
    (void)state;
    struct sub s[2] = {0};
    join(&s[0], news);
    publish_later(news, SLICE("a"), NULL);
    join(&s[1], news);
    publish_later(news, SLICE("b"), NULL);
    hub_settle(hub);
    assert_string_equal(s[0].text, "ab");
    assert_string_equal(s[1].text, "b");
    leave_all(s, 2);
}

static void whoever_goes_to_another_topic_gets_what_waited_in_the_first(void **state)
{
    (void)state;
    struct sub s[2] = {0};
    join(&s[0], news), join(&s[1], SLICE("sport"));
    publish_later(news, SLICE("a"), NULL);
    publish_later(SLICE("sport"), SLICE("b"), NULL);
    join(&s[0], SLICE("sport"));
    hub_settle(hub);
    assert_string_equal(s[0].text, "a");
    assert_string_equal(s[1].text, "b");
    leave_all(s, 2);
}

static void whoever_leaves_gets_nothing_that_waits(void **state)
{
    (void)state;
    struct sub s[2] = {0};
    join(&s[0], news), join(&s[1], news);
    publish_later(news, SLICE("a"), NULL);
    hub_leave(hub, &s[0].member);
    hub_settle(hub);
    assert_int_equal(s[0].got, 0);
    assert_int_equal(s[1].got, 1);
    publish_later(news, SLICE("b"), NULL);
    hub_leave(hub, &s[1].member);
    hub_settle(hub);
    assert_int_equal(s[1].got, 1);
}

/* One that comes to lie where the one excepted was. */
static void an_exception_is_not_for_the_next_one_at_its_place(void **state)
{
    (void)state;
    struct sub s[2] = {0};
    join(&s[0], news), join(&s[1], news);
    publish_later(news, SLICE("a"), &s[0].member);
    hub_leave(hub, &s[0].member);
    join(&s[0], news);
    publish_later(news, SLICE("b"), NULL);
    hub_settle(hub);
    assert_string_equal(s[0].text, "b");
    assert_string_equal(s[1].text, "ab");
    leave_all(s, 2);
}

static void much_at_once_does_not_wait(void **state)
{
    (void)state;
    struct sub s = {0};
    join(&s, news);
    publish_much(news);
    assert_int_equal(s.got, 1);
    for (int i = 0; i < 10000; i++)
        publish_later(news, SLICE("x"), NULL);
    assert_in_range(s.got, 5000, 10000);
    hub_settle(hub);
    assert_int_equal(s.got, 10001);
    hub_leave(hub, &s.member);
}

static void freeing_no_hub_is_harmless(void **state)
{
    (void)state;
    hub_free(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(every_member_of_the_topic_gets_it_and_nobody_else),
        TEST(the_one_excepted_gets_nothing),
        TEST(members_are_counted_and_an_empty_topic_is_gone),
        TEST(joining_another_topic_leaves_the_first),
        TEST(a_topic_name_is_bytes_and_not_kept_by_the_caller),
        TEST(whoever_leaves_the_others_stay),
        TEST(many_topics_and_many_members),
        TEST(a_member_may_leave_while_it_is_delivered_to),
        TEST(all_may_leave_during_the_walk),
        TEST(whoever_is_removed_before_its_turn_gets_nothing),
        TEST(whoever_is_removed_long_before_its_turn_gets_nothing),
        TEST(whoever_was_already_served_may_be_removed),
        TEST(whoever_joins_during_the_walk_waits_for_the_next),
        TEST(leaving_and_joining_again_is_not_served_twice),
        TEST(the_last_one_may_leave_and_another_join_the_same_topic),
        TEST(a_member_may_publish_while_it_is_delivered_to),
        TEST(what_is_published_in_a_walk_is_for_those_who_stay),
        TEST(the_last_ones_may_leave_while_something_waits),
        TEST(a_hole_is_no_member_whoever_is_excepted),
        TEST(whoever_moved_when_holes_were_closed_can_leave),
        TEST(what_is_published_waits_until_it_is_settled),
        TEST(one_topic_can_be_settled_alone),
        TEST(whoever_joins_gets_nothing_that_was_published_before),
        TEST(whoever_goes_to_another_topic_gets_what_waited_in_the_first),
        TEST(whoever_leaves_gets_nothing_that_waits),
        TEST(an_exception_is_not_for_the_next_one_at_its_place),
        TEST(much_at_once_does_not_wait),
        TEST(freeing_no_hub_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
