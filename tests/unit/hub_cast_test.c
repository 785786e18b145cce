/* One encoding a broadcast, and the key that conflation compares. */
#include "hub/cast.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int encoded;
static unsigned last_format;

static struct blob *encode(const struct cast *c, unsigned format)
{
    encoded++;
    last_format = format;
    struct blob *b = blob_new(c->payload.size, c->now_ns, c->key);
    memcpy(b->bytes, c->payload.at, c->payload.size);
    return b;
}

static int set_up(void **state)
{
    (void)state;
    encoded = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return blob_bytes_alive() == 0 ? 0 : -1;
}

static void it_is_encoded_once_and_only_when_asked_for(void **state)
{
    (void)state;
    struct cast c = {.payload = SLICE("hello"), .key = 3, .now_ns = 9, .encode = encode};
    assert_int_equal(encoded, 0);
    struct blob *first = cast_frame(&c, CAST_PLAIN, 0, false), *second = cast_frame(&c, CAST_PLAIN, 0, false);
    assert_int_equal(encoded, 1);
    assert_ptr_equal(first, second);
    assert_int_equal(first->refs, 3);
    assert_int_equal(first->key, 3);
    assert_int_equal(first->born_ns, 9);
    cast_done(&c);
    assert_int_equal(first->refs, 2);
    blob_unref(first);
    blob_unref(second);
}

static void a_copy_is_memory_of_its_own(void **state)
{
    (void)state;
    struct cast c = {.payload = SLICE("hello"), .key = 3, .now_ns = 9, .encode = encode};
    struct blob *first = cast_frame(&c, CAST_PLAIN, 0, true), *second = cast_frame(&c, CAST_PLAIN, 0, true);
    assert_int_equal(encoded, 1);
    assert_ptr_not_equal(first, second);
    assert_int_equal(first->refs, 1);
    assert_int_equal(second->key, 3);
    assert_memory_equal(second->bytes, "hello", 5);
    cast_done(&c);
    blob_unref(first);
    blob_unref(second);
}

static void each_format_is_encoded_once(void **state)
{
    (void)state;
    struct cast c = {.payload = SLICE("hello"), .encode = encode};
    struct blob *plain = cast_frame(&c, CAST_PLAIN, 0, false), *small = cast_frame(&c, 1, 0, false);
    struct blob *again = cast_frame(&c, 1, 0, false);
    assert_int_equal(encoded, 2);
    assert_int_equal(last_format, 1);
    assert_ptr_not_equal(plain, small);
    assert_ptr_equal(small, again);
    cast_done(&c);
    blob_unref(plain);
    blob_unref(small);
    blob_unref(again);
}

static void what_is_smaller_than_the_least_is_encoded_plain(void **state)
{
    (void)state;
    struct cast c = {.payload = SLICE("hello"), .encode = encode};
    assert_ptr_equal(cast_encoded(&c, 1, 6), cast_encoded(&c, CAST_PLAIN, 0));
    assert_int_equal(encoded, 1);
    assert_ptr_not_equal(cast_encoded(&c, 1, 5), cast_encoded(&c, CAST_PLAIN, 0));
    cast_done(&c);
}

static void what_is_kept_needs_the_callers_bytes_no_longer(void **state)
{
    (void)state;
    char text[] = "hello";
    struct cast c = {.payload = {text, 5}, .key = 3, .now_ns = 9, .encode = encode}, kept;
    cast_keep(&c, &kept);
    cast_done(&c);
    memset(text, 'x', sizeof text);
    assert_true(slice_is(kept.payload, "hello"));
    assert_memory_equal(cast_encoded(&kept, 1, 0)->bytes, "hello", 5);
    assert_int_equal(encoded, 2);
    assert_int_equal(kept.key, 3);
    cast_done(&kept);
}

static void a_cast_nobody_wanted_is_done_without_encoding(void **state)
{
    (void)state;
    struct cast c = {.payload = SLICE("hello"), .encode = encode};
    cast_done(&c);
    cast_done(&c);
    assert_int_equal(encoded, 0);
}

static void keys_are_fnv_1a(void **state)
{
    (void)state;
    assert_true(cast_key(SLICE("")) == 0xcbf29ce484222325ULL);
    assert_true(cast_key(SLICE("a")) == 0xaf63dc4c8601ec8cULL);
    assert_true(cast_key(SLICE("foobar")) == 0x85944171f73967e8ULL);
}

/* The known input whose 64-bit FNV-1a is 0. */
static void a_key_is_never_0(void **state)
{
    (void)state;
    const uint8_t zero[] = {0xd5, 0x6b, 0xb9, 0x53, 0x42, 0x87, 0x08, 0x36};
    assert_int_equal(cast_key((struct slice){(const char *)zero, sizeof(zero)}), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(it_is_encoded_once_and_only_when_asked_for),
        TEST(a_copy_is_memory_of_its_own),
        TEST(each_format_is_encoded_once),
        TEST(what_is_smaller_than_the_least_is_encoded_plain),
        TEST(what_is_kept_needs_the_callers_bytes_no_longer),
        TEST(a_cast_nobody_wanted_is_done_without_encoding),
        TEST(keys_are_fnv_1a),
        TEST(a_key_is_never_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
