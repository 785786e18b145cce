/* One WebSocket frame header (RFC 6455 section 5.2): bytes to struct and back, and the mask. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum frame_opcode {
    FRAME_CONTINUATION = 0x0,
    FRAME_TEXT = 0x1,
    FRAME_BINARY = 0x2,
    FRAME_CLOSE = 0x8,
    FRAME_PING = 0x9,
    FRAME_PONG = 0xA
};

enum { FRAME_HEAD_MAX = 14, FRAME_CONTROL_MAX = 125 };

static inline bool frame_is_control(uint8_t opcode)
{
    return opcode & 0x8;
}

struct frame_head {
    bool fin;
    uint8_t rsv; /* the three reserved bits, RSV1 = 4 */
    uint8_t opcode;
    bool masked;
    uint8_t mask[4];
    uint64_t length;
};

/* >0: bytes of the header; 0: more wanted; <0: ERR_LENGTH_FORM (not the shortest, or the top bit set),
 * ERR_OPCODE, ERR_CONTROL_FRAME. What depends on role or state (mask, RSV, fragments) is the caller's. */
int frame_parse(const uint8_t *at, size_t size, struct frame_head *ret_head);

/* Writes the header in its shortest form and returns its size, at most FRAME_HEAD_MAX. */
size_t frame_write(const struct frame_head *head, uint8_t out[FRAME_HEAD_MAX]);
/* The size frame_write would return. */
size_t frame_head_size(uint64_t length, bool masked);

/* XORs `bytes`, which begin `offset` bytes into the payload, with the mask; in place. Its own inverse. */
void frame_mask(uint8_t *bytes, size_t size, const uint8_t mask[4], uint64_t offset);
