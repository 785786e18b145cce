#include "base/blob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static void lives_until_the_last_reference(void **state)
{
    (void)state;
    uint64_t before = blob_bytes_alive();
    struct blob *blob = blob_new(100, 7, 9);
    memset(blob->bytes, 'x', 100);
    assert_int_equal(blob->refs, 1);
    assert_int_equal(blob->size, 100);
    assert_int_equal(blob->born_ns, 7);
    assert_int_equal(blob->key, 9);
    assert_ptr_equal(blob_ref(blob), blob);
    blob_unref(blob);
    assert_int_equal(blob_bytes_alive(), before + sizeof *blob + 100);
    blob_unref(blob);
    assert_int_equal(blob_bytes_alive(), before);
}

static void copy_has_memory_of_its_own(void **state)
{
    (void)state;
    struct blob *blob = blob_new(3, 1, 2);
    memcpy(blob->bytes, "abc", 3);
    struct blob *copy = blob_copy(blob);
    assert_ptr_not_equal(copy, blob);
    blob_unref(blob);
    assert_int_equal(copy->refs, 1);
    assert_int_equal(copy->size, 3);
    assert_int_equal(copy->born_ns, 1);
    assert_int_equal(copy->key, 2);
    assert_memory_equal(copy->bytes, "abc", 3);
    blob_unref(copy);
}

static void nothing_is_accepted(void **state)
{
    (void)state;
    blob_unref(NULL);
    struct blob *empty = blob_new(0, 0, 0);
    struct blob *copy = blob_copy(empty);
    assert_int_equal(copy->size, 0);
    blob_unref(copy);
    blob_unref(empty);
    assert_int_equal(blob_bytes_alive(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lives_until_the_last_reference),
        cmocka_unit_test(copy_has_memory_of_its_own),
        cmocka_unit_test(nothing_is_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
