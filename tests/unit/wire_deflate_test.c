#include "wire/deflate.h"

#include "base/bytes.h"
#include "base/err.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHUNK = 16 * 1024, LARGE = 100000, MOST = 1 << 20 };

static const uint8_t flushed[4] = {0x00, 0x00, 0xFF, 0xFF};

/* Bytes that do not compress, and do when they come again. */
static void noise(uint8_t *at, size_t size, uint64_t seed)
{
    struct rng rng;
    rng_seed(&rng, seed);
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)(rng_next(&rng) >> 24);
}

static struct buf deflated(struct deflater *d, const void *at, size_t size, bool keep)
{
    struct buf small = {0};
    deflater_message(d, at, size, keep, &small);
    assert_true(small.size > 0);
    assert_false(small.size >= 4 && memcmp(small.at + small.size - 4, flushed, 4) == 0);
    return small;
}

/* A whole message in pieces of so many bytes, each in memory of its own: the first error. */
static int inflated(struct inflater *z, const struct buf *small, size_t step, uint64_t most, struct buf *out)
{
    int err = 0;
    for (size_t at = 0, piece; err == 0 && at < small->size; at += piece) {
        piece = least(step, small->size - at);
        uint8_t *copy = memcpy(mem_alloc(piece), small->at + at, piece);
        err = inflater_take(z, copy, piece, at + piece == small->size, most, out);
        free(copy);
    }
    return err;
}

static void expect_back(struct inflater *z, const struct buf *small, size_t step, const void *at, size_t size)
{
    struct buf out = {0};
    assert_int_equal(inflated(z, small, step, size, &out), 0);
    assert_int_equal(out.size, size);
    if (size > 0)
        assert_memory_equal(out.at, at, size);
    buf_free(&out);
}

static void messages_survive_each_window_and_takeover(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 125, 511, 513, 4096, CHUNK - 1, CHUNK, CHUNK + 1, 40000, LARGE};
    uint8_t *text = mem_alloc(LARGE);
    (void)state;
    for (unsigned setup = 0; setup < 28; setup++) {
        uint8_t bits = (uint8_t)(DEFLATE_BITS_MIN + setup % 7);
        bool keep = setup >= 14, repeats = setup / 7 % 2;
        struct deflater *d = deflater_new(bits);
        struct inflater *z = inflater_new(bits);
        noise(text, LARGE, bits);
        for (size_t i = 0; repeats && i < LARGE; i++)
            text[i] = (uint8_t)("a rather dull feed, "[i % 20]);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct buf small = deflated(d, text, sizes[i], keep);
            struct inflater *fresh = inflater_new(bits);
            expect_back(keep ? z : fresh, &small, i % 2 ? 7 : small.size, text, sizes[i]);
            inflater_free(fresh);
            buf_free(&small);
        }
        inflater_free(z);
        deflater_free(d);
    }
    free(text);
}

/* Output that ends exactly where zlib was given room to, or a byte before or behind. */
static void messages_of_every_size_around_a_chunk_survive(void **state)
{
    uint8_t text[CHUNK + 8];
    struct deflater *d = deflater_new(DEFLATE_BITS_MAX);
    (void)state;
    noise(text, sizeof text, 1);
    for (size_t size = CHUNK - 40; size <= sizeof text; size++) {
        struct buf small = deflated(d, text, size, false);
        struct inflater *z = inflater_new(DEFLATE_BITS_MAX);
        expect_back(z, &small, small.size, text, size);
        inflater_free(z);
        buf_free(&small);
    }
    deflater_free(d);
}

static void only_a_kept_window_is_looked_back_into(void **state)
{
    uint8_t text[400];
    struct deflater *d = deflater_new(DEFLATE_BITS_MAX);
    (void)state;
    noise(text, sizeof text, 2);
    struct buf first = deflated(d, text, sizeof text, true);
    struct buf again = deflated(d, text, sizeof text, false);
    struct buf reset = deflated(d, text, sizeof text, true);
    assert_true(again.size < 20 && first.size >= sizeof text);
    assert_int_equal(reset.size, first.size);
    assert_memory_equal(reset.at, first.at, first.size);
    struct inflater *z = inflater_new(DEFLATE_BITS_MAX);
    struct buf out = {0};
    assert_int_equal(inflated(z, &again, again.size, MOST, &out), ERR_INFLATE);
    buf_free(&out);
    inflater_free(z);
    buf_free(&first);
    buf_free(&again);
    buf_free(&reset);
    deflater_free(d);
}

/* The size of `tail` bytes that came `distance` bytes ago, compressed, and what `z` says to it; bits: of the
 * compressor. */
static int look_back(unsigned bits, unsigned z_bits, size_t distance, size_t *ret_size)
{
    enum { TAIL = 100 };
    size_t size = 1 + distance; /* zlib does not look back to the very first byte */
    uint8_t *text = mem_alloc(size);
    struct deflater *d = deflater_new((uint8_t)bits);
    struct inflater *z = inflater_new((uint8_t)z_bits);
    struct buf out = {0};
    noise(text, size, 3);
    struct buf first = deflated(d, text, size, true), second = deflated(d, text + 1, TAIL, true);
    assert_int_equal(inflated(z, &first, first.size, MOST, &out), 0);
    int err = inflated(z, &second, second.size, MOST, &out);
    assert_true(err < 0 || memcmp(out.at + size, text + 1, TAIL) == 0);
    *ret_size = second.size;
    buf_free(&first);
    buf_free(&second);
    buf_free(&out);
    inflater_free(z);
    deflater_free(d);
    free(text);
    return err;
}

/* zlib looks back as far as its window less 262 bytes. */
static void a_window_is_as_large_as_it_says(void **state)
{
    (void)state;
    for (unsigned bits = DEFLATE_BITS_MIN; bits <= DEFLATE_BITS_MAX; bits++) {
        size_t window = (size_t)1 << bits, size;
        assert_int_equal(look_back(bits, bits, window - 262, &size), 0);
        assert_true(size < 40);
        assert_int_equal(look_back(bits, bits, window - 261, &size), 0);
        assert_true(size > 90);
        if (bits == DEFLATE_BITS_MAX)
            continue;
        assert_int_equal(look_back(bits + 1, bits, window + 1, &size), ERR_INFLATE);
        assert_int_equal(look_back(bits + 1, bits + 1, window + 1, &size), 0);
    }
}

static void a_window_of_8_bits_is_read(void **state)
{
    size_t size;
    (void)state;
    assert_int_equal(look_back(9, 8, 250, &size), 0);
    assert_true(size < 40);
    assert_int_equal(look_back(15, 8, 256, &size), 0);
    assert_int_equal(look_back(15, 8, 257, &size), ERR_INFLATE);
}

/* zlib would make 9 of the 8, or refuse: either would be noticed too late. */
static void a_window_of_8_bits_cannot_be_made(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        deflater_free(deflater_new(8));
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* `size` equal bytes under a limit, in pieces: what is said, and that no more came out. */
static int bounded(const struct buf *small, size_t step, uint64_t most, size_t *ret_size)
{
    struct inflater *z = inflater_new(DEFLATE_BITS_MAX);
    struct buf out = {0};
    int err = inflated(z, small, step, most, &out);
    assert_true(out.size <= most);
    *ret_size = out.size;
    buf_free(&out);
    inflater_free(z);
    return err;
}

static void the_limit_is_met_and_not_passed(void **state)
{
    static const size_t sizes[] = {1, 2, 257, 258, 259, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, LARGE};
    uint8_t *text = mem_zero(LARGE);
    struct deflater *d = deflater_new(DEFLATE_BITS_MAX);
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct buf small = deflated(d, text, sizes[i], false);
        for (size_t step = 1; step <= small.size; step++) {
            size_t size;
            assert_int_equal(bounded(&small, step, sizes[i], &size), 0);
            assert_int_equal(size, sizes[i]);
            assert_int_equal(bounded(&small, step, sizes[i] + 1, &size), 0);
            assert_int_equal(bounded(&small, step, sizes[i] - 1, &size), ERR_TOO_BIG);
            assert_int_equal(size, sizes[i] - 1);
            assert_int_equal(bounded(&small, step, 0, &size), ERR_TOO_BIG);
        }
        buf_free(&small);
    }
    struct buf empty = deflated(d, text, 0, false);
    size_t size;
    assert_int_equal(bounded(&empty, 1, 0, &size), 0);
    buf_free(&empty);
    deflater_free(d);
    free(text);
}

static void the_limit_counts_what_is_there_already(void **state)
{
    struct deflater *d = deflater_new(DEFLATE_BITS_MAX);
    struct buf small = {0}, out = {0};
    (void)state;
    buf_append(&small, "x", 1);
    deflater_message(d, "Hello", 5, false, &small);
    assert_int_equal(small.at[0], 'x');
    for (uint64_t most = 8; most <= 9; most++) {
        struct inflater *z = inflater_new(DEFLATE_BITS_MAX);
        buf_append(&out, "abcd", 4);
        int err = inflater_take(z, small.at + 1, small.size - 1, true, most, &out);
        assert_int_equal(err, most == 9 ? 0 : ERR_TOO_BIG);
        assert_memory_equal(out.at, "abcdHello", most);
        buf_free(&out);
        inflater_free(z);
    }
    buf_free(&small);
    deflater_free(d);
}

static void empty_messages_are_one_byte(void **state)
{
    struct deflater *d = deflater_new(DEFLATE_BITS_MAX);
    struct inflater *z = inflater_new(DEFLATE_BITS_MAX);
    static const char *const texts[] = {"", "", "Hello", "", "", "Hello"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct buf small = deflated(d, texts[i], strlen(texts[i]), true);
        expect_back(z, &small, 1, texts[i], strlen(texts[i]));
        if (*texts[i] == '\0') {
            assert_int_equal(small.size, 1);
            assert_int_equal(small.at[0], 0);
        }
        buf_free(&small);
    }
    struct buf both = deflated(d, "Hello", 5, true);
    size_t before = both.size;
    deflater_message(d, "", 0, true, &both);
    deflater_message(d, "", 0, true, &both);
    assert_int_equal(both.size, before + 2);
    buf_free(&both);
    inflater_free(z);
    deflater_free(d);
}

/* Messages as bytes, one after the other through one window: the last one's error. */
struct stream {
    const char *name;
    const char *bytes[3];
    size_t sizes[3];
    int err;
    const char *text; /* of all, where there is no error */
};

static const struct stream streams[] = {
    {"final block", {"\xF3\x48\xCD\xC9\xC9\x07\x00"}, {7}, 0, "Hello"},
    {"final block and a byte", {"\xF3\x48\xCD\xC9\xC9\x07\x00\x00"}, {8}, 0, "Hello"},
    {"final block, then a look back before it",
     {"\xF3\x48\xCD\xC9\xC9\x07\x00", "\xF2\x00\x11\x00\x00"},
     {7, 5},
     0,
     "HelloHello"},
    {"two final blocks", {"\xF3\x48\xCD\xC9\xC9\x07\x00\xF3\x48\xCD\xC9\xC9\x07\x00"}, {14}, 0, "HelloHello"},
    {"look back into nothing", {"\xF2\x00\x11\x00\x00"}, {5}, ERR_INFLATE, NULL},
    {"reserved block", {"\x06"}, {1}, ERR_INFLATE, NULL},
    {"reserved block behind a final one", {"\xF3\x48\xCD\xC9\xC9\x07\x00\x06"}, {8}, ERR_INFLATE, NULL},
    {"lengths that disagree", {"\x00\x05\x00\xFB\xFFHello\x00"}, {11}, ERR_INFLATE, NULL},
    {"stored, cut short", {"\x00\x05\x00\xFA\xFFHel"}, {8}, ERR_INFLATE, NULL},
    {"stored, whole", {"\x00\x05\x00\xFA\xFFHello\x00"}, {11}, 0, "Hello"},
    {"cut short inside a block", {"\xF2\x48\xCD"}, {3}, ERR_INFLATE, NULL},
    {"good, then cut short", {"\xF2\x48\xCD\xC9\xC9\x07\x00", "\xF2\x48\xCD"}, {7, 3}, ERR_INFLATE, NULL},
};

static void streams_are_judged_however_they_are_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
        for (size_t step = 1; step <= 12; step++) {
            const struct stream *s = &streams[i];
            struct inflater *z = inflater_new(DEFLATE_BITS_MAX);
            struct buf out = {0};
            int err = 0;
            for (size_t j = 0; j < 3 && s->bytes[j] != NULL && err == 0; j++) {
                struct buf small = {0};
                buf_append(&small, s->bytes[j], s->sizes[j]);
                err = inflated(z, &small, step, MOST, &out);
                buf_free(&small);
            }
            bool same = s->text != NULL && out.at != NULL && out.size == strlen(s->text) &&
                        memcmp(out.at, s->text, out.size) == 0;
            if (err != s->err || (err == 0 && !same))
                fail_msg("%s, pieces of %zu: %s", s->name, step, err_name(err));
            buf_free(&out);
            inflater_free(z);
        }
}

static void the_end_may_come_without_a_byte(void **state)
{
    static const uint8_t hello[] = {0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00};
    struct inflater *z = inflater_new(DEFLATE_BITS_MAX);
    struct buf out = {0};
    (void)state;
    for (size_t i = 1; i <= 2; i++) {
        assert_int_equal(inflater_take(z, hello, sizeof hello, false, MOST, &out), 0);
        assert_int_equal(inflater_take(z, hello, 0, true, MOST, &out), 0);
        assert_int_equal(out.size, 5 * i);
    }
    assert_memory_equal(out.at, "HelloHello", 10);
    assert_int_equal(inflater_take(z, hello, 3, false, MOST, &out), 0);
    assert_int_equal(inflater_take(z, hello, 0, true, MOST, &out), ERR_INFLATE);
    buf_free(&out);
    inflater_free(z);
}

static void an_error_does_not_wait_for_the_end(void **state)
{
    static const uint8_t reserved[] = {0x06};
    struct inflater *z = inflater_new(DEFLATE_BITS_MAX);
    struct buf out = {0};
    (void)state;
    assert_int_equal(inflater_take(z, reserved, sizeof reserved, false, MOST, &out), ERR_INFLATE);
    buf_free(&out);
    inflater_free(z);
}

static void what_is_not_there_is_freed_all_the_same(void **state)
{
    struct inflation inflation = {.bits = DEFLATE_BITS_MAX};
    (void)state;
    deflater_free(NULL);
    inflater_free(NULL);
    inflation_release(&inflation);
    inflation.inflater = inflater_new(inflation.bits);
    inflation_release(&inflation);
    assert_null(inflation.inflater);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_survive_each_window_and_takeover),
        cmocka_unit_test(messages_of_every_size_around_a_chunk_survive),
        cmocka_unit_test(only_a_kept_window_is_looked_back_into),
        cmocka_unit_test(a_window_is_as_large_as_it_says),
        cmocka_unit_test(a_window_of_8_bits_is_read),
        cmocka_unit_test(a_window_of_8_bits_cannot_be_made),
        cmocka_unit_test(the_limit_is_met_and_not_passed),
        cmocka_unit_test(the_limit_counts_what_is_there_already),
        cmocka_unit_test(empty_messages_are_one_byte),
        cmocka_unit_test(streams_are_judged_however_they_are_cut),
        cmocka_unit_test(the_end_may_come_without_a_byte),
        cmocka_unit_test(an_error_does_not_wait_for_the_end),
        cmocka_unit_test(what_is_not_there_is_freed_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
