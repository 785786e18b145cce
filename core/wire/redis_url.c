#include "wire/redis_url.h"

#include "base/err.h"
#include "wire/authority.h"

#include <stdio.h>

/* What is wrong with the text; its caller makes it one of errors. */
struct reason {
    char *text;
    size_t size;
};

static int wrong(struct reason why, const char *what)
{
    snprintf(why.text, why.size, "%s", what);
    return ERR_OPTION_VALUE;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* False for a broken escape, a NUL, or no room. */
static bool decode(struct slice from, char *to, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < from.size; i++) {
        int c = (unsigned char)from.at[i];
        if (c == '%') {
            if (from.size - i < 3 || hex(from.at[i + 1]) < 0 || hex(from.at[i + 2]) < 0)
                return false;
            c = hex(from.at[i + 1]) * 16 + hex(from.at[i + 2]);
            i += 2;
        }
        if (c == '\0' || used + 1 >= size)
            return false;
        to[used++] = (char)c;
    }
    to[used] = '\0';
    return true;
}

static bool decode_db(struct slice text, uint32_t *ret_db)
{
    uint32_t db = 0;
    if (text.size == 0 || text.size > 6)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        db = db * 10 + (uint32_t)(text.at[i] - '0');
    }
    *ret_db = db;
    return true;
}

/* The part before `mark`, which is skipped; all of it where there is none. */
static struct slice take_until(struct slice *text, char mark)
{
    const char *at = text->size > 0 ? memchr(text->at, mark, text->size) : NULL;
    struct slice part = {text->at, at != NULL ? (size_t)(at - text->at) : text->size};
    size_t skip = part.size + (at != NULL);
    *text = (struct slice){text->at + skip, text->size - skip};
    return part;
}

static int parse_parameter(struct slice pair, struct redis_url *url, struct reason why)
{
    struct slice name = take_until(&pair, '=');
    if (slice_is(name, "db"))
        return decode_db(pair, &url->db) ? 0 : wrong(why, "db: not a number");
    if (slice_is(name, "user"))
        return decode(pair, url->user, sizeof url->user) ? 0 : wrong(why, "user: malformed or too long");
    if (slice_is(name, "password"))
        return decode(pair, url->password, sizeof url->password)
                   ? 0
                   : wrong(why, "password: malformed or too long");
    return wrong(why, "parameter: neither db, user nor password");
}

static int parse_unix(struct slice rest, struct redis_url *url, struct reason why)
{
    struct slice path = take_until(&rest, '?');
    if (path.size < 2 || *path.at != '/')
        return wrong(why, "path: not absolute");
    if (!decode(path, url->path, sizeof url->path))
        return wrong(why, "path: malformed, or longer than a socket's may be");
    url->port = 0;
    while (rest.size > 0) {
        int err = parse_parameter(take_until(&rest, '&'), url, why);
        if (err < 0)
            return err;
    }
    return 0;
}

static int parse_user(struct slice text, struct redis_url *url, struct reason why)
{
    if (!decode(take_until(&text, ':'), url->user, sizeof url->user))
        return wrong(why, "user: malformed or too long");
    if (!decode(text, url->password, sizeof url->password))
        return wrong(why, "password: malformed or too long");
    return 0;
}

static int parse_host(struct slice text, struct redis_url *url, struct reason why)
{
    struct slice host;
    int port;
    if (!authority_split(text, &host, &port) || port == 0)
        return wrong(why, "host: malformed host or port");
    if (*host.at == '[')
        host = (struct slice){.at = host.at + 1, .size = host.size - 2};
    if (host.size >= sizeof url->host)
        return wrong(why, "host: too long");
    memcpy(url->host, host.at, host.size);
    url->port = port == AUTHORITY_NO_PORT ? REDIS_URL_PORT : (uint16_t)port;
    return 0;
}

static int parse_network(struct slice rest, struct redis_url *url, struct reason why)
{
    if (rest.size > 0 && (memchr(rest.at, '?', rest.size) != NULL || memchr(rest.at, '#', rest.size) != NULL))
        return wrong(why, "parameter: only unix:// takes any");
    struct slice authority = take_until(&rest, '/');
    const char *at = NULL;
    for (size_t i = 0; i < authority.size; i++)
        if (authority.at[i] == '@')
            at = authority.at + i;
    if (at != NULL) {
        struct slice user = {authority.at, (size_t)(at - authority.at)};
        int err = parse_user(user, url, why);
        if (err < 0)
            return err;
        authority = (struct slice){at + 1, authority.size - user.size - 1};
    }
    int err = parse_host(authority, url, why);
    if (err < 0)
        return err;
    return rest.size == 0 || decode_db(rest, &url->db) ? 0 : wrong(why, "db: not a number");
}

static bool take_prefix(struct slice *text, const char *prefix)
{
    size_t size = strlen(prefix);
    if (text->size < size || memcmp(text->at, prefix, size) != 0)
        return false;
    *text = (struct slice){text->at + size, text->size - size};
    return true;
}

int redis_url_parse(const char *text, struct redis_url *ret_url, char *why_text, size_t why_size)
{
    struct reason why = {why_text, why_size};
    struct redis_url url = {0};
    struct slice rest = {text, strlen(text)};
    int err;
    if (take_prefix(&rest, "unix://")) {
        err = parse_unix(rest, &url, why);
    } else if (take_prefix(&rest, "redis://")) {
        err = parse_network(rest, &url, why);
    } else if (take_prefix(&rest, "rediss://")) {
        url.secure = true;
        err = parse_network(rest, &url, why);
    } else {
        return wrong(why, "scheme: neither redis://, rediss:// nor unix://");
    }
    if (err < 0)
        return err;
    if (*url.user != '\0' && *url.password == '\0')
        return wrong(why, "password: missing behind the user");
    *ret_url = url;
    return 0;
}

char *redis_url_place(const struct redis_url *url, char *text, size_t size)
{
    bool v6 = strchr(url->host, ':') != NULL;
    if (*url->path != '\0')
        snprintf(text, size, "%s", url->path);
    else
        snprintf(text, size, "%s%s%s:%u", v6 ? "[" : "", url->host, v6 ? "]" : "", url->port);
    return text;
}
