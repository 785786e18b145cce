#include "vectors.h"

#include "wire/deflate.h"
#include "wire/upgrade.h"

/* Heads and extensions of the conformance table.
 *
 * heads: input is limit=N, headers=N and BYTES; expected is `head` or `upgrade` (the check of the handshake),
 * ok, more or an error's name, and Name=BYTES for values. `by` is a byte of the whole, from 1.
 * extensions: input is what our end is willing to do (off, server=BITS client=BITS snc cnc) and the BYTES of
 * each header, which are put into the head of a handshake; expected are the terms in the same words, none, or
 * an error's name. */

enum { ROWS_MIN = 300, DEADLINES_MIN = 90, HEAD_LIMIT = 8192 };

static const char key[] = "dGhlIHNhbXBsZSBub25jZQ==", accept_of_key[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/* How an input arrives: so many bytes at first, and so many more each time. */
struct cut {
    size_t first, step;
};

/* The first answer but 0 to a head that grows, and to how many bytes. */
static int parse_cut(bool server, const struct buf *wire, const struct http1_limits *limits, struct cut cut,
                     struct http1_head *head, size_t *ret_size)
{
    struct http1_scan scan = {0};
    for (size_t at = cut.first;; at += least(cut.step, wire->size - at)) {
        const char *text = (const char *)wire->at;
        int n = server ? http1_request(text, at, limits, &scan, head)
                       : http1_response(text, at, limits, &scan, head);
        *ret_size = at;
        if (n != 0 || at == wire->size)
            return n;
    }
}

/* Whether what `run` says is so of the whole, of each byte more, and cut in two at every offset. */
static bool each_cut(bool (*run)(const struct row *row, bool server, void *question, struct cut cut),
                     const struct row *row, bool server, void *question, size_t size)
{
    bool fine =
        run(row, server, question, (struct cut){size, 1}) && run(row, server, question, (struct cut){1, 1});
    for (size_t cut = 1; fine && cut < size; cut++)
        fine = run(row, server, question, (struct cut){cut, size - cut});
    return fine;
}

/* Heads. */

static bool values_are(struct cursor *c, const struct http1_head *head)
{
    bool same = true;
    while (!c->bad && !at_end(c)) {
        char name[64] = "";
        struct buf wanted = {0};
        size_t size = strcspn(c->at, "=");
        memcpy(name, c->at, least(size, sizeof name - 1));
        c->at += size;
        need(c, "=");
        take_bytes(c, &wanted);
        struct slice value = http1_value(head, name);
        same = same && value.at != NULL && value.size == wanted.size &&
               (wanted.size == 0 || memcmp(value.at, wanted.at, wanted.size) == 0);
        buf_free(&wanted);
    }
    return same;
}

static int check_upgrade(bool server, const struct http1_head *head)
{
    return server ? upgrade_check_request(head) : upgrade_check_response(head, key, "chat, superchat", false);
}

/* Where the head ends: behind its blank line. */
static int head_size(const struct buf *wire)
{
    const uint8_t *end = memmem(wire->at, wire->size, "\r\n\r\n", 4);
    return end ? (int)(end - wire->at) + 4 : -1;
}

struct head_question {
    struct buf wire;
    struct http1_limits limits;
    bool upgrade, ok, more;
    int err;
    struct cursor values; /* that are expected */
    size_t by;
};

static bool same_head(const struct row *row, bool server, void *question, struct cut cut)
{
    const struct head_question *q = question;
    struct http1_head head;
    struct cursor values = q->values;
    char what[200];
    size_t size;
    int n = parse_cut(server, &q->wire, &q->limits, cut, &head, &size);
    bool parsed = n > 0 && n == head_size(&q->wire);
    int err = n > 0 ? 0 : n;
    if (parsed && q->upgrade)
        err = check_upgrade(server, &head);
    bool same = q->more ? n == 0 : parsed == (q->ok || q->upgrade) && err == q->err;
    same = same && (!q->ok || values_are(&values, &head));
    if (values.bad || !at_end(&values))
        return complain(row, "expectation that does not parse");
    bool late = cut.first == 1 && cut.step == 1 && size > q->by;
    snprintf(what, sizeof what, "%s, parts of %zu and %zu: got %d, %s%s with byte %zu",
             server ? "request" : "response", cut.first, cut.step, n, err_name(err), same ? ", late," : "",
             size);
    return (same && !late) || complain(row, what);
}

static const char *take_head_question(const struct row *row, struct head_question *q)
{
    struct cursor input = {.at = row->input}, by = {.at = row->by};
    if (take(&input, "limit="))
        q->limits.bytes = take_number(&input);
    if (take(&input, "headers="))
        q->limits.headers = take_number(&input);
    take_bytes(&input, &q->wire);
    q->values = (struct cursor){.at = row->expected};
    q->upgrade = take(&q->values, "upgrade");
    if (!q->upgrade)
        need(&q->values, "head");
    q->ok = take(&q->values, "ok");
    q->more = !q->ok && take(&q->values, "more");
    q->err = q->ok || q->more ? 0 : take_err(&q->values);
    q->by = by.at != NULL ? take_number(&by) : SIZE_MAX;
    bool answered = q->ok || q->more || q->err != 0;
    return input.bad || !at_end(&input) || q->wire.size == 0 ? "input that does not parse"
           : q->values.bad || !answered                      ? "expectation that does not parse"
           : by.bad || (by.at != NULL && !at_end(&by))       ? "deadline that does not parse"
                                                             : NULL;
}

static bool run_head(const struct row *row, bool server)
{
    struct head_question q = {.limits = {.bytes = HEAD_LIMIT, .headers = HTTP1_HEADERS_MAX}};
    const char *wrong = take_head_question(row, &q);
    bool fine = wrong != NULL ? complain(row, wrong) : each_cut(same_head, row, server, &q, q.wire.size);
    buf_free(&q.wire);
    return fine;
}

/* Extensions. */

static void take_terms(struct cursor *c, struct deflate_terms *terms)
{
    for (;;) {
        if (take(c, "off"))
            terms->on = false;
        else if (take(c, "server="))
            terms->server_bits = (uint8_t)take_number(c);
        else if (take(c, "client="))
            terms->client_bits = (uint8_t)take_number(c);
        else if (take(c, "snc"))
            terms->server_no_context = true;
        else if (take(c, "cnc"))
            terms->client_no_context = true;
        else
            return;
    }
}

static bool same_terms(const struct deflate_terms *a, const struct deflate_terms *b)
{
    return a->on == b->on &&
           (!a->on ||
            (a->server_bits == b->server_bits && a->client_bits == b->client_bits &&
             a->server_no_context == b->server_no_context && a->client_no_context == b->client_no_context));
}

struct terms_question {
    struct buf wire;
    struct deflate_terms ours, wanted;
    int err;
};

/* The head of a handshake with the values of so many headers. */
static void take_lines(struct cursor *c, bool server, struct buf *out)
{
    buf_printf(out, "%s\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
               server ? "GET /chat HTTP/1.1" : "HTTP/1.1 101 Switching Protocols");
    buf_printf(out,
               server ? "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n"
                      : "Sec-WebSocket-Accept: %s\r\n",
               server ? key : accept_of_key);
    while (!c->bad && !at_end(c)) {
        buf_printf(out, "Sec-WebSocket-Extensions: ");
        take_bytes(c, out);
        buf_printf(out, "\r\n");
    }
    buf_printf(out, "\r\n");
}

/* What our end makes of the whole handshake. */
static int negotiate(bool server, const struct http1_head *head, const struct deflate_terms *ours,
                     struct deflate_terms *ret_terms)
{
    int err = server ? upgrade_check_request(head) : upgrade_check_response(head, key, "", ours->on);
    if (err < 0)
        return err;
    return server ? deflate_accept(head, ours, ret_terms) : deflate_check(head, ours, ret_terms);
}

static bool same_agreement(const struct row *row, bool server, void *question, struct cut cut)
{
    static const struct http1_limits limits = {.bytes = HEAD_LIMIT, .headers = HTTP1_HEADERS_MAX};
    const struct terms_question *q = question;
    struct http1_head head;
    struct deflate_terms got = {.on = false};
    char what[200];
    size_t size;
    int n = parse_cut(server, &q->wire, &limits, cut, &head, &size);
    int err = n > 0 ? negotiate(server, &head, &q->ours, &got) : n;
    bool same = n == (int)q->wire.size && err == q->err && (err < 0 || same_terms(&got, &q->wanted));
    snprintf(what, sizeof what, "%s, parts of %zu and %zu: got %s, on %d server %u client %u snc %d cnc %d",
             server ? "server" : "client", cut.first, cut.step, n != 0 ? err_name(err) : "more", got.on,
             got.server_bits, got.client_bits, got.server_no_context, got.client_no_context);
    return same || complain(row, what);
}

static bool run_extensions(const struct row *row, bool server)
{
    static const struct deflate_terms most = {.on = true, .server_bits = 15, .client_bits = 15};
    struct terms_question q = {.ours = most, .wanted = most};
    struct cursor input = {.at = row->input}, output = {.at = row->expected};
    take_terms(&input, &q.ours);
    take_lines(&input, server, &q.wire);
    q.wanted.on = !take(&output, "none");
    q.err = q.wanted.on ? take_err(&output) : 0;
    take_terms(&output, &q.wanted);
    bool parsed = !input.bad && !output.bad && at_end(&output) && *row->expected != '\0';
    bool fine = parsed ? each_cut(same_agreement, row, server, &q, q.wire.size)
                       : complain(row, "row that does not parse");
    buf_free(&q.wire);
    return fine;
}

static struct table tables[] = {
    {"tests/vectors/http_request.txt", run_head, 0, 0},
    {"tests/vectors/http_response.txt", run_head, 0, 0},
    {"tests/vectors/extensions.txt", run_extensions, 0, 0},
};

int main(void)
{
    struct tables all = {tables, sizeof tables / sizeof tables[0], ROWS_MIN, DEADLINES_MIN};
    return run_tables(&all);
}
