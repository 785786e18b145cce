/* The send queue: partial writes at every offset, gathering limits, dropping, and the life of the ring. */
#include "net/sendq.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct blob *blob_of(const char *text, uint64_t born_ns, uint64_t key)
{
    struct blob *b = blob_new(strlen(text), born_ns, key);
    memcpy(b->bytes, text, strlen(text));
    return b;
}

static void push(struct sendq *q, const char *text)
{
    sendq_push(q, blob_of(text, 0, 0));
}

/* What is still to be sent, as text. */
static const char *contents(const struct sendq *q)
{
    static char text[4096];
    struct iovec v[64];
    size_t used = 0;
    int n = sendq_gather(q, v, 64, SIZE_MAX);
    for (int i = 0; i < n; i++) {
        memcpy(text + used, v[i].iov_base, v[i].iov_len);
        used += v[i].iov_len;
    }
    text[used] = '\0';
    assert_int_equal(used, q->bytes);
    return text;
}

static int tear_down(void **state)
{
    (void)state;
    return blob_bytes_alive() == 0 ? 0 : -1;
}

static void an_empty_queue_owns_nothing(void **state)
{
    (void)state;
    struct sendq q = {0};
    struct iovec v;
    assert_int_equal(sendq_gather(&q, &v, 1, 100), 0);
    assert_int_equal(sendq_settle(&q, 0), 0);
    assert_int_equal(sendq_age_ns(&q, 5), 0);
    assert_int_equal(sendq_drop_oldest(&q, 1), 0);
    assert_int_equal(sendq_drop_key(&q, 1), 0);
    assert_int_equal(sendq_drop_unstarted(&q), 0);
    assert_null(sendq_first_unstarted(&q));
    assert_null(sendq_last_unstarted(&q));
    assert_null(q.ring);
    sendq_free(&q);
}

static void every_cut_of_a_write_leaves_the_rest(void **state)
{
    (void)state;
    const char *all = "abcdefghij";
    for (size_t cut = 0; cut <= 10; cut++) {
        struct sendq q = {0};
        push(&q, "abc"), push(&q, "d"), push(&q, "efghij");
        uint32_t through = sendq_settle(&q, cut);
        assert_int_equal(through, (cut >= 3) + (cut >= 4) + (cut >= 10));
        assert_string_equal(contents(&q), all + cut);
        assert_int_equal(sendq_settle(&q, 10 - cut), 3 - through);
        assert_int_equal(q.count, 0);
        assert_int_equal(q.sent, 0);
        sendq_free(&q);
    }
}

static void byte_by_byte_everything_leaves(void **state)
{
    (void)state;
    struct sendq q = {0};
    push(&q, "abc"), push(&q, "de"), push(&q, "f");
    uint32_t through = 0;
    for (int i = 0; i < 6; i++) {
        assert_string_equal(contents(&q), &"abcdef"[i]);
        through += sendq_settle(&q, 1);
    }
    assert_int_equal(through, 3);
    assert_int_equal(q.bytes, 0);
    sendq_free(&q);
}

static void gathering_stops_at_the_vectors_and_at_the_bytes(void **state)
{
    (void)state;
    struct sendq q = {0};
    struct iovec v[8];
    push(&q, "aaaa"), push(&q, "bbbb"), push(&q, "cccc");
    assert_int_equal(sendq_gather(&q, v, 8, 100), 3);
    assert_int_equal(sendq_gather(&q, v, 2, 100), 2);
    assert_int_equal(sendq_gather(&q, v, 8, 8), 2);
    assert_int_equal(sendq_gather(&q, v, 8, 7), 1);
    assert_int_equal(sendq_gather(&q, v, 8, 1), 1);
    assert_int_equal(v[0].iov_len, 4);
    sendq_settle(&q, 1);
    assert_int_equal(sendq_gather(&q, v, 8, 7), 2);
    assert_int_equal(v[0].iov_len, 3);
    sendq_free(&q);
}

static void the_ring_grows_in_order_wherever_it_begins(void **state)
{
    (void)state;
    for (int offset = 0; offset < 9; offset++) {
        struct sendq q = {0};
        for (int i = 0; i < offset; i++) {
            push(&q, "x");
            sendq_settle(&q, 1);
        }
        char expected[41] = {0};
        for (int i = 0; i < 40; i++) {
            char letter[2] = {(char)('A' + i), 0};
            push(&q, letter);
            expected[i] = letter[0];
        }
        assert_string_equal(contents(&q), expected);
        sendq_free(&q);
    }
}

static void a_small_ring_is_kept_when_it_drains(void **state)
{
    (void)state;
    struct sendq q = {0};
    push(&q, "a");
    struct blob **ring = q.ring;
    sendq_settle(&q, 1);
    for (int i = 0; i < 100; i++) {
        push(&q, "a");
        sendq_settle(&q, 1);
        assert_ptr_equal(q.ring, ring);
    }
    for (int i = 0; i < 64; i++)
        push(&q, "a");
    sendq_settle(&q, 64);
    assert_non_null(q.ring);
    sendq_free(&q);
}

static void a_large_ring_is_freed_when_it_drains(void **state)
{
    (void)state;
    struct sendq q = {0};
    for (int i = 0; i < 513; i++)
        push(&q, "a");
    sendq_settle(&q, 512);
    assert_non_null(q.ring);
    sendq_settle(&q, 1);
    assert_null(q.ring);
    assert_int_equal(q.capacity, 0);
    push(&q, "again");
    assert_string_equal(contents(&q), "again");
    sendq_free(&q);
}

static void a_large_ring_is_freed_when_all_is_dropped(void **state)
{
    (void)state;
    struct sendq q = {0};
    for (int i = 0; i < 513; i++)
        push(&q, "a");
    assert_int_equal(sendq_drop_unstarted(&q), 513);
    assert_null(q.ring);
    sendq_free(&q);
}

static void the_age_is_that_of_the_head(void **state)
{
    (void)state;
    struct sendq q = {0};
    sendq_push(&q, blob_of("a", 100, 0));
    sendq_push(&q, blob_of("b", 300, 0));
    assert_int_equal(sendq_age_ns(&q, 350), 250);
    sendq_settle(&q, 1);
    assert_int_equal(sendq_age_ns(&q, 350), 50);
    assert_int_equal(sendq_age_ns(&q, 200), 0);
    sendq_free(&q);
}

static void dropping_the_oldest_stops_once_enough_is_free(void **state)
{
    (void)state;
    struct sendq q = {0};
    push(&q, "aa"), push(&q, "bb"), push(&q, "cc"), push(&q, "dd");
    assert_int_equal(sendq_drop_oldest(&q, 0), 0);
    assert_int_equal(sendq_drop_oldest(&q, 2), 1);
    assert_string_equal(contents(&q), "bbccdd");
    assert_int_equal(sendq_drop_oldest(&q, 3), 2);
    assert_string_equal(contents(&q), "dd");
    assert_int_equal(sendq_drop_oldest(&q, 1000), 1);
    assert_int_equal(q.bytes, 0);
    sendq_free(&q);
}

static void a_blob_that_has_begun_to_leave_is_never_dropped(void **state)
{
    (void)state;
    struct sendq q = {0};
    push(&q, "aaaa"), push(&q, "bb"), push(&q, "cc");
    sendq_settle(&q, 1);
    assert_int_equal(sendq_drop_oldest(&q, 2), 1);
    assert_string_equal(contents(&q), "aaacc");
    assert_int_equal(sendq_drop_unstarted(&q), 1);
    assert_string_equal(contents(&q), "aaa");
    assert_int_equal(sendq_drop_oldest(&q, 100), 0);
    assert_null(sendq_first_unstarted(&q));
    assert_null(sendq_last_unstarted(&q));
    sendq_free(&q);
}

static void dropping_a_key_keeps_the_order_of_the_others(void **state)
{
    (void)state;
    struct sendq q = {0};
    const struct {
        const char *text;
        uint64_t key;
    } rows[] = {{"a", 7}, {"b", 1}, {"c", 7}, {"d", 0}, {"e", 7}, {"f", 2}};
    for (size_t i = 0; i < 6; i++)
        sendq_push(&q, blob_of(rows[i].text, 0, rows[i].key));
    assert_int_equal(sendq_drop_key(&q, 0), 0);
    assert_int_equal(sendq_drop_key(&q, 9), 0);
    assert_int_equal(sendq_drop_key(&q, 7), 3);
    assert_string_equal(contents(&q), "bdf");
    sendq_free(&q);
}

static void dropping_a_key_spares_the_begun_head(void **state)
{
    (void)state;
    struct sendq q = {0};
    sendq_push(&q, blob_of("aa", 0, 7));
    sendq_push(&q, blob_of("bb", 0, 7));
    sendq_settle(&q, 1);
    assert_int_equal(sendq_drop_key(&q, 7), 1);
    assert_string_equal(contents(&q), "a");
    sendq_free(&q);
}

static void the_front_is_behind_the_begun_head(void **state)
{
    (void)state;
    struct sendq q = {0};
    sendq_push_front(&q, blob_of("bb", 0, 0));
    sendq_push_front(&q, blob_of("aa", 0, 0));
    assert_string_equal(contents(&q), "aabb");
    sendq_settle(&q, 1);
    sendq_push_front(&q, blob_of("--", 0, 0));
    assert_string_equal(contents(&q), "a--bb");
    assert_memory_equal(sendq_first_unstarted(&q)->bytes, "--", 2);
    assert_memory_equal(sendq_last_unstarted(&q)->bytes, "bb", 2);
    sendq_free(&q);
}

static void pushing_to_the_front_of_a_full_ring_grows_it(void **state)
{
    (void)state;
    struct sendq q = {0};
    push(&q, "h1");
    for (int i = 0; i < 7; i++)
        push(&q, "x");
    assert_int_equal(q.count, q.capacity);
    sendq_settle(&q, 1);
    sendq_push_front(&q, blob_of("F", 0, 0));
    assert_string_equal(contents(&q), "1Fxxxxxxx");
    sendq_free(&q);
}

static void a_shared_blob_outlives_the_queue(void **state)
{
    (void)state;
    struct sendq q = {0};
    struct blob *b = blob_of("shared", 0, 0);
    sendq_push(&q, blob_ref(b));
    sendq_push(&q, blob_ref(b));
    assert_int_equal(b->refs, 3);
    sendq_settle(&q, 6);
    assert_int_equal(b->refs, 2);
    sendq_free(&q);
    assert_int_equal(b->refs, 1);
    blob_unref(b);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_empty_queue_owns_nothing),
        TEST(every_cut_of_a_write_leaves_the_rest),
        TEST(byte_by_byte_everything_leaves),
        TEST(gathering_stops_at_the_vectors_and_at_the_bytes),
        TEST(the_ring_grows_in_order_wherever_it_begins),
        TEST(a_small_ring_is_kept_when_it_drains),
        TEST(a_large_ring_is_freed_when_it_drains),
        TEST(a_large_ring_is_freed_when_all_is_dropped),
        TEST(the_age_is_that_of_the_head),
        TEST(dropping_the_oldest_stops_once_enough_is_free),
        TEST(a_blob_that_has_begun_to_leave_is_never_dropped),
        TEST(dropping_a_key_keeps_the_order_of_the_others),
        TEST(dropping_a_key_spares_the_begun_head),
        TEST(the_front_is_behind_the_begun_head),
        TEST(pushing_to_the_front_of_a_full_ring_grows_it),
        TEST(a_shared_blob_outlives_the_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
