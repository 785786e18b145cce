/* A head, whole and as it grows: the verdict is the same. First byte: request or response, the limits;
 * second: by how much the head grows. */
#include "fuzz.h"
#include "wire/http1.h"

typedef int parse_fn(const char *at, size_t size, const struct http1_limits *limits, struct http1_scan *scan,
                     struct http1_head *ret_head);

static void expect_same(struct slice a, struct slice b)
{
    EXPECT(a.size == b.size && (a.size == 0 || memcmp(a.at, b.at, a.size) == 0));
}

static void expect_same_head(const struct http1_head *a, const struct http1_head *b)
{
    expect_same(a->method, b->method);
    expect_same(a->target, b->target);
    EXPECT(a->status == b->status && a->header_count == b->header_count);
    for (size_t i = 0; i < a->header_count; i++) {
        expect_same(a->header[i].name, b->header[i].name);
        expect_same(a->header[i].value, b->header[i].value);
    }
}

static void use(const struct http1_head *head)
{
    struct slice path, query, element, list = http1_value(head, "Connection");
    while (http1_next(&list, &element))
        (void)http1_is_token(element);
    (void)http1_has_token(head, "Upgrade", "websocket");
    if (head->target.at == NULL) /* a response */
        return;
    http1_split_target(head->target, &path, &query);
    EXPECT(path.size + query.size <= head->target.size);
    (void)http1_query_value(query, "token");
}

/* The verdict on the head as it grows, and on how much of it. */
static int grow(parse_fn *parse, const uint8_t *at, size_t size, size_t step,
                const struct http1_limits *limits, const struct http1_head *whole)
{
    struct http1_scan scan = {0};
    struct http1_head head;
    int verdict = 0;
    for (size_t now = 0; verdict == 0 && now < size;) {
        now += least(step, size - now);
        char *copy = fuzz_copy(at, now);
        verdict = parse(copy, now, limits, &scan, &head);
        if (verdict > 0 && whole)
            expect_same_head(&head, whole);
        free(copy);
    }
    /* Only of a line that has not ended is the error not told. */
    bool open = scan.line >= size || memchr(at + scan.line, '\n', size - scan.line) == NULL;
    return verdict == 0 && !open ? 1 : verdict;
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    uint8_t kind = fuzz_byte(&at, &size);
    size_t step = 1 + fuzz_byte(&at, &size) % 64;
    parse_fn *parse = kind & 1 ? http1_response : http1_request;
    struct http1_limits limits = {.bytes = kind & 2 ? 64 : 8192, .headers = kind & 4 ? 3 : HTTP1_HEADERS_MAX};
    struct http1_head head;
    char *copy = fuzz_copy(at, size);
    int whole = parse(copy, size, &limits, NULL, &head);
    if (whole > 0) {
        EXPECT((size_t)whole <= size && (size_t)whole <= limits.bytes && head.header_count <= limits.headers);
        use(&head);
    }
    int grown = grow(parse, at, size, step, &limits, whole > 0 ? &head : NULL);
    EXPECT(grown == whole || (grown == 0 && whole < 0));
    free(copy);
    return 0;
}
