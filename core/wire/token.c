#include "wire/token.h"

#include "base/buf.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

/* Digests are of one length, so that only they are compared. */
static bool same(struct slice shown, const char *wanted)
{
    uint8_t a[SHA256_DIGEST_LENGTH], b[SHA256_DIGEST_LENGTH];
    SHA256((const uint8_t *)shown.at, shown.size, a);
    SHA256((const uint8_t *)wanted, strlen(wanted), b);
    return shown.at != NULL && CRYPTO_memcmp(a, b, sizeof a) == 0;
}

static struct slice bearer(struct slice credentials)
{
    const char *space = credentials.size > 0 ? memchr(credentials.at, ' ', credentials.size) : NULL;
    if (space == NULL)
        return (struct slice){0};
    struct slice scheme = {.at = credentials.at, .size = (size_t)(space - credentials.at)};
    if (!slice_is_nocase(scheme, "Bearer"))
        return (struct slice){0};
    const char *end = credentials.at + credentials.size;
    while (space < end && *space == ' ')
        space++;
    return (struct slice){.at = space, .size = (size_t)(end - space)};
}

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* False where a % is not followed by two hexadecimal digits. */
static bool decode(struct slice escaped, struct buf *out)
{
    uint8_t *to = buf_reserve(out, escaped.size + 1);
    for (size_t i = 0; i < escaped.size; i++) {
        char c = escaped.at[i];
        if (c == '%') {
            int high = escaped.size - i > 2 ? hex_of(escaped.at[i + 1]) : -1;
            int low = high >= 0 ? hex_of(escaped.at[i + 2]) : -1;
            if (low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        to[out->size++] = (uint8_t)c;
    }
    return true;
}

bool token_matches(const char *wanted, const struct http1_head *request, struct slice query)
{
    struct buf plain = {0};
    if (*wanted == '\0')
        return true;
    struct slice escaped = http1_query_value(query, "token");
    bool by_header = same(bearer(http1_value(request, "Authorization")), wanted);
    bool by_query = escaped.at != NULL && decode(escaped, &plain) &&
                    same((struct slice){(const char *)plain.at, plain.size}, wanted);
    buf_free(&plain);
    return by_header || by_query;
}
