/* Both sides of the handshake, and what a server asks besides it. First byte: which. */
#include "fuzz.h"
#include "wire/origin.h"
#include "wire/token.h"
#include "wire/upgrade.h"

static const struct http1_limits limits = {8192, HTTP1_HEADERS_MAX};
static const char ours[] = "chat, superchat";

/* The answer to a good request is one that its client takes. */
static void answer(const struct http1_head *request)
{
    struct slice chosen = {0}, key = http1_value(request, "Sec-WebSocket-Key");
    struct buf out = {0};
    struct http1_head response;
    char text[UPGRADE_KEY_SIZE + 1] = {0};
    if (upgrade_subprotocol(request, ours, &chosen) < 0)
        return;
    EXPECT(key.size == UPGRADE_KEY_SIZE);
    memcpy(text, key.at, UPGRADE_KEY_SIZE);
    upgrade_accept(request, chosen, (struct slice){0}, &out);
    int n = http1_response((const char *)out.at, out.size, &limits, NULL, &response);
    EXPECT(n > 0 && (size_t)n == out.size);
    EXPECT(upgrade_check_response(&response, text, ours, false) == 0);
    buf_free(&out);
}

static void refuse(int err)
{
    struct buf out = {0};
    struct http1_head response;
    upgrade_refuse(err, 1, &out);
    EXPECT(http1_response((const char *)out.at, out.size, &limits, NULL, &response) > 0);
    EXPECT(response.status == err_http_status(err));
    buf_free(&out);
}

static void on_request(const uint8_t *at, size_t size)
{
    struct http1_head head;
    struct slice path, query;
    char *copy = fuzz_copy(at, size);
    int err = http1_request(copy, size, &limits, NULL, &head);
    if (err > 0) {
        http1_split_target(head.target, &path, &query);
        (void)origin_allowed(SLICE("https://a.example, null"), http1_value(&head, "Origin"));
        (void)token_matches("secret", &head, query);
        EXPECT(token_matches("", &head, query));
        err = upgrade_check_request(&head);
        if (err == 0)
            answer(&head);
    }
    if (err < 0)
        refuse(err);
    free(copy);
}

static void on_response(const uint8_t *at, size_t size, bool offered)
{
    struct http1_head head;
    char *copy = fuzz_copy(at, size);
    if (http1_response(copy, size, &limits, NULL, &head) > 0)
        EXPECT(upgrade_check_response(&head, "dGhlIHNhbXBsZSBub25jZQ==", ours, offered) <= 0);
    free(copy);
}

/* A list, then an origin: the empty list takes it, and "list, extra" all that the list does. */
static void on_origin(const uint8_t *at, size_t size)
{
    char *list = fuzz_text(&at, &size);
    char *origin = fuzz_copy(at, size);
    struct slice shown = {.at = origin, .size = size};
    struct slice all = {.at = list, .size = strlen(list)};
    EXPECT(origin_allowed((struct slice){0}, shown));
    bool valid = origin_list_valid(list);
    if (valid && all.size > 0 && origin_allowed(all, shown)) {
        struct buf more = {0};
        buf_printf(&more, "%s, http://another.example", list);
        EXPECT(origin_allowed((struct slice){.at = (const char *)more.at, .size = more.size}, shown));
        buf_free(&more);
    }
    (void)upgrade_subprotocols_valid(list);
    free(list);
    free(origin);
}

/* A token, then a query; a token without %, & shows itself. */
static void on_token(const uint8_t *at, size_t size)
{
    struct http1_head head = {.header_count = 0};
    char *token = fuzz_text(&at, &size);
    char *query = fuzz_copy(at, size);
    (void)token_matches(token, &head, (struct slice){.at = query, .size = size});
    if (strpbrk(token, "%&") == NULL) {
        struct buf own = {0};
        buf_printf(&own, "token=%s", token);
        EXPECT(token_matches(token, &head, (struct slice){.at = (const char *)own.at, .size = own.size}));
        buf_free(&own);
    }
    free(token);
    free(query);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    uint8_t kind = fuzz_byte(&at, &size);
    switch (kind % 5) {
    case 0: on_request(at, size); break;
    case 1: on_response(at, size, false); break;
    case 2: on_response(at, size, true); break;
    case 3: on_origin(at, size); break;
    default: on_token(at, size); break;
    }
    return 0;
}
