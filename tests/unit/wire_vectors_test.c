#include "vectors.h"

#include "wire/message.h"

/* Frames of the conformance table: input is options (limit=N, max=N fragments, deflate, takeover: deflate
 * that keeps its window) and frames: text(BYTES) bin cont ping pong closeraw, close(CODE,BYTES), opN(BYTES)
 * for opcode N, raw(BYTES) for bytes as they are. Before a frame: !fin rsv1 rsv2 rsv3, masked or unmasked
 * against its role, len16 or len64 for a longer form, len=N to announce another length. Expected are the
 * messages, then ok (nothing under way), more, or an error's name. `by` is FRAME:hBYTE of the head of a
 * frame, FRAME:h for its last, FRAME:BYTE of the payload, all from 1, or BYTE of the whole.
 *
 * Inputs of more than 16 KiB, for which every offset would take minutes, are cut at every offset within 16
 * bytes of where a head or a payload begins or ends, and of powers of two. */

enum {
    ROWS_MIN = 400,
    DEADLINES_MIN = 190,
    LIMIT = 100000,
    FRAMES_MAX = 32,
    CUT_EACH_MAX = 16 * 1024,
    NEAR = 16
};

/* What a row's frames are on the wire, and where they are. */
struct wire {
    struct buf bytes;
    struct {
        size_t head, payload;
    } frame[FRAMES_MAX];
    size_t frames;
};

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

static void add_frame(struct spec *s, const struct buf *payload, struct wire *w)
{
    static const uint8_t mask[4] = {0x37, 0xFA, 0x21, 0x3D};
    uint8_t first = (uint8_t)((s->fin ? 0x80 : 0) | s->rsv | s->opcode);
    struct buf *out = &w->bytes;
    buf_append(out, &first, 1);
    if (!s->announced)
        s->length = payload->size;
    add_length(s, out);
    if (s->masked)
        buf_append(out, mask, sizeof mask);
    w->frame[w->frames - 1].payload = out->size;
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

static void take_frame(struct cursor *c, bool server, struct wire *w)
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
    c->bad = c->bad || w->frames == FRAMES_MAX;
    if (!c->bad)
        w->frame[w->frames].head = w->frame[w->frames].payload = w->bytes.size, w->frames++;
    if (raw && !c->bad)
        buf_append(&w->bytes, payload.at, payload.size);
    else if (!c->bad)
        add_frame(&s, &payload, w);
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

/* FRAME:hBYTE, FRAME:h, FRAME:BYTE or BYTE, as bytes of the whole; without a limit when nothing is said. */
static size_t take_by(struct cursor *c, const struct wire *w)
{
    if (c->at == NULL)
        return SIZE_MAX;
    uint64_t number = take_number(c);
    if (!take(c, ":"))
        return number;
    c->bad = c->bad || number == 0 || number > w->frames;
    if (c->bad)
        return 0;
    bool head = take(c, "h");
    if (head && at_end(c))
        return w->frame[number - 1].payload;
    return (head ? w->frame[number - 1].head : w->frame[number - 1].payload) + take_number(c);
}

/* How an input is cut: bytes of the first piece, and of all others. */
struct cut {
    size_t first, step;
};

/* The bytes that were read. */
static size_t read_cut(const struct setting *s, bool server, const struct buf *wire, struct cut cut,
                       struct buf *log)
{
    struct message_reader r;
    struct inflation inflation = {.bits = DEFLATE_BITS_MAX, .keep_context = s->keep};
    int err = 0;
    size_t at = 0;
    message_reader_init(&r, server, s->limit);
    r.max_fragments = (uint32_t)s->max;
    r.inflation = s->deflate ? &inflation : NULL;
    for (size_t piece = cut.first; at < wire->size && err == 0; at += piece, piece = cut.step)
        err = feed(&r, wire->at + at, least(piece, wire->size - at), log);
    bool rests = message_reader_idle(&r) || r.closed;
    buf_printf(log, "%s", err < 0 ? err_name(err) : rests ? "ok" : "more");
    inflation_release(&inflation);
    message_reader_free(&r);
    return at;
}

/* A row that is parsed. */
struct question {
    struct setting setting;
    struct wire wire;
    struct buf expected;
    size_t by;
};

static bool same_cut(const struct row *row, const struct question *q, bool server, struct cut cut)
{
    struct buf log = {0};
    char what[200];
    size_t took = read_cut(&q->setting, server, &q->wire.bytes, cut, &log);
    bool same = log.size == q->expected.size && memcmp(log.at, q->expected.at, log.size) == 0;
    bool late = cut.first == 1 && cut.step == 1 && took > q->by;
    snprintf(what, sizeof what, "%s, pieces of %zu and %zu: got %.*s%s with byte %zu",
             server ? "server" : "client", cut.first, cut.step, (int)least(log.size, 80),
             (const char *)log.at, same ? ", late," : "", took);
    buf_free(&log);
    return (same && !late) || complain(row, what);
}

static bool is_near(size_t a, size_t b)
{
    return a < b ? b - a <= NEAR : a - b <= NEAR;
}

/* Whether something begins or ends there, or a size has one bit more. */
static bool near_border(const struct wire *w, size_t cut)
{
    bool near = is_near(cut, w->bytes.size);
    for (size_t i = 0; !near && i < w->frames; i++)
        near = is_near(cut, w->frame[i].head) || is_near(cut, w->frame[i].payload);
    for (size_t power = 1; !near && power < w->bytes.size; power *= 2)
        near = is_near(cut, power);
    return near;
}

static size_t next_cut(const struct wire *w, size_t cut)
{
    do
        cut++;
    while (w->bytes.size > CUT_EACH_MAX && cut < w->bytes.size && !near_border(w, cut));
    return cut;
}

static const char *take_question(const struct row *row, bool server, struct question *q)
{
    struct cursor input = {.at = row->input}, output = {.at = row->expected}, by = {.at = row->by};
    while (take_setting(&input, &q->setting))
        ;
    while (!input.bad && !at_end(&input))
        take_frame(&input, server, &q->wire);
    take_expected(&output, &q->expected);
    q->by = take_by(&by, &q->wire);
    return input.bad || q->wire.bytes.size == 0        ? "input that does not parse"
           : output.bad || q->expected.size == 0       ? "expectation that does not parse"
           : by.bad || (by.at != NULL && !at_end(&by)) ? "deadline that does not parse"
                                                       : NULL;
}

static bool run_frames(const struct row *row, bool server)
{
    struct question q = {.setting = {.limit = LIMIT}};
    const char *wrong = take_question(row, server, &q);
    size_t size = q.wire.bytes.size;
    bool fine = wrong == NULL ? same_cut(row, &q, server, (struct cut){size, size}) &&
                                    same_cut(row, &q, server, (struct cut){1, 1})
                              : complain(row, wrong);
    for (size_t cut = 1; fine && cut < size; cut = next_cut(&q.wire, cut))
        fine = same_cut(row, &q, server, (struct cut){cut, size - cut});
    buf_free(&q.wire.bytes);
    buf_free(&q.expected);
    return fine;
}

static struct table tables[] = {
    {"tests/vectors/frames.txt", run_frames, 0, 0},  {"tests/vectors/lengths.txt", run_frames, 0, 0},
    {"tests/vectors/utf8.txt", run_frames, 0, 0},    {"tests/vectors/close.txt", run_frames, 0, 0},
    {"tests/vectors/control.txt", run_frames, 0, 0}, {"tests/vectors/fragments.txt", run_frames, 0, 0},
    {"tests/vectors/deflate.txt", run_frames, 0, 0},
};

int main(void)
{
    struct tables all = {tables, sizeof tables / sizeof tables[0], ROWS_MIN, DEADLINES_MIN};
    return run_tables(&all);
}
