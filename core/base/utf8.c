#include "base/utf8.h"

#include <string.h>

/* The grammar of RFC 3629 section 4. A state is what the next byte has to be; E0, ED, F0 and F4 narrow the
 * byte behind them, which is what keeps out overlong forms, surrogates and numbers above U+10FFFF. */
enum {
    START = UTF8_START,
    WRONG = UTF8_INVALID,
    TAIL_1, /* one more continuation byte, two, three */
    TAIL_2,
    TAIL_3,
    AFTER_E0,
    AFTER_ED,
    AFTER_F0,
    AFTER_F4,
    STATES
};

static const struct {
    uint8_t low, high, next;
} continuation[STATES] = {
    [TAIL_1] = {0x80, 0xBF, START},    [TAIL_2] = {0x80, 0xBF, TAIL_1},   [TAIL_3] = {0x80, 0xBF, TAIL_2},
    [AFTER_E0] = {0xA0, 0xBF, TAIL_1}, [AFTER_ED] = {0x80, 0x9F, TAIL_1}, [AFTER_F0] = {0x90, 0xBF, TAIL_2},
    [AFTER_F4] = {0x80, 0x8F, TAIL_2},
};

/* clang-format off */
static const uint8_t after_lead[64] = { /* 0xC0 to 0xFF */
    WRONG,    WRONG,  TAIL_1, TAIL_1, TAIL_1,   TAIL_1, TAIL_1, TAIL_1,
    TAIL_1,   TAIL_1, TAIL_1, TAIL_1, TAIL_1,   TAIL_1, TAIL_1, TAIL_1,
    TAIL_1,   TAIL_1, TAIL_1, TAIL_1, TAIL_1,   TAIL_1, TAIL_1, TAIL_1,
    TAIL_1,   TAIL_1, TAIL_1, TAIL_1, TAIL_1,   TAIL_1, TAIL_1, TAIL_1,
    AFTER_E0, TAIL_2, TAIL_2, TAIL_2, TAIL_2,   TAIL_2, TAIL_2, TAIL_2,
    TAIL_2,   TAIL_2, TAIL_2, TAIL_2, TAIL_2, AFTER_ED, TAIL_2, TAIL_2,
    AFTER_F0, TAIL_3, TAIL_3, TAIL_3, AFTER_F4, WRONG,  WRONG,  WRONG,
    WRONG,    WRONG,  WRONG,  WRONG,  WRONG,    WRONG,  WRONG,  WRONG,
};
/* clang-format on */

static size_t ascii_run(const uint8_t *bytes, size_t size)
{
    size_t i = 0;
    for (; size - i >= sizeof(uint64_t); i += sizeof(uint64_t)) {
        uint64_t eight;
        memcpy(&eight, bytes + i, sizeof eight);
        if (eight & 0x8080808080808080)
            break;
    }
    while (i < size && bytes[i] < 0x80)
        i++;
    return i;
}

/* `byte` is not ASCII. */
static uint8_t begin_sequence(uint8_t byte)
{
    return byte < 0xC0 ? WRONG : after_lead[byte - 0xC0];
}

static uint8_t continue_sequence(uint8_t state, uint8_t byte)
{
    return byte >= continuation[state].low && byte <= continuation[state].high ? continuation[state].next
                                                                               : WRONG;
}

uint8_t utf8_check(uint8_t state, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size && state != WRONG; i++) {
        if (state != START) {
            state = continue_sequence(state, bytes[i]);
            continue;
        }
        i += ascii_run(bytes + i, size - i);
        if (i < size)
            state = begin_sequence(bytes[i]);
    }
    return state;
}
