#include "wire/http1.h"

#include "base/err.h"
#include "wire/authority.h"

/* What a byte may be part of. Targets take what browsers send unescaped (the URL standard's query set), which
 * is more than RFC 3986 grants. */
enum { TOKEN = 1, TARGET = 2, VALUE = 4, DIGIT = 8 };

/* clang-format off */
enum {
    C = 0,                      /* control character */
    W = VALUE,                  /* white space inside a value; also the quote and angle brackets */
    V = TARGET | VALUE,         /* visible, no token */
    F = TOKEN | VALUE,          /* '#', which would begin a fragment */
    T = TOKEN | TARGET | VALUE, /* token character */
    D = T | DIGIT
};

static const uint8_t class_of[128] = {
    C, C, C, C, C, C, C, C, C, W, C, C, C, C, C, C,
    C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C,
/*     !  "  #  $  %  &  '  (  )  *  +  ,  -  .  / */
    W, T, W, F, T, T, T, T, V, V, T, T, V, T, T, V,
/*  0  1  2  3  4  5  6  7  8  9  :  ;  <  =  >  ? */
    D, D, D, D, D, D, D, D, D, D, V, V, W, V, W, V,
/*  @  A  B  C  D  E  F  G  H  I  J  K  L  M  N  O */
    V, T, T, T, T, T, T, T, T, T, T, T, T, T, T, T,
/*  P  Q  R  S  T  U  V  W  X  Y  Z  [  \  ]  ^  _ */
    T, T, T, T, T, T, T, T, T, T, T, V, V, V, T, T,
/*  `  a  b  c  d  e  f  g  h  i  j  k  l  m  n  o */
    T, T, T, T, T, T, T, T, T, T, T, T, T, T, T, T,
/*  p  q  r  s  t  u  v  w  x  y  z  {  |  }  ~    */
    T, T, T, T, T, T, T, T, T, T, T, V, T, V, T, C,
};
/* clang-format on */

static bool is(uint8_t byte, unsigned class)
{
    return (byte < 128 ? class_of[byte] : VALUE) & class;
}

/* Takes elements off the front of a head. The first one that is wrong (err < 0) or not there yet (starved)
 * turns all later takes into no-ops, so that a line reads as its grammar and only its end is checked. */
struct scan {
    const char *at, *end;
    bool starved;
    int err;
};

static bool going(const struct scan *s)
{
    return !s->starved && s->err == 0;
}

static void fail(struct scan *s, int err)
{
    if (going(s))
        s->err = err;
}

/* The bytes of that class, possibly none, up to one that is not. */
static struct slice take_run(struct scan *s, unsigned class)
{
    struct slice run = {.at = s->at};
    if (!going(s))
        return run;
    const char *at = s->at;
    while (at < s->end && is((uint8_t)*at, class))
        at++;
    s->at = at;
    run.size = (size_t)(at - run.at);
    s->starved = s->at == s->end;
    return run;
}

static struct slice take_word(struct scan *s, unsigned class)
{
    struct slice word = take_run(s, class);
    if (word.size == 0)
        fail(s, ERR_HTTP_SYNTAX);
    return word;
}

/* Exactly this text, else `err`. */
static void take_text(struct scan *s, const char *text, int err)
{
    for (; going(s) && *text; text++) {
        if (s->at == s->end)
            s->starved = true;
        else if (*s->at != *text)
            s->err = err;
        else
            s->at++;
    }
}

static void take_space(struct scan *s)
{
    take_text(s, " ", ERR_HTTP_SYNTAX);
}

static void take_line_end(struct scan *s)
{
    take_text(s, "\r\n", ERR_HTTP_SYNTAX);
}

static void take_version(struct scan *s)
{
    take_text(s, "HTTP/", ERR_HTTP_SYNTAX);
    if (going(s) && s->at < s->end && !is((uint8_t)*s->at, DIGIT))
        fail(s, ERR_HTTP_SYNTAX);
    take_text(s, "1.1", ERR_HTTP_VERSION);
}

static struct slice trimmed(struct slice s)
{
    for (; s.size > 0 && (s.at[0] == ' ' || s.at[0] == '\t'); s.at++)
        s.size--;
    while (s.size > 0 && (s.at[s.size - 1] == ' ' || s.at[s.size - 1] == '\t'))
        s.size--;
    return s;
}

static bool at_line_end(const struct scan *s)
{
    return s->at < s->end && *s->at == '\r';
}

static void take_header(struct scan *s, size_t most, struct http1_head *head)
{
    struct slice name = take_word(s, TOKEN);
    take_text(s, ":", ERR_HTTP_SYNTAX);
    struct slice value = take_run(s, VALUE);
    take_line_end(s);
    if (!going(s))
        return;
    if (head->header_count >= most || head->header_count >= HTTP1_HEADERS_MAX)
        fail(s, ERR_HTTP_HEAD_SIZE);
    else
        head->header[head->header_count++] = (struct http1_header){.name = name, .value = trimmed(value)};
}

static void take_request_line(struct scan *s, struct http1_head *head)
{
    head->method = take_word(s, TOKEN);
    take_space(s);
    head->target = take_word(s, TARGET);
    take_space(s);
    take_version(s);
    take_line_end(s);
    if (going(s) && head->target.at[0] != '/')
        fail(s, ERR_HTTP_SYNTAX);
}

static void take_status_line(struct scan *s, struct http1_head *head)
{
    take_version(s);
    take_space(s);
    struct slice digits = take_word(s, DIGIT);
    take_space(s);
    take_run(s, VALUE);
    take_line_end(s);
    if (!going(s))
        return;
    if (digits.size != 3 || digits.at[0] < '1' || digits.at[0] > '5')
        fail(s, ERR_HTTP_SYNTAX);
    else
        head->status = (digits.at[0] - '0') * 100 + (digits.at[1] - '0') * 10 + (digits.at[2] - '0');
}

/* Without case, though names mostly come as they are written here. */
static bool same_name(struct slice a, struct slice b)
{
    return slice_same(a, b) || slice_same_nocase(a, b);
}

static void check_once(struct scan *s, const struct http1_head *head, const char *name)
{
    struct slice wanted = {name, strlen(name)};
    size_t seen = 0;
    for (size_t i = 0; i < head->header_count; i++)
        seen += same_name(head->header[i].name, wanted);
    if (seen > 1)
        fail(s, ERR_HTTP_SYNTAX);
}

static void check_body_size(struct scan *s, const struct http1_head *head)
{
    struct slice size = http1_value(head, "Content-Length");
    if (!going(s) || size.at == NULL)
        return;
    bool digits = size.size > 0;
    for (size_t i = 0; i < size.size; i++)
        digits = digits && is((uint8_t)size.at[i], DIGIT);
    if (!digits || http1_value(head, "Transfer-Encoding").at != NULL)
        fail(s, ERR_HTTP_SYNTAX);
}

static void check_host(struct scan *s, const struct http1_head *head)
{
    struct slice host = http1_value(head, "Host");
    int port;
    if (host.at != NULL && !authority_split(host, &host, &port))
        fail(s, ERR_HTTP_SYNTAX);
}

/* A start line, and the headers that may stand only once in a head that begins with it. */
struct grammar {
    void (*take_start)(struct scan *, struct http1_head *);
    bool host;
    const char *once[9];
};

static void check(const struct grammar *g, struct scan *s, const struct http1_head *head)
{
    for (const char *const *name = g->once; *name; name++)
        check_once(s, head, *name);
    check_body_size(s, head);
    if (g->host && going(s))
        check_host(s, head);
}

/* Goes on with the line that had not come whole. The head is filled in only by a scan from the start. */
static struct scan take_lines(const struct grammar *g, const char *at, size_t size,
                              const struct http1_limits *limits, struct http1_scan *scan,
                              struct http1_head *head)
{
    struct scan s = {.at = at + scan->line, .end = at + least(size, limits->bytes)};
    head->header_count = scan->lines > 0 ? scan->lines - 1 : 0;
    if (scan->lines == 0) {
        head->method = head->target = (struct slice){0};
        head->status = 0;
        g->take_start(&s, head);
    }
    while (going(&s)) {
        scan->line = (size_t)(s.at - at);
        scan->lines = head->header_count + 1;
        if (at_line_end(&s))
            break;
        take_header(&s, limits->headers, head);
    }
    take_line_end(&s);
    return s;
}

/* Whether to parse again: a line has ended, or the one that has not is twice as long as when it was last
 * looked at. Each byte is so parsed a few times, however many parts it all comes in. */
static bool is_due(const struct http1_scan *scan, const char *at, size_t size)
{
    return size - scan->line >= 2 * (scan->checked - scan->line) ||
           memchr(at + scan->seen, '\n', size - scan->seen) != NULL;
}

static int parse(const struct grammar *g, const char *at, size_t size, const struct http1_limits *limits,
                 struct http1_scan *scan, struct http1_head *ret_head)
{
    struct http1_scan start = {0};
    struct http1_head head; /* not zeroed: the headers are filled in as they come */
    bool full = size >= limits->bytes;
    if (scan == NULL)
        scan = &start;
    if (scan->line > limits->bytes) /* which were more the last time */
        return ERR_HTTP_HEAD_SIZE;
    bool due = full || is_due(scan, at, size);
    scan->seen = size;
    if (!due)
        return 0;
    bool resumed = scan->lines > 0;
    struct scan s = take_lines(g, at, size, limits, scan, &head);
    scan->checked = size;
    if (resumed && going(&s))
        s = take_lines(g, at, size, limits, &start, &head);
    if (going(&s))
        check(g, &s, &head);
    if (s.err < 0)
        return s.err;
    if (s.starved)
        return full ? ERR_HTTP_HEAD_SIZE : 0;
    /* The rest of its 4 KiB stays untouched. */
    memcpy(ret_head, &head, offsetof(struct http1_head, header) + head.header_count * sizeof *head.header);
    return (int)(s.at - at);
}

int http1_request(const char *at, size_t size, const struct http1_limits *limits, struct http1_scan *scan,
                  struct http1_head *ret_head)
{
    static const struct grammar request = {take_request_line,
                                           true,
                                           {"Host", "Content-Length", "Transfer-Encoding", "Upgrade",
                                            "Origin", "Authorization", "Sec-WebSocket-Key",
                                            "Sec-WebSocket-Version", NULL}};
    return parse(&request, at, size, limits, scan, ret_head);
}

int http1_response(const char *at, size_t size, const struct http1_limits *limits, struct http1_scan *scan,
                   struct http1_head *ret_head)
{
    static const struct grammar response = {
        take_status_line, false, {"Content-Length", "Transfer-Encoding", "Sec-WebSocket-Accept", NULL}};
    return parse(&response, at, size, limits, scan, ret_head);
}

struct slice http1_value(const struct http1_head *head, const char *name)
{
    struct slice wanted = {name, strlen(name)};
    for (size_t i = 0; i < head->header_count; i++)
        if (same_name(head->header[i].name, wanted))
            return head->header[i].value;
    return (struct slice){0};
}

/* Takes what stands before the next `mark`, and the mark, off the front. */
static struct slice take_until(struct slice *rest, char mark)
{
    const char *found = rest->size ? memchr(rest->at, mark, rest->size) : NULL;
    struct slice part = {.at = rest->at, .size = found ? (size_t)(found - rest->at) : rest->size};
    size_t gone = part.size + (found ? 1 : 0);
    *rest = (struct slice){.at = rest->at + gone, .size = rest->size - gone};
    return part;
}

bool http1_next(struct slice *list, struct slice *ret_element)
{
    if (list->at == NULL)
        return false;
    bool last = list->size == 0 || memchr(list->at, ',', list->size) == NULL;
    *ret_element = trimmed(take_until(list, ','));
    if (last)
        *list = (struct slice){0};
    return true;
}

bool http1_is_token(struct slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if (!is((uint8_t)text.at[i], TOKEN))
            return false;
    return text.size > 0;
}

int http1_has_token(const struct http1_head *head, const char *name, const char *token)
{
    struct slice wanted = {name, strlen(name)}, sought = {token, strlen(token)};
    for (size_t i = 0; i < head->header_count; i++) {
        struct slice element, list = head->header[i].value;
        if (same_name(head->header[i].name, wanted))
            while (http1_next(&list, &element))
                if (same_name(element, sought))
                    return 1;
    }
    return 0;
}

void http1_split_target(struct slice target, struct slice *ret_path, struct slice *ret_query)
{
    *ret_path = take_until(&target, '?');
    *ret_query = target;
}

struct slice http1_query_value(struct slice query, const char *name)
{
    while (query.size > 0) {
        struct slice value = take_until(&query, '&');
        if (slice_is(take_until(&value, '='), name))
            return value;
    }
    return (struct slice){0};
}
