#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Under the address sanitizer a refused allocation must return NULL, as it does without it. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void slices_compare(void **state)
{
    (void)state;
    assert_true(slice_is(SLICE("abc"), "abc"));
    assert_false(slice_is(SLICE("abc"), "abd"));
    assert_false(slice_is(SLICE("abc"), "ab"));
    assert_false(slice_is(SLICE("ab"), "abc"));
    assert_false(slice_is(SLICE("Abc"), "abc"));
    assert_true(slice_is((struct slice){0}, ""));
}

static void nocase_folds_ascii_letters_only(void **state)
{
    (void)state;
    assert_true(slice_is_nocase(SLICE("WebSocket"), "wEBsOCKET"));
    assert_false(slice_is_nocase(SLICE("WebSocket"), "websocke"));
    assert_false(slice_is_nocase(SLICE("["), "{"));
    assert_false(slice_is_nocase(SLICE("@"), "`"));
    assert_false(slice_is_nocase(SLICE("\xC4"), "\xE4"));
    assert_true(slice_is_nocase((struct slice){0}, ""));
}

static void numbers_are_big_endian(void **state)
{
    (void)state;
    uint8_t at[8];
    put_u16(at, 0xABCD);
    assert_memory_equal(at, "\xAB\xCD", 2);
    assert_int_equal(get_u16(at), 0xABCD);
    put_u64(at, 0x0123456789ABCDEF);
    assert_memory_equal(at, "\x01\x23\x45\x67\x89\xAB\xCD\xEF", 8);
    assert_true(get_u64(at) == 0x0123456789ABCDEF);
    put_u64(at, UINT64_MAX);
    assert_true(get_u64(at) == UINT64_MAX);
}

static void memory_is_never_null(void **state)
{
    (void)state;
    void *none = mem_alloc(0), *zero = mem_zero(0);
    assert_non_null(none);
    assert_non_null(zero);
    none = mem_resize(none, 0);
    assert_non_null(none);
    free(none);
    free(zero);
}

static void memory_keeps_what_it_should(void **state)
{
    (void)state;
    unsigned char *zero = mem_zero(100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(zero[i], 0);
    memcpy(zero, "kept", 4);
    zero = mem_resize(zero, 1000);
    assert_memory_equal(zero, "kept", 4);
    free(zero);
    char *text = mem_text("text");
    assert_string_equal(text, "text");
    free(text);
}

static int last_word_pipe;
static volatile size_t too_much = SIZE_MAX / 4;

/* Breaks its rule not to allocate; it must still be called only once. */
static void say_size(size_t asked)
{
    if (write(last_word_pipe, &asked, sizeof asked) < 0)
        _exit(1);
    free(mem_alloc(too_much));
}

static void exhaustion_says_a_last_word_and_aborts(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        last_word_pipe = ends[1];
        close(STDERR_FILENO);
        mem_on_exhausted(say_size);
        mem_alloc(too_much);
        _exit(0);
    }
    close(ends[1]);
    size_t asked = 0, again = 0;
    assert_int_equal(read(ends[0], &asked, sizeof asked), sizeof asked);
    assert_true(asked == too_much);
    assert_int_equal(read(ends[0], &again, sizeof again), 0);
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_compare),
        cmocka_unit_test(nocase_folds_ascii_letters_only),
        cmocka_unit_test(numbers_are_big_endian),
        cmocka_unit_test(memory_is_never_null),
        cmocka_unit_test(memory_keeps_what_it_should),
        cmocka_unit_test(exhaustion_says_a_last_word_and_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
