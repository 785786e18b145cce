#include "messages.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LARGEST = 1 << 20, POOL = 2 * LARGEST, MARGIN = 4 };

static uint8_t binary_pool[POOL];
static uint8_t text_pool[POOL];

static size_t below(struct rng *rng, size_t end)
{
    return rng_next(rng) % end;
}

/* Half of it can be compressed, half cannot. */
static void fill_binary(struct rng *rng)
{
    for (size_t at = 0; at < POOL;) {
        size_t end = at + 1 + below(rng, 256);
        bool noise = below(rng, 2);
        uint8_t byte = (uint8_t)rng_next(rng);
        for (; at < end && at < POOL; at++)
            binary_pool[at] = noise ? (uint8_t)(rng_next(rng) >> 32) : byte;
    }
}

static void fill_text(struct rng *rng)
{
    static const char *const words[] = {"to", "be", "or",         "not ",   "é",           "€",
                                        "😀",  "\n", "0123456789", "market", "{\"price\":", "},"};
    for (size_t at = 0; at < POOL;) {
        const char *word = words[below(rng, sizeof words / sizeof *words)];
        for (; *word != '\0' && at < POOL; word++)
            text_pool[at++] = (uint8_t)*word;
    }
}

void samples_begin(struct rng *rng, uint64_t seed)
{
    if (text_pool[0] == 0) {
        rng_seed(rng, 0);
        fill_binary(rng);
        fill_text(rng);
    }
    rng_seed(rng, seed);
}

static bool in_character(size_t at)
{
    return (text_pool[at] & 0xC0) == 0x80;
}

struct sample samples_next(struct rng *rng)
{
    bool text = below(rng, 2);
    size_t size = (size_t)exp(rng_unit(rng) * log(LARGEST + 2)) - 1;
    size_t from = below(rng, POOL - LARGEST - MARGIN);
    size_t to = from + size;
    while (text && in_character(from))
        from++;
    while (text && to > from && in_character(to))
        to--;
    size_t frames = below(rng, 10) < 7 ? 1 : 2 + below(rng, 6);
    return (struct sample){(text ? text_pool : binary_pool) + from, to > from ? to - from : 0, frames, text};
}

bool sample_is(const struct sample *s, bool text, const uint8_t *at, size_t size)
{
    if (s->text == text && s->size == size && (size == 0 || memcmp(s->at, at, size) == 0))
        return true;
    fprintf(stderr, "%s of %zu bytes, wanted %s of %zu\n", text ? "text" : "binary", size,
            s->text ? "text" : "binary", s->size);
    return false;
}
