/* zlib's streams in both directions, and the negotiation. First byte: which; second: its terms. */
#include "fuzz.h"
#include "wire/deflate.h"

enum { MOST = 4096 };

/* Any bytes, as two messages in pieces: never more than allowed, and an error that is one of two. */
static void inflate_bytes(uint8_t setup, const uint8_t *at, size_t size)
{
    struct inflater *z = inflater_new(8 + setup % 8);
    size_t step = 1 + setup / 8U;
    int err = 0;
    struct buf out = {0};
    for (size_t done = 0, piece; err == 0 && done < size; done += piece) {
        piece = least(step, size - done);
        uint8_t *copy = fuzz_copy(at + done, piece);
        err = inflater_take(z, copy, piece, done + piece == size || done == size / 2, MOST, &out);
        EXPECT(out.size <= MOST);
        EXPECT(err == 0 || err == ERR_TOO_BIG || err == ERR_INFLATE);
        free(copy);
    }
    buf_free(&out);
    inflater_free(z);
}

/* A message three times over, with and without what was before it. */
static void round_trip(uint8_t setup, const uint8_t *at, size_t size)
{
    uint8_t bits = DEFLATE_BITS_MIN + setup % (DEFLATE_BITS_MAX - DEFLATE_BITS_MIN + 1);
    bool keep = setup & 128;
    struct deflater *d = deflater_new(bits);
    struct inflater *z = inflater_new(bits);
    for (int i = 0; i < 3; i++) {
        struct buf small = {0}, out = {0};
        deflater_message(d, at, size, keep, &small);
        EXPECT(inflater_take(z, small.at, small.size / 2, false, size, &out) == 0);
        EXPECT(inflater_take(z, small.at + small.size / 2, small.size - small.size / 2, true, size, &out) ==
               0);
        EXPECT(out.size == size && (size == 0 || memcmp(out.at, at, size) == 0));
        buf_free(&small);
        buf_free(&out);
    }
    inflater_free(z);
    deflater_free(d);
}

static struct deflate_terms terms_of(uint8_t a, uint8_t b)
{
    return (struct deflate_terms){.on = a & 1,
                                  .server_no_context = a & 2,
                                  .client_no_context = a & 4,
                                  .server_bits = DEFLATE_BITS_MIN + (b & 15) % 7,
                                  .client_bits = DEFLATE_BITS_MIN + (b >> 4) % 7};
}

/* Parses `start`, the lines, and a blank one; the text stays in ret_text for as long as the head is used. */
static int parse(const char *start, const char *lines, size_t size, struct buf *ret_text,
                 struct http1_head *ret_head)
{
    static const struct http1_limits limits = {8192, HTTP1_HEADERS_MAX};
    buf_append(ret_text, start, strlen(start));
    if (size > 0)
        buf_append(ret_text, lines, size);
    buf_append(ret_text, "\r\n", 2);
    return *start == 'G'
               ? http1_request((const char *)ret_text->at, ret_text->size, &limits, NULL, ret_head)
               : http1_response((const char *)ret_text->at, ret_text->size, &limits, NULL, ret_head);
}

static void on_head(const struct deflate_terms *policy, const uint8_t *at, size_t size)
{
    struct http1_head head;
    struct buf lines = {0}, text = {0}, again = {0};
    struct deflate_terms terms = {0};
    buf_printf(&lines, "Sec-WebSocket-Extensions: %.*s\r\n", (int)size, (const char *)at);
    if (parse("GET / HTTP/1.1\r\n", (char *)lines.at, lines.size, &text, &head) > 0) {
        int err = deflate_accept(&head, policy, &terms);
        EXPECT(err == 0 || err == ERR_HTTP_EXTENSION);
        EXPECT(err < 0 || !terms.on || policy->on);
    }
    if (parse("HTTP/1.1 101 x\r\n", (char *)lines.at, lines.size, &again, &head) > 0) {
        int err = deflate_check(&head, policy, &terms);
        EXPECT(err == 0 || err == ERR_PROTOCOL);
        EXPECT(err < 0 || !terms.on || policy->on);
    }
    buf_free(&lines);
    buf_free(&text);
    buf_free(&again);
}

/* What our client offers and our server answers, both mean the same by. */
static void agree(const struct deflate_terms *offer, const struct deflate_terms *policy)
{
    struct http1_head head;
    struct buf asked = {0}, answered = {0}, request = {0}, response = {0};
    struct deflate_terms server = {0}, client = {0};
    deflate_offer(offer, &asked);
    EXPECT(parse("GET / HTTP/1.1\r\n", (char *)asked.at, asked.size, &request, &head) > 0);
    EXPECT(deflate_accept(&head, policy, &server) == 0);
    deflate_answer(&server, &answered);
    EXPECT(parse("HTTP/1.1 101 x\r\n", (char *)answered.at, answered.size, &response, &head) > 0);
    EXPECT(deflate_check(&head, offer, &client) == 0);
    EXPECT(server.on == client.on);
    EXPECT(!server.on ||
           (server.server_bits <= client.server_bits && server.client_bits >= client.client_bits));
    buf_free(&asked);
    buf_free(&answered);
    buf_free(&request);
    buf_free(&response);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    uint8_t kind = fuzz_byte(&at, &size), a = fuzz_byte(&at, &size);
    struct deflate_terms policy = terms_of(a, kind);
    struct deflate_terms offer = terms_of(a >> 3, size > 0 ? at[0] : 0);
    switch (kind % 4) {
    case 0: inflate_bytes(a, at, size); break;
    case 1: round_trip(a, at, size); break;
    case 2: on_head(&policy, at, size); break;
    default: agree(&offer, &policy); break;
    }
    return 0;
}
