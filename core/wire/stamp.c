#include "wire/stamp.h"

#include <string.h>

static const char magic[] = "wsb1 ";
enum { MAGIC_SIZE = sizeof magic - 1, PUBLISHER_AT = MAGIC_SIZE, SEQUENCE_AT = 14, INTENDED_AT = 31 };
_Static_assert(INTENDED_AT + 16 + 1 == STAMP_SIZE, "the stamp is three numbers, each with a blank behind it");

static void put_hex(uint8_t *at, int digits, uint64_t value)
{
    for (int i = digits - 1; i >= 0; i--, value >>= 4)
        at[i] = (uint8_t) "0123456789abcdef"[value & 15];
    at[digits] = ' ';
}

/* The value of a lower-case hex digit plus one, 0 for any other byte. */
static const uint8_t hex_value[256] = {
    ['0'] = 1, ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

static bool get_hex(const uint8_t *at, int digits, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (int i = 0; i < digits; i++) {
        uint8_t digit = hex_value[at[i]];
        if (digit == 0)
            return false;
        value = value << 4 | (digit - 1u);
    }
    *ret_value = value;
    return at[digits] == ' ';
}

static uint8_t fill_of(uint64_t sequence)
{
    return (uint8_t)('a' + sequence % 26);
}

void stamp_write(const struct stamp *stamp, uint8_t *at, size_t size)
{
    memcpy(at, magic, MAGIC_SIZE);
    put_hex(at + PUBLISHER_AT, 8, stamp->publisher);
    put_hex(at + SEQUENCE_AT, 16, stamp->sequence);
    put_hex(at + INTENDED_AT, 16, stamp->intended_ns);
    memset(at + STAMP_SIZE, fill_of(stamp->sequence), size - STAMP_SIZE);
}

bool stamp_read(const uint8_t *at, size_t size, struct stamp *ret_stamp)
{
    uint64_t publisher, sequence, intended_ns;
    if (size < STAMP_SIZE || memcmp(at, magic, MAGIC_SIZE) != 0)
        return false;
    if (!get_hex(at + PUBLISHER_AT, 8, &publisher) || !get_hex(at + SEQUENCE_AT, 16, &sequence) ||
        !get_hex(at + INTENDED_AT, 16, &intended_ns))
        return false;
    *ret_stamp = (struct stamp){(uint32_t)publisher, sequence, intended_ns};
    return true;
}

bool stamp_intact(const struct stamp *stamp, const uint8_t *at, size_t size)
{
    uint8_t fill = fill_of(stamp->sequence);
    if (size == STAMP_SIZE)
        return true;
    /* All bytes equal the first one when the rest equals itself shifted by one. */
    return at[STAMP_SIZE] == fill && memcmp(at + STAMP_SIZE, at + STAMP_SIZE + 1, size - STAMP_SIZE - 1) == 0;
}
