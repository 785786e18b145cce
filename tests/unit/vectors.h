/* What rows of tests/vectors are written in: words, numbers and BYTES, which are pieces joined by '+', each
 * "text" with C escapes or hex digits, each repeated by *N. What does not parse makes the cursor bad, and all
 * later takes take nothing. */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct cursor {
    const char *at;
    bool bad;
};

static inline bool take(struct cursor *c, const char *word)
{
    size_t size = strlen(word);
    c->at += strspn(c->at, " ");
    if (c->bad || strncmp(c->at, word, size) != 0)
        return false;
    c->at += size;
    return true;
}

static inline void need(struct cursor *c, const char *word)
{
    if (!take(c, word))
        c->bad = true;
}

static inline bool at_end(struct cursor *c)
{
    c->at += strspn(c->at, " ");
    return *c->at == '\0';
}

static inline uint64_t take_number(struct cursor *c)
{
    char *end;
    uint64_t number = strtoull(c->at, &end, 10);
    c->bad = c->bad || end == c->at;
    c->at = end;
    return number;
}

static inline int hex_of(char c)
{
    const char *digits = "0123456789abcdef", *found = c != '\0' ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

static inline bool take_pair(struct cursor *c, struct buf *out)
{
    int high = hex_of(c->at[0]), low = high >= 0 ? hex_of(c->at[1]) : -1;
    if (low < 0)
        return false;
    uint8_t byte = (uint8_t)(high << 4 | low);
    buf_append(out, &byte, 1);
    c->at += 2;
    return true;
}

static inline void take_escape(struct cursor *c, struct buf *out)
{
    static const char names[] = "rnt\"\\", bytes[] = "\r\n\t\"\\";
    char name = *c->at;
    const char *found = name != '\0' ? strchr(names, name) : NULL;
    if (found == NULL && name != 'x') {
        c->bad = true;
        return;
    }
    c->at++;
    if (found)
        buf_append(out, bytes + (found - names), 1);
    else if (!take_pair(c, out))
        c->bad = true;
}

static inline void take_string(struct cursor *c, struct buf *out)
{
    while (!c->bad && *c->at != '"') {
        char byte = *c->at;
        if (byte == '\0')
            c->bad = true;
        else if (c->at++, byte == '\\')
            take_escape(c, out);
        else
            buf_append(out, &byte, 1);
    }
    need(c, "\"");
}

static inline void take_bytes(struct cursor *c, struct buf *out)
{
    do {
        struct buf piece = {0};
        if (take(c, "\""))
            take_string(c, &piece);
        else
            while (take_pair(c, &piece))
                ;
        uint64_t times = *c->at == '*' ? (c->at++, take_number(c)) : 1;
        for (uint64_t i = 0; !c->bad && i < times; i++)
            buf_append(out, piece.at ? piece.at : (const uint8_t *)"", piece.size);
        buf_free(&piece);
    } while (!c->bad && take(c, "+"));
}
