#include "vectors.h"

#include "base/err.h"
#include "wire/message.h"
#include "wire/upgrade.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The conformance table tests/vectors: a row a line, # begins a comment,
 *
 *     SECTION | server, client or both | input | expectation | sentence
 *
 * BYTES are as in vectors.h.
 *
 * frames: input is options (limit=N, max=N fragments, deflate, takeover: deflate that keeps its window) and
 * frames: text(BYTES) bin cont ping pong closeraw, close(CODE,BYTES), opN(BYTES) for opcode N, raw(BYTES) for
 * bytes as they are. Before a frame: !fin rsv1 rsv2 rsv3, masked or unmasked against its role, len16 or len64
 * for a longer form, len=N to announce another length. Expected are the messages, then ok (nothing under
 * way), more, or an error's name.
 * heads: input is limit=N, headers=N and BYTES; expected is `head` or `upgrade` (the check of the handshake),
 * ok, more or an error's name, and Name=BYTES for values.
 * extensions: input is what our end is willing to do (off, server=BITS client=BITS snc cnc) and the BYTES of
 * each header; expected are the terms in the same words, none, or an error's name.
 *
 * Each row is read whole, byte by byte and cut in two at every offset. */

enum {
    ROWS_MIN = 450,
    FIELDS = 5,
    LINE_MAX_SIZE = 4096,
    LIMIT = 100000,
    CUT_EACH_MAX = 2048,
    HEAD_LIMIT = 8192
};

struct row {
    const char *file;
    int line;
    char *section, *role, *input, *expected, *sentence;
};

static size_t row_count;

static bool complain(const struct row *row, const char *what)
{
    print_error("%s:%d: RFC %s: %s\n    %s\n", row->file, row->line, row->section, what, row->sentence);
    return false;
}

/* A name of the table of errors, at the end of a text: 0 when it is none. */
static int take_err(struct cursor *c)
{
    for (int err = -1; err >= -ERR_ROWS; err--)
        if (strcmp(c->at + strspn(c->at, " "), err_name(err)) == 0) {
            c->at += strlen(c->at);
            return err;
        }
    return 0;
}

/* Frames. */

struct spec {
    bool fin, masked;
    uint8_t rsv, opcode;
    unsigned form; /* 16, 64, or 0 for the shortest */
    bool announced;
    uint64_t length;
};

static void add_length(const struct spec *s, struct buf *out)
{
    bool by_16 = s->form == 16 || (s->form == 0 && s->length > 125 && s->length < 65536);
    bool by_64 = s->form == 64 || (s->form == 0 && s->length > 65535);
    uint8_t form = by_16 ? 126 : by_64 ? 127 : (uint8_t)s->length;
    uint8_t bytes[9] = {(uint8_t)(form | (s->masked ? 0x80 : 0))};
    unsigned more = by_16 ? 2 : by_64 ? 8 : 0;
    for (unsigned i = 0; i < more; i++)
        bytes[1 + i] = (uint8_t)(s->length >> 8 * (more - 1 - i));
    buf_append(out, bytes, 1 + more);
}

static void add_frame(struct spec *s, const struct buf *payload, struct buf *out)
{
    static const uint8_t mask[4] = {0x37, 0xFA, 0x21, 0x3D};
    uint8_t first = (uint8_t)((s->fin ? 0x80 : 0) | s->rsv | s->opcode);
    buf_append(out, &first, 1);
    if (!s->announced)
        s->length = payload->size;
    add_length(s, out);
    if (s->masked)
        buf_append(out, mask, sizeof mask);
    for (size_t i = 0; i < payload->size; i++) {
        uint8_t byte = (uint8_t)(payload->at[i] ^ (s->masked ? mask[i % 4] : 0));
        buf_append(out, &byte, 1);
    }
}

static void take_modifiers(struct cursor *c, struct spec *s)
{
    for (;;) {
        if (take(c, "!fin"))
            s->fin = false;
        else if (take(c, "rsv1"))
            s->rsv |= 0x40;
        else if (take(c, "rsv2"))
            s->rsv |= 0x20;
        else if (take(c, "rsv3"))
            s->rsv |= 0x10;
        else if (take(c, "masked"))
            s->masked = true;
        else if (take(c, "unmasked"))
            s->masked = false;
        else if (take(c, "len16"))
            s->form = 16;
        else if (take(c, "len64"))
            s->form = 64;
        else if (take(c, "len="))
            s->announced = true, s->length = take_number(c);
        else
            return;
    }
}

static void take_code(struct cursor *c, struct buf *out)
{
    uint64_t code = take_number(c);
    uint8_t bytes[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    buf_append(out, bytes, sizeof bytes);
    c->bad = c->bad || code > UINT16_MAX;
    take(c, ",");
}

static void take_frame(struct cursor *c, bool server, struct buf *out)
{
    static const struct {
        const char *name;
        uint8_t opcode;
    } kinds[] = {{"text(", 1},  {"bin(", 2},      {"cont(", 0},  {"ping(", 9},
                 {"pong(", 10}, {"closeraw(", 8}, {"close(", 8}, {"op", 0}};
    enum { CLOSE = 6, OP = 7, KINDS = 8 };
    struct spec s = {.fin = true, .masked = server};
    struct buf payload = {0};
    unsigned kind = 0;
    take_modifiers(c, &s);
    bool raw = take(c, "raw(");
    while (!raw && kind < KINDS && !take(c, kinds[kind].name))
        kind++;
    c->bad = c->bad || kind == KINDS;
    if (kind == CLOSE)
        take_code(c, &payload);
    s.opcode = c->bad ? 0 : kinds[kind].opcode;
    if (kind == OP && !c->bad) {
        s.opcode = (uint8_t)hex_of(*c->at++);
        need(c, "(");
    }
    take_bytes(c, &payload);
    need(c, ")");
    if (raw && !c->bad)
        buf_append(out, payload.at, payload.size);
    else if (!c->bad)
        add_frame(&s, &payload, out);
    buf_free(&payload);
}

struct setting {
    uint64_t limit, max;
    bool deflate, keep;
};

static bool take_setting(struct cursor *c, struct setting *s)
{
    if (take(c, "limit="))
        s->limit = take_number(c);
    else if (take(c, "max="))
        s->max = take_number(c);
    else if (take(c, "deflate"))
        s->deflate = true;
    else if (take(c, "takeover"))
        s->deflate = s->keep = true;
    else
        return false;
    return true;
}

static const char *const kind_name[] = {
    [MESSAGE_NONE] = "none", [MESSAGE_TEXT] = "text", [MESSAGE_BINARY] = "bin",
    [MESSAGE_PING] = "ping", [MESSAGE_PONG] = "pong", [MESSAGE_CLOSE] = "close",
};

static void note(const char *kind, int code, const void *at, size_t size, struct buf *log)
{
    buf_printf(log, "%s %d %zu ", kind, code, size);
    if (size > 0)
        buf_append(log, at, size);
}

/* One message that is expected, as feed writes it down. */
static bool take_message(struct cursor *c, struct buf *log)
{
    static const char *const starts[] = {"text(", "bin(", "ping(", "pong(", "close("};
    enum { CLOSE = 4, KINDS = 5 };
    unsigned kind = 0;
    while (kind < KINDS && !take(c, starts[kind]))
        kind++;
    if (kind == KINDS)
        return false;
    struct buf payload = {0};
    int code = kind == CLOSE ? (int)take_number(c) : 0;
    take(c, ",");
    take_bytes(c, &payload);
    need(c, ")");
    note(kind_name[MESSAGE_TEXT + kind], code, payload.at, payload.size, log);
    buf_free(&payload);
    return true;
}

/* What is expected, as read_cut writes it down. */
static void take_expected(struct cursor *c, struct buf *log)
{
    while (take_message(c, log))
        ;
    const char *end = take(c, "ok") ? "ok" : take(c, "more") ? "more" : NULL;
    int err = end == NULL ? take_err(c) : 0;
    c->bad = c->bad || (end == NULL && err == 0) || !at_end(c);
    buf_printf(log, "%s", end ? end : err_name(err));
}

/* Reads one piece, in memory of exactly its size; the error, or 0. */
static int feed(struct message_reader *r, const uint8_t *at, size_t size, struct buf *log)
{
    uint8_t *piece = memcpy(mem_alloc(size), at, size);
    long n = 0;
    for (size_t taken = 0; taken < size && n >= 0; taken += n < 0 ? 0 : (size_t)n) {
        struct message m;
        n = message_read(r, piece + taken, size - taken, &m);
        assert_true(n < 0 || (n > 0 && (size_t)n <= size - taken));
        if (n > 0 && m.kind != MESSAGE_NONE)
            note(kind_name[m.kind], m.kind == MESSAGE_CLOSE ? m.close_code : 0, m.at, m.size, log);
    }
    free(piece);
    return n < 0 ? (int)n : 0;
}

/* first: bytes of the first piece; step: of all others. */
static void read_cut(const struct setting *s, bool server, const struct buf *wire, size_t first, size_t step,
                     struct buf *log)
{
    struct message_reader r;
    struct inflation inflation = {.bits = DEFLATE_BITS_MAX, .keep_context = s->keep};
    int err = 0;
    message_reader_init(&r, server, s->limit);
    r.max_fragments = (uint32_t)s->max;
    r.inflation = s->deflate ? &inflation : NULL;
    for (size_t at = 0, piece = first; at < wire->size && err == 0; at += piece, piece = step)
        err = feed(&r, wire->at + at, least(piece, wire->size - at), log);
    bool rests = message_reader_idle(&r) || r.closed;
    buf_printf(log, "%s", err < 0 ? err_name(err) : rests ? "ok" : "more");
    inflation_release(&inflation);
    message_reader_free(&r);
}

static bool same_cut(const struct row *row, const struct setting *s, bool server, const struct buf *wire,
                     size_t first, size_t step, const struct buf *expected)
{
    struct buf log = {0};
    char what[200];
    read_cut(s, server, wire, first, step, &log);
    bool same = log.size == expected->size && memcmp(log.at, expected->at, log.size) == 0;
    snprintf(what, sizeof what, "%s, pieces of %zu and %zu: got %.*s", server ? "server" : "client", first,
             step, (int)least(log.size, 80), (const char *)log.at);
    buf_free(&log);
    return same || complain(row, what);
}

/* Long inputs are cut at both ends only, and here and there between. */
static size_t next_cut(size_t cut, size_t size)
{
    bool all = size <= CUT_EACH_MAX || cut < 64 || cut + 1100 > size;
    return cut + (all ? 1 : 1009);
}

static bool run_frames(const struct row *row, bool server)
{
    struct setting s = {.limit = LIMIT};
    struct buf wire = {0}, expected = {0};
    struct cursor input = {.at = row->input}, output = {.at = row->expected};
    while (take_setting(&input, &s))
        ;
    while (!input.bad && !at_end(&input))
        take_frame(&input, server, &wire);
    take_expected(&output, &expected);
    bool fine = !input.bad && !output.bad && wire.size > 0 && expected.size > 0;
    if (!fine)
        complain(row, input.bad ? "input that does not parse" : "expectation that does not parse");
    if (fine)
        fine = same_cut(row, &s, server, &wire, wire.size, wire.size, &expected) &&
               same_cut(row, &s, server, &wire, 1, 1, &expected);
    for (size_t cut = 1; fine && cut < wire.size; cut = next_cut(cut, wire.size))
        fine = same_cut(row, &s, server, &wire, cut, wire.size - cut, &expected);
    buf_free(&wire);
    buf_free(&expected);
    return fine;
}

/* Heads. */

/* The first answer but 0 to a head that grows from `first` bytes by `step`. */
static int parse_cut(bool server, const struct buf *wire, const struct http1_limits *limits, size_t first,
                     size_t step, struct http1_head *head)
{
    struct http1_scan scan = {0};
    size_t at = first;
    for (;;) {
        int n = server ? http1_request((const char *)wire->at, at, limits, &scan, head)
                       : http1_response((const char *)wire->at, at, limits, &scan, head);
        if (n != 0 || at == wire->size)
            return n;
        at += least(step, wire->size - at);
    }
}

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
    return server ? upgrade_check_request(head)
                  : upgrade_check_response(head, "dGhlIHNhbXBsZSBub25jZQ==", "chat, superchat", false);
}

/* Where the head ends: behind its blank line. */
static int head_size(const struct buf *wire)
{
    const uint8_t *end = memmem(wire->at, wire->size, "\r\n\r\n", 4);
    return end ? (int)(end - wire->at) + 4 : -1;
}

static bool same_head(const struct row *row, bool server, const struct buf *wire,
                      const struct http1_limits *limits, size_t first, size_t step)
{
    struct http1_head head;
    struct cursor c = {.at = row->expected};
    bool upgrade = take(&c, "upgrade");
    char what[200];
    if (!upgrade)
        need(&c, "head");
    bool ok = take(&c, "ok"), more = !ok && take(&c, "more");
    int wanted = ok || more ? 0 : take_err(&c);
    if (c.bad || (!ok && !more && wanted == 0))
        return complain(row, "expectation that does not parse");
    int n = parse_cut(server, wire, limits, first, step, &head);
    bool parsed = n > 0 && n == head_size(wire);
    int err = n > 0 ? 0 : n;
    if (parsed && upgrade)
        err = check_upgrade(server, &head);
    bool same = more ? n == 0 : parsed == (ok || upgrade) && err == wanted;
    same = same && (!ok || values_are(&c, &head));
    if (c.bad || !at_end(&c))
        return complain(row, "expectation that does not parse");
    snprintf(what, sizeof what, "%s, parts of %zu and %zu: got %d, %s", server ? "request" : "response",
             first, step, n, err_name(err));
    return same || complain(row, what);
}

static bool run_head(const struct row *row, bool server)
{
    struct http1_limits limits = {.bytes = HEAD_LIMIT, .headers = HTTP1_HEADERS_MAX};
    struct buf wire = {0};
    struct cursor c = {.at = row->input};
    if (take(&c, "limit="))
        limits.bytes = take_number(&c);
    if (take(&c, "headers="))
        limits.headers = take_number(&c);
    take_bytes(&c, &wire);
    bool fine = !c.bad && at_end(&c) && wire.size > 0;
    if (!fine)
        complain(row, "input that does not parse");
    fine = fine && same_head(row, server, &wire, &limits, wire.size, 1) &&
           same_head(row, server, &wire, &limits, 1, 1);
    for (size_t cut = 1; fine && cut < wire.size; cut = next_cut(cut, wire.size))
        fine = same_head(row, server, &wire, &limits, cut, wire.size - cut);
    buf_free(&wire);
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

static void take_head(struct cursor *c, struct http1_head *ret_head, struct buf *values)
{
    size_t ends[8], count = 0;
    buf_reserve(values, 1); /* an empty value is somewhere, too */
    while (!c->bad && !at_end(c) && count < 8) {
        take_bytes(c, values);
        ends[count++] = values->size;
    }
    c->bad = c->bad || !at_end(c);
    ret_head->header_count = count;
    for (size_t i = 0, start = 0; i < count; start = ends[i++])
        ret_head->header[i] = (struct http1_header){SLICE("Sec-WebSocket-Extensions"),
                                                    {(const char *)values->at + start, ends[i] - start}};
}

static bool run_extensions(const struct row *row, bool server)
{
    static const struct deflate_terms most = {.on = true, .server_bits = 15, .client_bits = 15};
    struct deflate_terms ours = most, wanted = most, got = {.on = false};
    struct http1_head head = {.header_count = 0};
    struct buf values = {0};
    struct cursor input = {.at = row->input}, output = {.at = row->expected};
    char what[200];
    take_terms(&input, &ours);
    take_head(&input, &head, &values);
    wanted.on = !take(&output, "none");
    int wanted_err = wanted.on ? take_err(&output) : 0;
    take_terms(&output, &wanted);
    bool parsed = !input.bad && !output.bad && at_end(&output) && *row->expected != '\0';
    int err = server ? deflate_accept(&head, &ours, &got) : deflate_check(&head, &ours, &got);
    buf_free(&values);
    snprintf(what, sizeof what, "%s: got %s, on %d server %u client %u snc %d cnc %d",
             server ? "server" : "client", err_name(err), got.on, got.server_bits, got.client_bits,
             got.server_no_context, got.client_no_context);
    if (!parsed)
        return complain(row, "row that does not parse");
    return (err == wanted_err && (err < 0 || same_terms(&got, &wanted))) || complain(row, what);
}

/* Rows. */

/* Splits at " | "; false when there are not as many fields as there have to be. */
static bool split(char *line, struct row *row)
{
    char *field[FIELDS];
    line[strcspn(line, "\n")] = '\0';
    for (int i = 0; i < FIELDS; i++) {
        char *end = strstr(line, " | ");
        field[i] = line;
        if ((end == NULL) != (i == FIELDS - 1))
            return false;
        if (end)
            *end = '\0', line = end + 3;
    }
    row->section = field[0], row->role = field[1], row->input = field[2];
    row->expected = field[3], row->sentence = field[4];
    return *row->sentence != '\0';
}

static bool run_row(const struct row *row, bool (*run)(const struct row *row, bool server))
{
    bool both = strcmp(row->role, "both") == 0;
    bool server = both || strcmp(row->role, "server") == 0;
    bool client = both || strcmp(row->role, "client") == 0;
    if (!server && !client)
        return complain(row, "no such role");
    bool fine = !server || run(row, true);
    return (!client || run(row, false)) && fine;
}

struct table {
    const char *file;
    bool (*run)(const struct row *row, bool server);
};

static void run_table(void **state)
{
    const struct table *table = *state;
    char line[LINE_MAX_SIZE];
    FILE *file = fopen(table->file, "r");
    int failures = 0;
    assert_non_null(file);
    for (int number = 1; fgets(line, sizeof line, file); number++) {
        struct row row = {.file = table->file, .line = number, .section = line, .sentence = line};
        if (line[0] == '#' || line[0] == '\n')
            continue;
        row_count++;
        failures += split(line, &row) ? !run_row(&row, table->run) : !complain(&row, "not five fields");
    }
    fclose(file);
    assert_int_equal(failures, 0);
}

static void the_table_is_whole(void **state)
{
    (void)state;
    print_message("# %zu rows\n", row_count);
    assert_true(row_count >= ROWS_MIN);
}

static struct table tables[] = {
    {"tests/vectors/frames.txt", run_frames},      {"tests/vectors/lengths.txt", run_frames},
    {"tests/vectors/utf8.txt", run_frames},        {"tests/vectors/close.txt", run_frames},
    {"tests/vectors/control.txt", run_frames},     {"tests/vectors/fragments.txt", run_frames},
    {"tests/vectors/deflate.txt", run_frames},     {"tests/vectors/http_request.txt", run_head},
    {"tests/vectors/http_response.txt", run_head}, {"tests/vectors/extensions.txt", run_extensions},
};

int main(void)
{
    enum { TABLES = sizeof tables / sizeof tables[0] };
    struct CMUnitTest tests[TABLES + 1];
    for (size_t i = 0; i < TABLES; i++)
        tests[i] = (struct CMUnitTest){tables[i].file, run_table, NULL, NULL, &tables[i]};
    tests[TABLES] = (struct CMUnitTest)cmocka_unit_test(the_table_is_whole);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
