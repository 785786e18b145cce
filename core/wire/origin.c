#include "wire/origin.h"

#include "wire/authority.h"
#include "wire/http1.h"

struct origin {
    struct slice scheme, host;
    int port; /* AUTHORITY_NO_PORT where it is the scheme's own */
};

static int port_of_scheme(struct slice scheme)
{
    if (slice_is_nocase(scheme, "http") || slice_is_nocase(scheme, "ws"))
        return 80;
    if (slice_is_nocase(scheme, "https") || slice_is_nocase(scheme, "wss"))
        return 443;
    return AUTHORITY_NO_PORT;
}

static bool is_scheme(struct slice s)
{
    for (size_t i = 0; i < s.size; i++) {
        char folded = (char)(s.at[i] | 0x20);
        bool letter = folded >= 'a' && folded <= 'z';
        bool other = (s.at[i] >= '0' && s.at[i] <= '9') || (s.at[i] != '\0' && strchr("+-.", s.at[i]));
        if (!letter && (i == 0 || !other))
            return false;
    }
    return s.size > 0;
}

/* scheme://host[:port] and nothing behind it. */
static bool origin_parse(struct slice text, struct origin *ret_origin)
{
    struct origin o;
    const char *colon = text.size > 0 ? memchr(text.at, ':', text.size) : NULL;
    if (colon == NULL)
        return false;
    o.scheme = (struct slice){.at = text.at, .size = (size_t)(colon - text.at)};
    struct slice rest = {.at = colon, .size = text.size - o.scheme.size};
    if (!is_scheme(o.scheme) || rest.size < 3 || memcmp(rest.at, "://", 3) != 0)
        return false;
    if (!authority_split((struct slice){rest.at + 3, rest.size - 3}, &o.host, &o.port))
        return false;
    if (o.port == port_of_scheme(o.scheme))
        o.port = AUTHORITY_NO_PORT;
    *ret_origin = o;
    return true;
}

static bool same_origin(struct slice listed, struct slice origin)
{
    struct origin a, b;
    if (origin.at == NULL || slice_is(listed, "absent"))
        return origin.at == NULL && slice_is(listed, "absent");
    if (slice_is(listed, "null") || slice_is(origin, "null"))
        return slice_is(listed, "null") && slice_is(origin, "null");
    return origin_parse(listed, &a) && origin_parse(origin, &b) && a.port == b.port &&
           slice_same_nocase(a.scheme, b.scheme) && slice_same_nocase(a.host, b.host);
}

bool origin_allowed(struct slice list, struct slice origin)
{
    struct slice listed;
    if (list.size == 0)
        return true;
    while (http1_next(&list, &listed))
        if (same_origin(listed, origin))
            return true;
    return false;
}

bool origin_list_valid(const char *list)
{
    struct slice rest = {.at = list, .size = strlen(list)};
    struct slice listed;
    struct origin o;
    if (rest.size == 0)
        return true;
    while (http1_next(&rest, &listed))
        if (!slice_is(listed, "null") && !slice_is(listed, "absent") &&
            (!origin_parse(listed, &o) || memchr(o.host.at, '*', o.host.size)))
            return false;
    return true;
}
