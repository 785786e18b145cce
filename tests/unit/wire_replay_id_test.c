#include "wire/replay_id.h"

#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct replay_id some = {"1f2e3d4c", 17};
static const struct replay_id longest = {"ffffffff", UINT64_MAX};

static void assert_id(const struct replay_id *id, const struct replay_id *expected)
{
    assert_string_equal(id->epoch, expected->epoch);
    assert_int_equal(id->offset, expected->offset);
}

static void ids_there_and_back(void **state)
{
    (void)state;
    char text[REPLAY_ID_SIZE];
    struct replay_id id;
    assert_int_equal(replay_id_write(&some, text), 11);
    assert_string_equal(text, "1f2e3d4c:17");
    assert_int_equal(replay_id_parse(SLICE("1f2e3d4c:17"), &id), 0);
    assert_id(&id, &some);
    assert_int_equal(replay_id_write(&longest, text), 29);
    assert_int_equal(replay_id_parse(SLICE("ffffffff:18446744073709551615"), &id), 0);
    assert_id(&id, &longest);
    assert_int_equal(replay_id_parse(SLICE("00000000:0"), &id), 0);
    assert_int_equal(id.offset, 0);
    assert_true(replay_id_same_epoch(&some, &(struct replay_id){"1f2e3d4c", 3}));
    assert_false(replay_id_same_epoch(&some, &longest));
}

static void what_is_no_id(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "1f2e3d4c",
        "1f2e3d4c:",
        "1f2e3d4:17",
        "1F2e3d4c:17",
        "1f2e3d4g:1",
        "1f2e3d4c17",
        "1f2e3d4c:017",
        "1f2e3d4c:00",
        "1f2e3d4c:-1",
        "1f2e3d4c:+1",
        "1f2e3d4c: 1",
        " 1f2e3d4c:1",
        "1f2e3d4c:17 ",
        "1f2e3d4c:17\n",
        "1f2e3d4c:18446744073709551616",
        "1f2e3d4c:99999999999999999999",
        "1f2e3d4c:0x1",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct replay_id id = longest;
        assert_int_equal(replay_id_parse((struct slice){texts[i], strlen(texts[i])}, &id), ERR_PROTOCOL);
        assert_id(&id, &longest);
    }
    struct replay_id id;
    assert_int_equal(replay_id_parse((struct slice){"1f2e3d4c\0"
                                                    "1",
                                                    10},
                                     &id),
                     ERR_PROTOCOL);
    assert_int_equal(replay_id_parse((struct slice){NULL, 0}, &id), ERR_PROTOCOL);
}

static void the_line_comes_off(void **state)
{
    (void)state;
    struct replay_id id = longest;
    struct slice body = SLICE("untouched");
    assert_int_equal(replay_split(SLICE("1f2e3d4c:17\nhello\nthere"), &id, &body), 1);
    assert_id(&id, &some);
    assert_true(slice_is(body, "hello\nthere"));
    assert_int_equal(replay_split(SLICE("1f2e3d4c:17\n"), &id, &body), 1);
    assert_int_equal(body.size, 0);
    id = longest;
    assert_int_equal(replay_split(SLICE("-\n1f2e3d4c:17\n"), &id, &body), 0);
    assert_true(slice_is(body, "1f2e3d4c:17\n"));
    assert_id(&id, &longest);
}

static void a_payload_without_the_line(void **state)
{
    (void)state;
    static const char *const texts[] = {"",      "-",          "-hello",          "1f2e3d4c:17",
                                        "hello", "\n",         "1f2e3d4c:17 \nx", "1f2e3d4c:17\rx",
                                        "--\n",  "1f2e3d4c\n", "1f2e3d4c:0\nx",   "{\"wsb\":\"gap\"}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct replay_id id = longest;
        struct slice body = SLICE("untouched");
        struct slice payload = {texts[i], strlen(texts[i])};
        assert_int_equal(replay_split(payload, &id, &body), ERR_PROTOCOL);
        assert_id(&id, &longest);
        assert_true(slice_is(body, "untouched"));
    }
}

static void recovered_there_and_back(void **state)
{
    (void)state;
    char text[REPLAY_NOTICE_SIZE];
    struct replay_recovered r = {true, some}, back;
    size_t size = replay_recovered_write(&r, text);
    assert_string_equal(text,
                        "{\"wsb\":\"recovered\",\"recovered\":true,\"epoch\":\"1f2e3d4c\",\"offset\":17}");
    assert_int_equal(replay_recovered_parse((struct slice){text, size}, &back), 0);
    assert_true(back.recovered);
    assert_id(&back.at, &some);
    r = (struct replay_recovered){false, longest};
    size = replay_recovered_write(&r, text);
    assert_int_equal(replay_recovered_parse((struct slice){text, size}, &back), 0);
    assert_false(back.recovered);
    assert_id(&back.at, &longest);
    for (size_t less = 0; less < size; less++)
        assert_int_equal(replay_recovered_parse((struct slice){text, less}, &back), ERR_PROTOCOL);
    text[size] = ' ';
    assert_int_equal(replay_recovered_parse((struct slice){text, size + 1}, &back), ERR_PROTOCOL);
}

static void what_is_no_recovered(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"wsb\":\"recovered\",\"recovered\":maybe,\"epoch\":\"1f2e3d4c\",\"offset\":17}",
        "{\"wsb\":\"recovered\",\"recovered\":true,\"epoch\":\"1f2e3d4\",\"offset\":17}",
        "{\"wsb\":\"recovered\",\"recovered\":true,\"epoch\":\"1f2e3d4c\",\"offset\":017}",
        "{\"wsb\":\"recovered\",\"recovered\":true,\"epoch\":\"1f2e3d4c\",\"offset\":-1}",
        "{\"wsb\":\"gap\",\"dropped\":12        }",
    };
    struct replay_recovered r;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(replay_recovered_parse((struct slice){texts[i], strlen(texts[i])}, &r),
                         ERR_PROTOCOL);
}

static void acks_there_and_back(void **state)
{
    (void)state;
    char text[REPLAY_NOTICE_SIZE];
    struct replay_ack back, ack = {.stored = true, .n = 1, .id = some};
    replay_ack_write(&ack, text);
    assert_string_equal(text, "{\"wsb\":\"ack\",\"n\":1,\"id\":\"1f2e3d4c:17\"}");
    ack = (struct replay_ack){.stored = true, .n = UINT64_MAX, .id = longest};
    size_t size = replay_ack_write(&ack, text);
    assert_int_equal(replay_ack_parse((struct slice){text, size}, &back), 0);
    assert_true(back.stored);
    assert_int_equal(back.n, UINT64_MAX);
    assert_id(&back.id, &longest);
    for (size_t less = 0; less < size; less++)
        assert_int_equal(replay_ack_parse((struct slice){text, less}, &back), ERR_PROTOCOL);
    ack = (struct replay_ack){.n = 2};
    size = replay_ack_write(&ack, text);
    assert_string_equal(text, "{\"wsb\":\"nack\",\"n\":2}");
    assert_int_equal(replay_ack_parse((struct slice){text, size}, &back), 0);
    assert_false(back.stored);
    assert_int_equal(back.n, 2);
}

static void what_is_no_ack(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"wsb\":\"ack\",\"n\":0,\"id\":\"1f2e3d4c:17\"}",
        "{\"wsb\":\"ack\",\"n\":1,\"id\":\"1f2e3d4c:0\"}",
        "{\"wsb\":\"ack\",\"n\":1}",
        "{\"wsb\":\"nack\",\"n\":0}",
        "{\"wsb\":\"nack\",\"n\":1,\"id\":\"1f2e3d4c:17\"}",
        "{\"wsb\":\"nack\",\"n\":1} ",
    };
    struct replay_ack ack;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(replay_ack_parse((struct slice){texts[i], strlen(texts[i])}, &ack), ERR_PROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_there_and_back),       cmocka_unit_test(what_is_no_id),
        cmocka_unit_test(the_line_comes_off),       cmocka_unit_test(a_payload_without_the_line),
        cmocka_unit_test(recovered_there_and_back), cmocka_unit_test(what_is_no_recovered),
        cmocka_unit_test(acks_there_and_back),      cmocka_unit_test(what_is_no_ack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
