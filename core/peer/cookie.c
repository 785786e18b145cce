#include "peer/cookie.h"

static struct slice trim(struct slice s)
{
    for (; s.size > 0 && (s.at[0] == ' ' || s.at[0] == '\t'); s.size--)
        s.at++;
    while (s.size > 0 && (s.at[s.size - 1] == ' ' || s.at[s.size - 1] == '\t'))
        s.size--;
    return s;
}

/* The text up to `mark`, which is taken off with it. */
static struct slice take_until(struct slice *rest, char mark)
{
    const char *end = rest->size > 0 ? memchr(rest->at, mark, rest->size) : NULL;
    struct slice taken = {.at = rest->at, .size = end != NULL ? (size_t)(end - rest->at) : rest->size};
    size_t used = taken.size + (end != NULL);
    *rest = (struct slice){.at = used > 0 ? rest->at + used : rest->at, .size = rest->size - used};
    return taken;
}

/* RFC 6265 section 4.1.1: no controls, white space, comma, semicolon, backslash; quotes are let through, they
 * are part of the value. */
static bool is_value(struct slice s)
{
    for (size_t i = 0; i < s.size; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if (c <= 0x20 || c >= 0x7f || c == ',' || c == ';' || c == '\\')
            return false;
    }
    return true;
}

static bool is_over(struct slice attributes)
{
    while (attributes.size > 0) {
        struct slice value = take_until(&attributes, ';');
        struct slice name = trim(take_until(&value, '='));
        value = trim(value);
        if (slice_is_nocase(name, "Max-Age") && value.size > 0 &&
            (value.at[0] == '-' || slice_is(value, "0")))
            return true;
    }
    return false;
}

bool cookie_take(struct cookie *c, struct slice set_cookie)
{
    struct slice attributes = set_cookie;
    struct slice pair = trim(take_until(&attributes, ';'));
    struct slice value = pair;
    struct slice name = take_until(&value, '=');
    if (name.size == pair.size || !http1_is_token(name) || !is_value(value) || pair.size > COOKIE_MAX)
        return false;
    c->size = value.size > 0 && !is_over(attributes) ? (uint16_t)pair.size : 0;
    memcpy(c->pair, pair.at, c->size);
    return true;
}

void cookie_hear(struct cookie *c, const struct http1_head *answer)
{
    for (size_t i = 0; i < answer->header_count; i++)
        if (slice_is_nocase(answer->header[i].name, "Set-Cookie"))
            cookie_take(c, answer->header[i].value);
}

void cookie_tell(const struct cookie *c, struct buf *out)
{
    if (c->size > 0)
        buf_printf(out, "Cookie: %.*s\r\n", (int)c->size, c->pair);
}
