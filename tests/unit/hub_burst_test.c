/* What waits in a topic, and the one piece that it leaves in. */
#include "hub/burst.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A frame is the format's letter and the payload. */
static struct blob *encode(const struct cast *c, unsigned format)
{
    struct blob *b = blob_new(1 + c->payload.size, c->now_ns, c->key);
    b->bytes[0] = (uint8_t)('a' + format);
    memcpy(b->bytes + 1, c->payload.at, c->payload.size);
    return b;
}

static int tear_down(void **state)
{
    (void)state;
    return blob_bytes_alive() == 0 ? 0 : -1;
}

static void add(struct burst *b, const char *text)
{
    char payload[16];
    struct cast c = {.payload = {payload, strlen(text)}, .encode = encode};
    memcpy(payload, text, strlen(text));
    burst_add(b, &c, NULL);
    cast_done(&c);
    memset(payload, 'x', sizeof payload);
}

static void assert_piece(struct blob *piece, const char *expected)
{
    assert_int_equal(piece->size, strlen(expected));
    assert_memory_equal(piece->bytes, expected, piece->size);
}

static void one_cast_is_its_own_piece(void **state)
{
    (void)state;
    struct burst *b = burst_new();
    add(b, "one");
    assert_piece(burst_piece(b, CAST_PLAIN, 0), "aone");
    assert_ptr_equal(burst_piece(b, CAST_PLAIN, 0), b->casts[0].cast.frame[CAST_PLAIN]);
    burst_free(b);
}

static void several_are_put_together_once_a_format(void **state)
{
    (void)state;
    struct burst *b = burst_new();
    add(b, "one"), add(b, "two"), add(b, "three");
    struct blob *plain = burst_piece(b, CAST_PLAIN, 0), *other = burst_piece(b, 2, 0);
    assert_piece(plain, "aoneatwoathree");
    assert_piece(other, "conectwocthree");
    assert_ptr_equal(burst_piece(b, CAST_PLAIN, 0), plain);
    assert_ptr_equal(burst_piece(b, 2, 0), other);
    burst_free(b);
}

static void what_is_too_small_for_the_format_is_plain(void **state)
{
    (void)state;
    struct burst *b = burst_new();
    add(b, "one"), add(b, "three"), add(b, "two");
    assert_piece(burst_piece(b, 2, 4), "aonecthreeatwo");
    burst_free(b);
}

static void many_stay_in_order(void **state)
{
    (void)state;
    enum { MANY = 100 };
    char expected[MANY * 4 + 1], text[4];
    struct burst *b = burst_new();
    for (int i = 0; i < MANY; i++) {
        snprintf(text, sizeof text, "%03d", i);
        snprintf(expected + 4 * (size_t)i, 5, "a%s", text);
        add(b, text);
    }
    assert_piece(burst_piece(b, CAST_PLAIN, 0), expected);
    assert_int_equal(b->bytes, MANY * 4);
    burst_free(b);
}

static void it_is_full_of_many_or_of_large_ones(void **state)
{
    (void)state;
    enum { LARGE = 60 * 1024 };
    static char large[LARGE];
    struct cast c = {.payload = {large, LARGE}, .encode = encode};
    struct burst *b = burst_new();
    int count = 0;
    for (; !burst_full(b); count++)
        add(b, "x");
    assert_in_range(count, 100, 10000);
    burst_free(b);
    b = burst_new();
    burst_add(b, &c, NULL);
    assert_false(burst_full(b));
    burst_add(b, &c, NULL);
    assert_true(burst_full(b));
    burst_free(b);
    cast_done(&c);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(one_cast_is_its_own_piece),
        TEST(several_are_put_together_once_a_format),
        TEST(what_is_too_small_for_the_format_is_plain),
        TEST(many_stay_in_order),
        TEST(it_is_full_of_many_or_of_large_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
