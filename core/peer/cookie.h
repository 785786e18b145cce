/* The one cookie that a client keeps, as a load balancer sets it to know it again: NAME=VALUE, bounded. Where
 * it is for and how long it lasts is not looked at: it goes back to the URL it came from. */
#pragma once

#include "base/buf.h"
#include "wire/http1.h"

#include <stdbool.h>

enum { COOKIE_MAX = 256 };

/* All zero is none. */
struct cookie {
    uint16_t size;
    char pair[COOKIE_MAX];
};

/* Keeps what a Set-Cookie says ("NAME=VALUE; Path=/"), in place of what was there; an empty value, or
 * Max-Age=0, leaves none. False, and nothing is changed, when it is malformed or longer than COOKIE_MAX. */
bool cookie_take(struct cookie *c, struct slice set_cookie);
/* The same for every Set-Cookie of an answer: the last one that is well formed stays. */
void cookie_hear(struct cookie *c, const struct http1_head *answer);
/* Appends the Cookie line, if there is one. */
void cookie_tell(const struct cookie *c, struct buf *out);
