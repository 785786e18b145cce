#include "wire/frame.h"

#include "base/bytes.h"
#include "base/err.h"

#include <string.h>

enum {
    FIN = 0x80,
    MASKED = 0x80,
    LENGTH_16 = 126, /* the length follows in two bytes */
    LENGTH_64 = 127, /* in eight */
    MASK_SIZE = 4
};

static int check_opcode(const struct frame_head *head)
{
    static const uint16_t known = 1 << FRAME_CONTINUATION | 1 << FRAME_TEXT | 1 << FRAME_BINARY |
                                  1 << FRAME_CLOSE | 1 << FRAME_PING | 1 << FRAME_PONG;
    if (!(known >> head->opcode & 1))
        return ERR_OPCODE;
    if (frame_is_control(head->opcode) && (!head->fin || head->length > FRAME_CONTROL_MAX))
        return ERR_CONTROL_FRAME;
    return 0;
}

/* Bytes of the extended length, by the seven bits of the short one. */
static size_t length_size(uint64_t short_length)
{
    return short_length == LENGTH_64 ? 8 : short_length == LENGTH_16 ? 2 : 0;
}

static uint8_t short_length(uint64_t length)
{
    return length > UINT16_MAX ? LENGTH_64 : length >= LENGTH_16 ? LENGTH_16 : (uint8_t)length;
}

/* Replaces the short length by the one that follows it at `at`. */
static int read_length(struct frame_head *head, const uint8_t *at)
{
    uint64_t form = head->length;
    if (form < LENGTH_16)
        return 0;
    head->length = form == LENGTH_16 ? get_u16(at) : get_u64(at);
    return short_length(head->length) == form && head->length <= INT64_MAX ? 0 : ERR_LENGTH_FORM;
}

int frame_parse(const uint8_t *at, size_t size, struct frame_head *ret_head)
{
    if (size < 2)
        return 0;
    struct frame_head head = {
        .fin = at[0] & FIN,
        .rsv = at[0] >> 4 & 0x7,
        .opcode = at[0] & 0xF,
        .masked = at[1] & MASKED,
        .length = at[1] & 0x7F,
    };
    int err = check_opcode(&head);
    if (err < 0)
        return err;
    size_t mask_at = 2 + length_size(head.length);
    size_t head_size = mask_at + (head.masked ? MASK_SIZE : 0);
    if (size < head_size)
        return 0;
    err = read_length(&head, at + 2);
    if (err < 0)
        return err;
    if (head.masked)
        memcpy(head.mask, at + mask_at, MASK_SIZE);
    *ret_head = head;
    return (int)head_size;
}

size_t frame_write(const struct frame_head *head, uint8_t out[FRAME_HEAD_MAX])
{
    uint8_t form = short_length(head->length);
    out[0] = (uint8_t)((head->fin ? FIN : 0) | head->rsv << 4 | head->opcode);
    out[1] = (uint8_t)((head->masked ? MASKED : 0) | form);
    if (form == LENGTH_16)
        put_u16(out + 2, (uint16_t)head->length);
    else if (form == LENGTH_64)
        put_u64(out + 2, head->length);
    size_t size = 2 + length_size(form);
    if (!head->masked)
        return size;
    memcpy(out + size, head->mask, MASK_SIZE);
    return size + MASK_SIZE;
}

size_t frame_head_size(uint64_t length, bool masked)
{
    return 2 + length_size(short_length(length)) + (masked ? MASK_SIZE : 0);
}

void frame_mask(uint8_t *bytes, size_t size, const uint8_t mask[4], uint64_t offset)
{
    uint8_t key[8]; /* the mask twice, turned so that key[0] belongs to bytes[0] */
    for (unsigned i = 0; i < sizeof key; i++)
        key[i] = mask[(offset + i) % MASK_SIZE];
    uint64_t key_word;
    memcpy(&key_word, key, sizeof key);
    size_t i = 0;
    for (; size - i >= sizeof key_word; i += sizeof key_word) {
        uint64_t word;
        memcpy(&word, bytes + i, sizeof word);
        word ^= key_word;
        memcpy(bytes + i, &word, sizeof word);
    }
    for (; i < size; i++)
        bytes[i] ^= key[i % sizeof key];
}
