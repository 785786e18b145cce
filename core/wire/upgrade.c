#include "wire/upgrade.h"

#include "base/err.h"
#include "base/log.h"

#include <pthread.h>

#include <openssl/evp.h>
#include <openssl/sha.h>

static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

static bool is_base64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

/* 16 bytes are 22 characters and two of padding. */
static bool is_key(struct slice key)
{
    if (key.size != UPGRADE_KEY_SIZE)
        return false;
    for (size_t i = 0; i < UPGRADE_KEY_SIZE - 2; i++)
        if (!is_base64(key.at[i]))
            return false;
    /* The last character holds the last two bits of the 16 bytes, and four that are 0. */
    if (strchr("AQgw", key.at[UPGRADE_KEY_SIZE - 3]) == NULL)
        return false;
    return key.at[UPGRADE_KEY_SIZE - 2] == '=' && key.at[UPGRADE_KEY_SIZE - 1] == '=';
}

static bool asks_websocket(const struct http1_head *head)
{
    return http1_has_token(head, "Upgrade", "websocket") && http1_has_token(head, "Connection", "Upgrade");
}

static bool has(const struct http1_head *head, const char *name)
{
    return http1_value(head, name).at != NULL;
}

/* The bytes behind the head are frames; a body would be taken for them. */
static bool has_body(const struct http1_head *head)
{
    return has(head, "Transfer-Encoding") ||
           (has(head, "Content-Length") && !slice_is(http1_value(head, "Content-Length"), "0"));
}

int upgrade_check_request(const struct http1_head *request)
{
    if (!slice_is(request->method, "GET"))
        return ERR_HTTP_METHOD;
    if (!has(request, "Host") || has_body(request) || has(request, "Expect"))
        return ERR_HTTP_SYNTAX;
    if (!asks_websocket(request))
        return ERR_HTTP_NOT_UPGRADE;
    if (!slice_is(http1_value(request, "Sec-WebSocket-Version"), "13"))
        return ERR_HTTP_WS_VERSION;
    return is_key(http1_value(request, "Sec-WebSocket-Key")) ? 0 : ERR_HTTP_WS_KEY;
}

/* Distinct tokens, as they come. */
struct subprotocols {
    size_t count;
    struct slice name[UPGRADE_SUBPROTOCOLS_MAX];
};

static bool holds(const struct subprotocols *all, struct slice name)
{
    for (size_t i = 0; i < all->count; i++)
        if (slice_same(all->name[i], name))
            return true;
    return false;
}

static bool add_list(struct subprotocols *all, struct slice list)
{
    struct slice name;
    while (http1_next(&list, &name)) {
        if (!http1_is_token(name) || holds(all, name) || all->count == UPGRADE_SUBPROTOCOLS_MAX)
            return false;
        all->name[all->count++] = name;
    }
    return true;
}

/* No text, or an empty one, is a list of nothing. */
static struct slice list_of(const char *text)
{
    return text && *text ? (struct slice){.at = text, .size = strlen(text)} : (struct slice){0};
}

/* What in a list is equal to `name`, or a slice with at == NULL. */
static struct slice find(const char *list, struct slice name)
{
    struct slice element, rest = list_of(list);
    while (http1_next(&rest, &element))
        if (slice_same(element, name))
            return element;
    return (struct slice){0};
}

bool upgrade_subprotocols_valid(const char *list)
{
    struct subprotocols all = {.count = 0};
    return add_list(&all, list_of(list));
}

int upgrade_subprotocol(const struct http1_head *request, const char *ours, struct slice *ret_chosen)
{
    struct subprotocols wanted = {.count = 0};
    for (size_t i = 0; i < request->header_count; i++)
        if (slice_same_nocase(request->header[i].name, SLICE("Sec-WebSocket-Protocol")))
            if (!add_list(&wanted, request->header[i].value))
                return ERR_HTTP_EXTENSION;
    struct slice chosen = {0};
    for (size_t i = 0; i < wanted.count && chosen.at == NULL; i++)
        chosen = find(ours, wanted.name[i]);
    *ret_chosen = chosen;
    return 0;
}

static EVP_MD *sha1; /* for as long as the process lives */

static void fetch_sha1(void)
{
    sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
}

/* SHA1() asks the providers for the algorithm each time, which costs more than the digest. Loops in several
 * threads may share the algorithm, but no context. */
static void digest_of(const void *at, size_t size, uint8_t ret_digest[SHA_DIGEST_LENGTH])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fetch_sha1);
    if (sha1 == NULL || EVP_Digest(at, size, ret_digest, NULL, sha1, NULL) != 1)
        PANIC("no SHA-1 of OpenSSL");
}

/* Base64 of the SHA-1 of key and GUID, NUL-terminated. */
static void accept_of(const char *key, char ret_accept[UPGRADE_ACCEPT_SIZE + 1])
{
    uint8_t text[UPGRADE_KEY_SIZE + sizeof guid - 1];
    uint8_t digest[SHA_DIGEST_LENGTH];
    memcpy(text, key, UPGRADE_KEY_SIZE);
    memcpy(text + UPGRADE_KEY_SIZE, guid, sizeof guid - 1);
    digest_of(text, sizeof text, digest);
    EVP_EncodeBlock((uint8_t *)ret_accept, digest, sizeof digest);
}

void upgrade_accept(const struct http1_head *request, struct slice subprotocol, struct slice extra,
                    struct buf *out)
{
    static const char fixed[] = "HTTP/1.1 101 Switching Protocols\r\n"
                                "Upgrade: websocket\r\n"
                                "Connection: Upgrade\r\n"
                                "Sec-WebSocket-Accept: ";
    char accept[UPGRADE_ACCEPT_SIZE + 1];
    accept_of(http1_value(request, "Sec-WebSocket-Key").at, accept);
    buf_reserve(out, sizeof fixed + sizeof accept + extra.size + 4); /* at once, where there is no more */
    buf_append(out, fixed, sizeof fixed - 1);
    buf_append(out, accept, UPGRADE_ACCEPT_SIZE);
    buf_append(out, "\r\n", 2);
    if (subprotocol.at != NULL)
        buf_printf(out, "Sec-WebSocket-Protocol: %.*s\r\n", (int)subprotocol.size, subprotocol.at);
    buf_append(out, extra.at, extra.size);
    buf_append(out, "\r\n", 2);
}

struct answer {
    int status;
    const char *reason;
    const char *headers; /* that this status needs */
};

static const struct answer *answer_of(int status)
{
    static const struct answer answers[] = {
        {400, "Bad Request", ""},
        {401, "Unauthorized", "WWW-Authenticate: Bearer\r\n"},
        {403, "Forbidden", ""},
        {404, "Not Found", ""},
        {405, "Method Not Allowed", "Allow: GET\r\n"},
        {408, "Request Timeout", ""},
        {413, "Content Too Large", ""},
        {426, "Upgrade Required",
         "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"},
        {429, "Too Many Requests", ""},
        {431, "Request Header Fields Too Large", ""},
        {503, "Service Unavailable", ""},
    };
    static const struct answer internal = {500, "Internal Server Error", ""};
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++)
        if (answers[i].status == status)
            return &answers[i];
    return &internal;
}

void upgrade_refuse(int err, unsigned retry_after_s, struct buf *out)
{
    const struct answer *a = answer_of(err_http_status(err));
    buf_printf(out, "HTTP/1.1 %d %s\r\n%s", a->status, a->reason, a->headers);
    if ((a->status == 429 || a->status == 503) && retry_after_s > 0)
        buf_printf(out, "Retry-After: %u\r\n", retry_after_s);
    buf_printf(out,
               "Connection: close\r\n"
               "Content-Type: text/plain\r\n"
               "Content-Length: %zu\r\n"
               "\r\n"
               "%s\n",
               strlen(err_text(err)) + 1, err_text(err));
}

void upgrade_make_key(const uint8_t random[16], char ret_key[UPGRADE_KEY_SIZE + 1])
{
    EVP_EncodeBlock((uint8_t *)ret_key, random, 16);
}

static void add_header(const char *name, const char *value, struct buf *out)
{
    if (value && *value)
        buf_printf(out, "%s: %s\r\n", name, value);
}

void upgrade_request(const struct upgrade_ask *ask, struct buf *out)
{
    buf_printf(out,
               "GET %s HTTP/1.1\r\n"
               "Host: %s\r\n"
               "Upgrade: websocket\r\n"
               "Connection: Upgrade\r\n"
               "Sec-WebSocket-Key: %s\r\n"
               "Sec-WebSocket-Version: 13\r\n",
               ask->target, ask->host, ask->key);
    add_header("Origin", ask->origin, out);
    if (ask->token && *ask->token)
        buf_printf(out, "Authorization: Bearer %s\r\n", ask->token);
    add_header("Sec-WebSocket-Protocol", ask->subprotocols, out);
    buf_append(out, ask->extra.at, ask->extra.size);
    buf_append(out, "\r\n", 2);
}

/* None, or one of those offered. */
static bool agrees(const struct http1_head *response, const char *offered)
{
    size_t count = 0;
    for (size_t i = 0; i < response->header_count; i++)
        if (slice_is_nocase(response->header[i].name, "Sec-WebSocket-Protocol"))
            count++;
    struct slice chosen = http1_value(response, "Sec-WebSocket-Protocol");
    return count == 0 || (count == 1 && http1_is_token(chosen) && find(offered, chosen).at != NULL);
}

int upgrade_check_response(const struct http1_head *response, const char *key, const char *subprotocols,
                           bool extensions_offered)
{
    if (response->status != 101)
        return ERR_HTTP_STATUS;
    if (!asks_websocket(response))
        return ERR_HTTP_NOT_UPGRADE;
    char accept[UPGRADE_ACCEPT_SIZE + 1];
    accept_of(key, accept);
    if (!slice_is(http1_value(response, "Sec-WebSocket-Accept"), accept))
        return ERR_HTTP_ACCEPT;
    bool extended = has(response, "Sec-WebSocket-Extensions") && !extensions_offered;
    return has_body(response) || extended || !agrees(response, subprotocols) ? ERR_PROTOCOL : 0;
}
