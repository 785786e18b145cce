#include "wire/redis_slot.h"

uint16_t redis_crc16(struct slice bytes)
{
    uint32_t crc = 0;
    for (size_t i = 0; i < bytes.size; i++) {
        crc ^= (uint32_t)(uint8_t)bytes.at[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1) & 0xFFFF;
    }
    return (uint16_t)crc;
}

uint16_t redis_slot(struct slice key)
{
    const char *open = key.size > 0 ? memchr(key.at, '{', key.size) : NULL;
    if (open != NULL) {
        const char *tag = open + 1;
        const char *close = memchr(tag, '}', key.size - (size_t)(tag - key.at));
        if (close != NULL && close > tag)
            key = (struct slice){tag, (size_t)(close - tag)};
    }
    return redis_crc16(key) % REDIS_SLOTS;
}

/* Decimal digits, at least one, up to `most`; what is behind them stays in text. */
static bool take_number(struct slice *text, uint32_t most, uint16_t *ret_number)
{
    uint32_t number = 0;
    size_t i = 0;
    for (; i < text->size && text->at[i] >= '0' && text->at[i] <= '9'; i++) {
        number = number * 10 + (uint32_t)(text->at[i] - '0');
        if (number > most)
            return false;
    }
    *text = (struct slice){text->at + i, text->size - i};
    *ret_number = (uint16_t)number;
    return i > 0;
}

static bool take_word(struct slice *text, struct slice word)
{
    if (text->size < word.size || memcmp(text->at, word.at, word.size) != 0)
        return false;
    *text = (struct slice){text->at + word.size, text->size - word.size};
    return true;
}

bool redis_redirect_parse(struct slice error, struct redis_redirect *ret_redirect)
{
    struct redis_redirect r = {0};
    if (take_word(&error, SLICE("ASK ")))
        r.ask = true;
    else if (!take_word(&error, SLICE("MOVED ")))
        return false;
    if (!take_number(&error, REDIS_SLOTS - 1, &r.slot) || !take_word(&error, SLICE(" ")))
        return false;
    /* The last colon: an IPv6 address has more of them, and stands without brackets. */
    size_t colon = error.size;
    while (colon > 0 && error.at[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return false;
    r.host = (struct slice){error.at, colon - 1};
    if (r.host.size > 2 && *r.host.at == '[')
        r.host = (struct slice){r.host.at + 1, r.host.size - 2};
    struct slice port = {error.at + colon, error.size - colon};
    if (!take_number(&port, UINT16_MAX, &r.port) || port.size > 0 || r.port == 0)
        return false;
    *ret_redirect = r;
    return true;
}
