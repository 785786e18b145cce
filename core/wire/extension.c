#include "wire/deflate.h"

#include "base/err.h"

/* The negotiation of permessage-deflate (RFC 7692 section 7.1). */

static const char header[] = "Sec-WebSocket-Extensions";

enum { BITS_MIN = 8, BITS_UNNAMED = 0xFF };

/* What one offer, or the response, says. */
struct said {
    bool server_no_context, client_no_context;
    uint8_t server_bits, client_bits; /* 0: nothing; BITS_UNNAMED: the parameter without a value */
};

enum reading { READ_FITS, READ_DECLINED, READ_MALFORMED };

/* Takes the next part, trimmed, off an element that semicolons divide; false behind the last one. */
static bool next_part(struct slice *rest, struct slice *ret_part)
{
    if (rest->at == NULL)
        return false;
    const char *end = memchr(rest->at, ';', rest->size);
    struct slice part = {rest->at, end != NULL ? (size_t)(end - rest->at) : rest->size};
    *rest = end != NULL ? (struct slice){end + 1, rest->size - part.size - 1} : (struct slice){0};
    http1_next(&part, ret_part);
    return true;
}

/* A token may stand in quotes. */
static struct slice unquoted(struct slice value)
{
    bool quoted = value.size >= 2 && value.at[0] == '"' && value.at[value.size - 1] == '"';
    return quoted ? (struct slice){value.at + 1, value.size - 2} : value;
}

/* "8" to "15", 0 for anything else. */
static uint8_t read_bits(struct slice value)
{
    unsigned bits = 0;
    for (size_t i = 0; i < value.size && value.size <= 2; i++)
        bits = value.at[i] >= '0' && value.at[i] <= '9' ? bits * 10 + (unsigned)(value.at[i] - '0') : 100;
    bool in_range = bits >= BITS_MIN && bits <= DEFLATE_BITS_MAX && value.at[0] != '0';
    return in_range ? (uint8_t)bits : 0;
}

static enum reading note_flag(bool *flag, bool has_value)
{
    if (*flag || has_value)
        return READ_DECLINED;
    *flag = true;
    return READ_FITS;
}

static enum reading note_bits(uint8_t *bits, struct slice value, bool has_value, bool may_lack_value)
{
    uint8_t read = has_value ? read_bits(value) : may_lack_value ? BITS_UNNAMED : 0;
    if (*bits != 0 || read == 0)
        return READ_DECLINED;
    *bits = read;
    return READ_FITS;
}

static enum reading read_parameter(struct slice part, struct said *said)
{
    const char *equals = part.size > 0 ? memchr(part.at, '=', part.size) : NULL;
    struct slice name = {part.at, equals != NULL ? (size_t)(equals - part.at) : part.size};
    struct slice value = {0};
    bool has_value = equals != NULL;
    if (has_value)
        value = unquoted((struct slice){equals + 1, part.size - name.size - 1});
    if (!http1_is_token(name) || (has_value && !http1_is_token(value)))
        return READ_MALFORMED;
    if (slice_is(name, "server_no_context_takeover"))
        return note_flag(&said->server_no_context, has_value);
    if (slice_is(name, "client_no_context_takeover"))
        return note_flag(&said->client_no_context, has_value);
    if (slice_is(name, "server_max_window_bits"))
        return note_bits(&said->server_bits, value, has_value, false);
    if (slice_is(name, "client_max_window_bits"))
        return note_bits(&said->client_bits, value, has_value, true);
    return READ_DECLINED;
}

/* An element of the list: an extension's name and its parameters. */
static enum reading read_extension(struct slice element, struct said *ret_said)
{
    struct said said = {0};
    struct slice name = {0}, part;
    if (!next_part(&element, &name) || !http1_is_token(name))
        return READ_MALFORMED;
    enum reading reading = slice_is(name, "permessage-deflate") ? READ_FITS : READ_DECLINED;
    while (next_part(&element, &part)) {
        enum reading parameter = read_parameter(part, &said);
        reading = parameter > reading ? parameter : reading;
    }
    if (reading == READ_FITS)
        *ret_said = said;
    return reading;
}

static uint8_t fewer(uint8_t a, uint8_t b)
{
    return a < b ? a : b;
}

/* Whether the server can do what the offer says. */
static bool meet(const struct said *offer, const struct deflate_terms *policy,
                 struct deflate_terms *ret_terms)
{
    uint8_t server_bits = offer->server_bits != 0 ? offer->server_bits : DEFLATE_BITS_MAX;
    uint8_t client_bits = offer->client_bits == BITS_UNNAMED ? DEFLATE_BITS_MAX : offer->client_bits;
    if (server_bits < DEFLATE_BITS_MIN || (client_bits == 0 && policy->client_bits < DEFLATE_BITS_MAX))
        return false;
    *ret_terms = (struct deflate_terms){
        .on = true,
        .server_no_context = offer->server_no_context || policy->server_no_context,
        .client_no_context = offer->client_no_context || policy->client_no_context,
        .server_bits = fewer(server_bits, policy->server_bits),
        .client_bits = client_bits == 0 ? DEFLATE_BITS_MAX : fewer(client_bits, policy->client_bits),
        .server_bits_named = offer->server_bits != 0,
    };
    return true;
}

/* Calls for every element of all such headers: 0, or the first error. */
static int each_extension(const struct http1_head *head, int (*take)(struct slice element, void *arg),
                          void *arg)
{
    for (size_t i = 0; i < head->header_count; i++) {
        struct slice list = head->header[i].value, element;
        if (!slice_is_nocase(head->header[i].name, header))
            continue;
        while (http1_next(&list, &element)) {
            int err = take(element, arg);
            if (err < 0)
                return err;
        }
    }
    return 0;
}

struct accepting {
    const struct deflate_terms *policy;
    struct deflate_terms terms;
};

static int take_offer(struct slice element, void *arg)
{
    struct accepting *a = arg;
    struct said said = {0};
    switch (read_extension(element, &said)) {
    case READ_MALFORMED: return ERR_HTTP_EXTENSION;
    case READ_DECLINED: return 0;
    case READ_FITS: break;
    }
    if (a->policy->on && !a->terms.on)
        meet(&said, a->policy, &a->terms);
    return 0;
}

int deflate_accept(const struct http1_head *request, const struct deflate_terms *policy,
                   struct deflate_terms *ret_terms)
{
    struct accepting a = {.policy = policy};
    int err = each_extension(request, take_offer, &a);
    if (err == 0)
        *ret_terms = a.terms;
    return err;
}

static void write_contexts(const struct deflate_terms *terms, struct buf *out)
{
    buf_printf(out, "%s: permessage-deflate", header);
    if (terms->server_no_context)
        buf_printf(out, "; server_no_context_takeover");
    if (terms->client_no_context)
        buf_printf(out, "; client_no_context_takeover");
    if (terms->server_bits < DEFLATE_BITS_MAX || terms->server_bits_named)
        buf_printf(out, "; server_max_window_bits=%u", terms->server_bits);
}

void deflate_answer(const struct deflate_terms *terms, struct buf *out)
{
    if (!terms->on)
        return;
    write_contexts(terms, out);
    if (terms->client_bits < DEFLATE_BITS_MAX)
        buf_printf(out, "; client_max_window_bits=%u", terms->client_bits);
    buf_printf(out, "\r\n");
}

void deflate_offer(const struct deflate_terms *offer, struct buf *out)
{
    if (!offer->on)
        return;
    write_contexts(offer, out);
    buf_printf(out, "; client_max_window_bits");
    if (offer->client_bits < DEFLATE_BITS_MAX)
        buf_printf(out, "=%u", offer->client_bits);
    buf_printf(out, "\r\n");
}

struct checking {
    const struct deflate_terms *offer;
    struct deflate_terms terms;
};

static int take_agreement(struct slice element, void *arg)
{
    struct checking *c = arg;
    const struct deflate_terms *offer = c->offer;
    struct said said = {0};
    if (!offer->on || c->terms.on || read_extension(element, &said) != READ_FITS)
        return ERR_PROTOCOL;
    uint8_t server_bits = said.server_bits != 0 ? said.server_bits : DEFLATE_BITS_MAX;
    uint8_t client_bits = said.client_bits != 0 ? said.client_bits : DEFLATE_BITS_MAX;
    if (server_bits > offer->server_bits || (offer->server_no_context && !said.server_no_context) ||
        client_bits == BITS_UNNAMED || client_bits < DEFLATE_BITS_MIN)
        return ERR_PROTOCOL;
    c->terms = (struct deflate_terms){
        .on = true,
        .server_no_context = said.server_no_context,
        .client_no_context = said.client_no_context || offer->client_no_context,
        .server_bits = server_bits,
        .client_bits = fewer(client_bits, offer->client_bits),
    };
    return 0;
}

int deflate_check(const struct http1_head *response, const struct deflate_terms *offer,
                  struct deflate_terms *ret_terms)
{
    struct checking c = {.offer = offer};
    int err = each_extension(response, take_agreement, &c);
    if (err == 0)
        *ret_terms = c.terms;
    return err;
}
