/* Which pages may connect: a list of origins as a browser serializes them (RFC 6454 section 6.2). */
#pragma once

#include "base/bytes.h"

#include <stdbool.h>

/* Whether the value of a request's Origin header (at == NULL: there was none) is in the list, which reads
 * like "https://a.example, http://b.example:8080, null, absent": scheme and host are compared without case,
 * the scheme's own port is the same as none, `null` is what a browser sends for a page without an origin, and
 * `absent` stands for no header. An empty list allows any; a malformed Origin is in no other. */
bool origin_allowed(struct slice list, struct slice origin);

/* Whether each element of the list is one of the above. A star is no host: it would match nothing. */
bool origin_list_valid(const char *list);
