#include "base/err.h"
#include "wire/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])
#define BYTES(literal)  (const uint8_t *)(literal), sizeof(literal) - 1

/* Both ways: the bytes parse to `expected`, nothing less does, and `expected` is written as these bytes. */
static void check_both_ways(const uint8_t *at, size_t size, const struct frame_head *expected)
{
    struct frame_head head;
    uint8_t longer[FRAME_HEAD_MAX + 4] = {0}, out[FRAME_HEAD_MAX];
    memcpy(longer, at, size);
    assert_int_equal(frame_parse(longer, sizeof longer, &head), size);
    assert_int_equal(frame_parse(at, size, &head), size);
    assert_int_equal(head.fin, expected->fin);
    assert_int_equal(head.rsv, expected->rsv);
    assert_int_equal(head.opcode, expected->opcode);
    assert_int_equal(head.masked, expected->masked);
    assert_true(head.length == expected->length);
    if (expected->masked)
        assert_memory_equal(head.mask, expected->mask, 4);
    for (size_t less = 0; less < size; less++)
        assert_int_equal(frame_parse(at, less, &head), 0);
    assert_int_equal(frame_write(expected, out), size);
    assert_memory_equal(out, at, size);
    assert_int_equal(frame_head_size(expected->length, expected->masked), size);
}

static void heads_of_the_rfc(void **state)
{
    (void)state;
    check_both_ways(BYTES("\x81\x05"), &(struct frame_head){.fin = true, .opcode = FRAME_TEXT, .length = 5});
    check_both_ways(BYTES("\x81\x85\x37\xfa\x21\x3d"), &(struct frame_head){.fin = true,
                                                                            .opcode = FRAME_TEXT,
                                                                            .masked = true,
                                                                            .mask = {0x37, 0xfa, 0x21, 0x3d},
                                                                            .length = 5});
    check_both_ways(BYTES("\x01\x03"), &(struct frame_head){.opcode = FRAME_TEXT, .length = 3});
    check_both_ways(BYTES("\x80\x02"), &(struct frame_head){.fin = true, .length = 2});
    check_both_ways(BYTES("\x89\x05"), &(struct frame_head){.fin = true, .opcode = FRAME_PING, .length = 5});
    check_both_ways(BYTES("\x82\x7E\x01\x00"),
                    &(struct frame_head){.fin = true, .opcode = FRAME_BINARY, .length = 256});
    check_both_ways(BYTES("\x82\x7F\x00\x00\x00\x00\x00\x01\x00\x00"),
                    &(struct frame_head){.fin = true, .opcode = FRAME_BINARY, .length = 65536});
}

static void lengths_at_the_borders_of_their_forms(void **state)
{
    (void)state;
    check_both_ways(BYTES("\x82\x00"), &(struct frame_head){.fin = true, .opcode = FRAME_BINARY});
    check_both_ways(BYTES("\x82\x7D"),
                    &(struct frame_head){.fin = true, .opcode = FRAME_BINARY, .length = 125});
    check_both_ways(BYTES("\x82\x7E\x00\x7E"),
                    &(struct frame_head){.fin = true, .opcode = FRAME_BINARY, .length = 126});
    check_both_ways(BYTES("\x82\x7E\xFF\xFF"),
                    &(struct frame_head){.fin = true, .opcode = FRAME_BINARY, .length = 65535});
    check_both_ways(
        BYTES("\x82\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01\x02\x03\x04"),
        &(struct frame_head){
            .fin = true, .opcode = FRAME_BINARY, .masked = true, .mask = {1, 2, 3, 4}, .length = INT64_MAX});
}

static void reserved_bits_are_reported(void **state)
{
    (void)state;
    for (uint8_t rsv = 0; rsv < 8; rsv++) {
        uint8_t bytes[] = {(uint8_t)(0x81 | rsv << 4), 0};
        check_both_ways(bytes, 2, &(struct frame_head){.fin = true, .rsv = rsv, .opcode = FRAME_TEXT});
    }
}

static void bad_heads_fail_and_touch_nothing(void **state)
{
    (void)state;
    static const struct {
        const uint8_t *at;
        size_t size;
        int err;
    } bad[] = {
        {BYTES("\x83\x00"), ERR_OPCODE},
        {BYTES("\x87\x00"), ERR_OPCODE},
        {BYTES("\x8B\x00"), ERR_OPCODE},
        {BYTES("\x8F\x00"), ERR_OPCODE},
        {BYTES("\x03\x80"), ERR_OPCODE},
        {BYTES("\x08\x00"), ERR_CONTROL_FRAME},
        {BYTES("\x09\x05"), ERR_CONTROL_FRAME},
        {BYTES("\x89\x7E"), ERR_CONTROL_FRAME},
        {BYTES("\x8A\xFF"), ERR_CONTROL_FRAME},
        {BYTES("\x82\x7E\x00\x7D"), ERR_LENGTH_FORM},
        {BYTES("\x82\x7E\x00\x00"), ERR_LENGTH_FORM},
        {BYTES("\x82\x7F\x00\x00\x00\x00\x00\x00\xFF\xFF"), ERR_LENGTH_FORM},
        {BYTES("\x82\x7F\x00\x00\x00\x00\x00\x00\x00\x05"), ERR_LENGTH_FORM},
        {BYTES("\x82\x7F\x80\x00\x00\x00\x00\x00\x00\x00"), ERR_LENGTH_FORM},
        {BYTES("\x82\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), ERR_LENGTH_FORM},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct frame_head head, before;
        memset(&head, 0x5A, sizeof head);
        before = head;
        assert_int_equal(frame_parse(bad[i].at, bad[i].size, &head), bad[i].err);
        assert_int_equal(frame_parse(bad[i].at, bad[i].size - 1, &head), 0);
        assert_memory_equal(&head, &before, sizeof head);
    }
}

static void every_known_opcode_parses(void **state)
{
    (void)state;
    const uint16_t known = 0x0707;
    for (uint8_t opcode = 0; opcode < 16; opcode++) {
        struct frame_head head;
        uint8_t bytes[] = {(uint8_t)(0x80 | opcode), 0};
        assert_int_equal(frame_parse(bytes, 2, &head), known >> opcode & 1 ? 2 : ERR_OPCODE);
        assert_int_equal(frame_is_control(opcode), opcode >= 8);
    }
}

static void masks_the_example_of_the_rfc(void **state)
{
    (void)state;
    uint8_t bytes[] = {0x7f, 0x9f, 0x4d, 0x51, 0x58};
    frame_mask(bytes, 5, (const uint8_t[]){0x37, 0xfa, 0x21, 0x3d}, 0);
    assert_memory_equal(bytes, "Hello", 5);
}

/* Against the definition of section 5.3, for every size, offset and alignment around the word size. */
static void masks_as_defined_at_any_size_and_offset(void **state)
{
    (void)state;
    const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
    for (size_t size = 0; size < 40; size++)
        for (uint64_t offset = 0; offset < 9; offset++)
            for (size_t shift = 0; shift < 8; shift++) {
                uint8_t bytes[64], expected[64];
                for (size_t i = 0; i < sizeof bytes; i++)
                    bytes[i] = expected[i] = (uint8_t)(i * 37 + 5);
                for (size_t i = 0; i < size; i++)
                    expected[shift + i] ^= mask[(offset + i) % 4];
                frame_mask(bytes + shift, size, mask, offset);
                assert_memory_equal(bytes, expected, sizeof bytes);
            }
}

static void masking_in_pieces_is_masking_whole(void **state)
{
    (void)state;
    const uint8_t mask[4] = {0xA1, 0xB2, 0xC3, 0xD4};
    for (size_t cut = 0; cut <= 50; cut++) {
        uint8_t whole[50] = {0}, pieces[50] = {0};
        uint64_t far = UINT64_C(1) << 40 | 3;
        frame_mask(whole, sizeof whole, mask, far);
        frame_mask(pieces, cut, mask, far);
        frame_mask(pieces + cut, sizeof pieces - cut, mask, far + cut);
        assert_memory_equal(pieces, whole, sizeof whole);
        frame_mask(whole, sizeof whole, mask, far);
        assert_memory_equal(whole, (uint8_t[50]){0}, sizeof whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_of_the_rfc),
        cmocka_unit_test(lengths_at_the_borders_of_their_forms),
        cmocka_unit_test(reserved_bits_are_reported),
        cmocka_unit_test(bad_heads_fail_and_touch_nothing),
        cmocka_unit_test(every_known_opcode_parses),
        cmocka_unit_test(masks_the_example_of_the_rfc),
        cmocka_unit_test(masks_as_defined_at_any_size_and_offset),
        cmocka_unit_test(masking_in_pieces_is_masking_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
