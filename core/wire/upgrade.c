#include "wire/upgrade.h"

#include "base/err.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <stdbool.h>

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
    if (http1_value(request, "Host").size == 0 || has_body(request))
        return ERR_HTTP_SYNTAX;
    if (!asks_websocket(request))
        return ERR_HTTP_NOT_UPGRADE;
    if (!slice_is(http1_value(request, "Sec-WebSocket-Version"), "13"))
        return ERR_HTTP_WS_VERSION;
    return is_key(http1_value(request, "Sec-WebSocket-Key")) ? 0 : ERR_HTTP_WS_KEY;
}

/* Base64 of the SHA-1 of key and GUID, NUL-terminated. */
static void accept_of(const char *key, char ret_accept[UPGRADE_ACCEPT_SIZE + 1])
{
    uint8_t text[UPGRADE_KEY_SIZE + sizeof guid - 1];
    uint8_t digest[SHA_DIGEST_LENGTH];
    memcpy(text, key, UPGRADE_KEY_SIZE);
    memcpy(text + UPGRADE_KEY_SIZE, guid, sizeof guid - 1);
    SHA1(text, sizeof text, digest);
    EVP_EncodeBlock((uint8_t *)ret_accept, digest, sizeof digest);
}

void upgrade_accept(const struct http1_head *request, struct buf *out)
{
    char accept[UPGRADE_ACCEPT_SIZE + 1];
    accept_of(http1_value(request, "Sec-WebSocket-Key").at, accept);
    buf_printf(out,
               "HTTP/1.1 101 Switching Protocols\r\n"
               "Upgrade: websocket\r\n"
               "Connection: Upgrade\r\n"
               "Sec-WebSocket-Accept: %s\r\n"
               "\r\n",
               accept);
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
        {404, "Not Found", ""},
        {405, "Method Not Allowed", "Allow: GET\r\n"},
        {408, "Request Timeout", ""},
        {413, "Content Too Large", ""},
        {426, "Upgrade Required",
         "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"},
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
    if (a->status == 503 && retry_after_s > 0)
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

void upgrade_request(const char *host, const char *target, const char *origin, const char *key,
                     struct buf *out)
{
    buf_printf(out,
               "GET %s HTTP/1.1\r\n"
               "Host: %s\r\n"
               "Upgrade: websocket\r\n"
               "Connection: Upgrade\r\n"
               "Sec-WebSocket-Key: %s\r\n"
               "Sec-WebSocket-Version: 13\r\n",
               target, host, key);
    if (origin)
        buf_printf(out, "Origin: %s\r\n", origin);
    buf_printf(out, "\r\n");
}

int upgrade_check_response(const struct http1_head *response, const char *key)
{
    if (response->status != 101)
        return ERR_HTTP_STATUS;
    if (!asks_websocket(response))
        return ERR_HTTP_NOT_UPGRADE;
    char accept[UPGRADE_ACCEPT_SIZE + 1];
    accept_of(key, accept);
    if (!slice_is(http1_value(response, "Sec-WebSocket-Accept"), accept))
        return ERR_HTTP_ACCEPT;
    bool unasked = has(response, "Sec-WebSocket-Extensions") || has(response, "Sec-WebSocket-Protocol");
    return unasked ? ERR_PROTOCOL : 0;
}
