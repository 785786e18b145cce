/* Queues with the same blobs share one piece of memory; all others are left alone. */
#include "net/joined.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { BLOBS = 4, QUEUES = 3 };

static struct blob *blob[BLOBS];
static struct sendq queue[QUEUES];

static int set_up(void **state)
{
    static const char *text[BLOBS] = {"one", "two", "three", "four"};
    (void)state;
    for (int i = 0; i < BLOBS; i++) {
        blob[i] = blob_new(strlen(text[i]), 0, 0);
        memcpy(blob[i]->bytes, text[i], strlen(text[i]));
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    joined_forget();
    for (int i = 0; i < BLOBS; i++)
        blob_unref(blob[i]);
    for (int i = 0; i < QUEUES; i++)
        sendq_free(&queue[i]);
    return blob_bytes_alive() == 0 ? 0 : -1;
}

static void push(struct sendq *q, int from, int end)
{
    for (; from < end; from++)
        sendq_push(q, blob_ref(blob[from]));
}

static void assert_joined(const struct sendq *q, const char *text)
{
    uint32_t blobs;
    struct iovec piece = joined_front(q, &blobs);
    assert_true(blobs > 1 && blobs <= q->count);
    assert_int_equal(piece.iov_len, strlen(text));
    assert_memory_equal(piece.iov_base, text, strlen(text));
}

static void assert_not_joined(const struct sendq *q)
{
    uint32_t blobs;
    assert_int_equal(joined_front(q, &blobs).iov_len, 0);
}

static void what_two_have_is_joined(void **state)
{
    (void)state;
    for (int i = 0; i < QUEUES; i++)
        push(&queue[i], 0, 3);
    assert_not_joined(&queue[0]);
    assert_joined(&queue[1], "onetwothree");
    assert_joined(&queue[2], "onetwothree");
}

static void one_blob_is_not(void **state)
{
    (void)state;
    push(&queue[0], 0, 1);
    push(&queue[1], 0, 1);
    assert_not_joined(&queue[0]);
    assert_not_joined(&queue[1]);
}

static void a_longer_queue_begins_the_same(void **state)
{
    (void)state;
    push(&queue[0], 0, 2);
    push(&queue[1], 0, 2);
    push(&queue[2], 0, 4);
    assert_not_joined(&queue[0]);
    assert_joined(&queue[1], "onetwo");
    assert_joined(&queue[2], "onetwo");
}

static void another_order_is_another_queue(void **state)
{
    (void)state;
    push(&queue[0], 0, 2);
    push(&queue[1], 0, 2);
    push(&queue[2], 1, 2);
    push(&queue[2], 0, 1);
    assert_not_joined(&queue[0]);
    assert_joined(&queue[1], "onetwo");
    assert_not_joined(&queue[2]);
}

static void what_has_left_of_the_first_is_left_out(void **state)
{
    (void)state;
    for (int i = 0; i < QUEUES; i++)
        push(&queue[i], 0, 2);
    assert_not_joined(&queue[0]);
    sendq_settle(&queue[1], 2);
    assert_joined(&queue[1], "etwo");
    assert_joined(&queue[2], "onetwo");
}

static void a_queue_of_its_own_is_not_copied(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        sendq_push(&queue[0], blob_copy(blob[i]));
    assert_not_joined(&queue[0]);
    assert_not_joined(&queue[0]);
}

static void forgotten_blobs_are_free(void **state)
{
    (void)state;
    push(&queue[0], 0, 2);
    push(&queue[1], 0, 2);
    assert_not_joined(&queue[0]);
    assert_joined(&queue[1], "onetwo");
    assert_int_equal(blob[0]->refs, 4);
    joined_forget();
    assert_int_equal(blob[0]->refs, 3);
    sendq_settle(&queue[0], 6);
    sendq_settle(&queue[1], 6);
    assert_int_equal(blob[0]->refs, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_two_have_is_joined),
        TEST(one_blob_is_not),
        TEST(a_longer_queue_begins_the_same),
        TEST(another_order_is_another_queue),
        TEST(what_has_left_of_the_first_is_left_out),
        TEST(a_queue_of_its_own_is_not_copied),
        TEST(forgotten_blobs_are_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
