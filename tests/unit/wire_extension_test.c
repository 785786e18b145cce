#include "wire/deflate.h"

#include "base/bytes.h"
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct deflate_terms all = {.on = true, .server_bits = 15, .client_bits = 15};

/* A head that has these values, NULL for no more, of the header; `values` have to outlive it. */
static struct http1_head head_of(const char *const values[], size_t count)
{
    struct http1_head head = {.header_count = 0};
    for (size_t i = 0; i < count && values[i] != NULL; i++)
        head.header[head.header_count++] = (struct http1_header){
            {"Sec-WebSocket-Extensions", strlen("Sec-WebSocket-Extensions")}, {values[i], strlen(values[i])}};
    return head;
}

/* One value, in memory of exactly its size. */
static struct http1_head head_of_copy(const char *value)
{
    struct http1_head head = head_of(&value, 1);
    struct slice *copy = &head.header[0].value;
    copy->at = memcpy(mem_alloc(copy->size), value, copy->size);
    return head;
}

static void free_copy(struct http1_head *head)
{
    free((void *)(uintptr_t)head->header[0].value.at);
}

static int accept_one(const char *value, const struct deflate_terms *policy, struct deflate_terms *ret_terms)
{
    struct http1_head head = head_of_copy(value);
    int err = deflate_accept(&head, policy, ret_terms);
    free_copy(&head);
    return err;
}

static int check_one(const char *value, const struct deflate_terms *offer, struct deflate_terms *ret_terms)
{
    struct http1_head head = head_of_copy(value);
    int err = deflate_check(&head, offer, ret_terms);
    free_copy(&head);
    return err;
}

static void expect_terms(const char *what, const struct deflate_terms *got,
                         const struct deflate_terms *wanted)
{
    bool same = got->on == wanted->on && got->server_bits == wanted->server_bits &&
                got->client_bits == wanted->client_bits &&
                got->server_no_context == wanted->server_no_context &&
                got->client_no_context == wanted->client_no_context;
    if (!same)
        fail_msg("%s: on %d server %u client %u snc %d cnc %d", what, got->on, got->server_bits,
                 got->client_bits, got->server_no_context, got->client_no_context);
}

/* Every set of parameters. */

enum { UNSAID = 0, NO_VALUE = 1 };

struct parameters {
    bool server_no_context, client_no_context;
    unsigned server_bits, client_bits; /* UNSAID, NO_VALUE, or 8 to 15 */
    bool turned;                       /* from the last to the first */
};

static void add(char *text, size_t size, const char *name, unsigned value)
{
    size_t used = strlen(text);
    if (value == NO_VALUE)
        snprintf(text + used, size - used, "; %s", name);
    else if (value != UNSAID)
        snprintf(text + used, size - used, "; %s=%u", name, value);
}

static void write_parameters(const struct parameters *p, char *text, size_t size)
{
    struct {
        const char *name;
        unsigned value;
    } all_of_them[] = {{"server_no_context_takeover", p->server_no_context ? NO_VALUE : UNSAID},
                       {"client_no_context_takeover", p->client_no_context ? NO_VALUE : UNSAID},
                       {"server_max_window_bits", p->server_bits},
                       {"client_max_window_bits", p->client_bits}};
    snprintf(text, size, "permessage-deflate");
    for (unsigned i = 0; i < 4; i++)
        add(text, size, all_of_them[p->turned ? 3 - i : i].name, all_of_them[p->turned ? 3 - i : i].value);
}

static const unsigned bits_said[] = {UNSAID, NO_VALUE, 8, 9, 12, 15};
enum { BITS_SAID = sizeof bits_said / sizeof *bits_said, SETS = 8 * BITS_SAID * BITS_SAID };

static struct parameters parameters_of(unsigned number)
{
    return (struct parameters){.server_no_context = number & 1,
                               .client_no_context = number & 2,
                               .turned = number & 4,
                               .server_bits = bits_said[number / 8 % BITS_SAID],
                               .client_bits = bits_said[number / 8 / BITS_SAID]};
}

static const struct deflate_terms ends[] = {
    {true, false, false, 15, 15, false}, {true, true, false, 15, 15, false},
    {true, false, true, 15, 15, false},  {true, true, true, 9, 15, false},
    {true, false, false, 15, 9, false},  {true, false, false, 12, 12, false},
    {true, true, true, 10, 13, false},
};
enum { ENDS = sizeof ends / sizeof *ends };

static uint8_t least_bits(unsigned a, unsigned b)
{
    return (uint8_t)(a < b ? a : b);
}

static struct deflate_terms answer_to(const struct parameters *p, const struct deflate_terms *policy)
{
    bool server_can = p->server_bits == UNSAID || p->server_bits >= DEFLATE_BITS_MIN;
    bool client_can = p->client_bits != UNSAID || policy->client_bits == 15;
    if (!server_can || !client_can)
        return (struct deflate_terms){.on = false};
    unsigned client = p->client_bits == UNSAID || p->client_bits == NO_VALUE ? 15 : p->client_bits;
    return (struct deflate_terms){
        .on = true,
        .server_no_context = p->server_no_context || policy->server_no_context,
        .client_no_context = p->client_no_context || policy->client_no_context,
        .server_bits = least_bits(p->server_bits == UNSAID ? 15 : p->server_bits, policy->server_bits),
        .client_bits = least_bits(client, policy->client_bits),
        .server_bits_named = p->server_bits != UNSAID,
    };
}

static void every_offer_is_met_or_declined(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SETS; i++)
        for (unsigned j = 0; j < ENDS; j++) {
            struct parameters p = parameters_of(i);
            struct deflate_terms terms = {.on = false}, wanted = answer_to(&p, &ends[j]);
            char text[200];
            write_parameters(&p, text, sizeof text);
            assert_int_equal(accept_one(text, &ends[j], &terms), 0);
            expect_terms(text, &terms, &wanted);
            assert_true(terms.server_bits_named == wanted.server_bits_named);
        }
}

static void every_answer_is_what_was_offered_or_refused(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SETS; i++)
        for (unsigned j = 0; j < ENDS; j++) {
            struct parameters p = parameters_of(i);
            const struct deflate_terms *offer = &ends[j];
            struct deflate_terms terms = {.on = false};
            unsigned server = p.server_bits == UNSAID ? 15 : p.server_bits;
            unsigned client = p.client_bits == UNSAID ? 15 : p.client_bits;
            bool good = server >= 8 && server <= offer->server_bits && client >= 9 &&
                        (p.server_no_context || !offer->server_no_context);
            char text[200];
            write_parameters(&p, text, sizeof text);
            if (check_one(text, offer, &terms) != (good ? 0 : ERR_PROTOCOL))
                fail_msg("%s: %s", text, good ? "refused" : "taken");
            if (good)
                expect_terms(text, &terms,
                             &(struct deflate_terms){
                                 true, p.server_no_context, p.client_no_context || offer->client_no_context,
                                 (uint8_t)server, least_bits(client, offer->client_bits), false});
            else
                assert_false(terms.on);
        }
}

/* The value of a header line of ours, without its line end. */
static void value_of(const struct buf *line, char *text, size_t size)
{
    static const char start[] = "Sec-WebSocket-Extensions: ";
    size_t skip = strlen(start);
    assert_true(line->size > skip + 2 && line->size - skip - 2 < size);
    assert_memory_equal(line->at, start, skip);
    assert_memory_equal(line->at + line->size - 2, "\r\n", 2);
    memcpy(text, line->at + skip, line->size - skip - 2);
    text[line->size - skip - 2] = '\0';
}

/* What the server accepts is what it does, and what the client reads in its answer. */
static void both_ends_agree(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ENDS * ENDS; i++) {
        const struct deflate_terms *client = &ends[i / ENDS], *server = &ends[i % ENDS];
        struct deflate_terms accepted = {.on = false}, checked = {.on = false};
        struct buf line = {0};
        char text[200];
        deflate_offer(client, &line);
        value_of(&line, text, sizeof text);
        buf_free(&line);
        assert_int_equal(accept_one(text, server, &accepted), 0);
        assert_true(accepted.on);
        deflate_answer(&accepted, &line);
        value_of(&line, text, sizeof text);
        buf_free(&line);
        assert_int_equal(check_one(text, client, &checked), 0);
        expect_terms(text, &checked, &accepted);
        assert_true(accepted.server_bits <= least_bits(client->server_bits, server->server_bits));
        assert_true(accepted.client_bits == least_bits(client->client_bits, server->client_bits));
    }
}

/* Single values. */

enum word { FITS, DECLINED, MALFORMED };

static const struct {
    const char *value;
    enum word word;
    uint8_t server_bits, client_bits;
} values[] = {
#define D "permessage-deflate"
    {D, FITS, 15, 15},
    {D "; server_max_window_bits=\"10\"", FITS, 10, 15},
    {D "; client_max_window_bits=\"10\"", FITS, 15, 10},
    {D "; server_max_window_bits=\"15\"; client_max_window_bits=9", FITS, 15, 9},
    {D " ;\tserver_max_window_bits=11 ; client_max_window_bits ", FITS, 11, 15},
    {D ";server_max_window_bits=14;client_max_window_bits=13", FITS, 14, 13},
    {D "; server_max_window_bits=7", DECLINED, 0, 0},
    {D "; server_max_window_bits=16", DECLINED, 0, 0},
    {D "; client_max_window_bits=7", DECLINED, 0, 0},
    {D "; client_max_window_bits=16", DECLINED, 0, 0},
    {D "; server_max_window_bits=0", DECLINED, 0, 0},
    {D "; server_max_window_bits=09", DECLINED, 0, 0},
    {D "; server_max_window_bits=010", DECLINED, 0, 0},
    {D "; server_max_window_bits=100", DECLINED, 0, 0},
    {D "; server_max_window_bits=1", DECLINED, 0, 0},
    {D "; server_max_window_bits=1a", DECLINED, 0, 0},
    {D "; server_max_window_bits=+9", DECLINED, 0, 0},
    {D "; server_max_window_bits=-9", DECLINED, 0, 0},
    {D "; server_max_window_bits=1.", DECLINED, 0, 0},
    {D "; server_max_window_bits=\"16\"", DECLINED, 0, 0},
    {D "; server_max_window_bits=4294967305", DECLINED, 0, 0},
    {D "; client_max_window_bits=265", DECLINED, 0, 0},
    {D "; server_max_window_bits", DECLINED, 0, 0},
    {D "; server_no_context_takeover=true", DECLINED, 0, 0},
    {D "; client_no_context_takeover=\"1\"", DECLINED, 0, 0},
    {D "; server_no_context_takeover; server_no_context_takeover", DECLINED, 0, 0},
    {D "; client_no_context_takeover; client_no_context_takeover", DECLINED, 0, 0},
    {D "; server_max_window_bits=10; server_max_window_bits=10", DECLINED, 0, 0},
    {D "; client_max_window_bits=10; client_max_window_bits=10", DECLINED, 0, 0},
    {D "; client_max_window_bits; client_max_window_bits", DECLINED, 0, 0},
    {D "; client_max_window_bits; client_max_window_bits=10", DECLINED, 0, 0},
    {D "; unknown", DECLINED, 0, 0},
    {D "; unknown=1", DECLINED, 0, 0},
    {D "; server_max_window_bits=10; unknown", DECLINED, 0, 0},
    {D "; unknown; server_max_window_bits=10", DECLINED, 0, 0},
    {D "; Server_No_Context_Takeover", DECLINED, 0, 0},
    {"x-other", DECLINED, 0, 0},
    {"x-other; server_max_window_bits=10", DECLINED, 0, 0},
    {"permessage-deflat", DECLINED, 0, 0},
    {D "e", DECLINED, 0, 0},
    {"", MALFORMED, 0, 0},
    {D ";", MALFORMED, 0, 0},
    {D "; ;", MALFORMED, 0, 0},
    {"; server_no_context_takeover", MALFORMED, 0, 0},
    {D "; server_max_window_bits=", MALFORMED, 0, 0},
    {D "; server_max_window_bits=\"\"", MALFORMED, 0, 0},
    {D "; server_max_window_bits=\"", MALFORMED, 0, 0},
    {D "; server_max_window_bits=\"10", MALFORMED, 0, 0},
    {D "; server_max_window_bits=10\"", MALFORMED, 0, 0},
    {D "; server_max_window_bits=\"1 0\"", MALFORMED, 0, 0},
    {D "; server_max_window_bits==10", MALFORMED, 0, 0},
    {D "; =10", MALFORMED, 0, 0},
    {D "; a b", MALFORMED, 0, 0},
    {D "; server_max_window_bits=16; (", MALFORMED, 0, 0},
    {"x-other; (", MALFORMED, 0, 0},
    {"per message", MALFORMED, 0, 0},
};

static void values_are_read_declined_or_malformed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct deflate_terms terms = {.on = false};
        bool fits = values[i].word == FITS;
        int wanted = values[i].word == MALFORMED ? ERR_HTTP_EXTENSION : 0;
        if (accept_one(values[i].value, &all, &terms) != wanted || terms.on != fits)
            fail_msg("%s", values[i].value);
        if (fits)
            expect_terms(values[i].value, &terms,
                         &(struct deflate_terms){true, false, false, values[i].server_bits,
                                                 values[i].client_bits, false});
    }
}

static void an_answer_that_is_declined_or_malformed_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct deflate_terms terms = {.on = false};
        if (values[i].word != FITS)
            assert_int_equal(check_one(values[i].value, &all, &terms), ERR_PROTOCOL);
    }
}

/* Lists. */

static const struct {
    const char *headers[3];
    int err;
    uint8_t server_bits; /* 0: none is taken */
} lists[] = {
    {{D "; server_max_window_bits=8, " D "; server_max_window_bits=10"}, 0, 10},
    {{D "; unknown, " D}, 0, 15},
    {{D "; server_max_window_bits=12, " D "; server_max_window_bits=10"}, 0, 12},
    {{"x-other, x-more", D "; server_max_window_bits=11"}, 0, 11},
    {{D "; server_max_window_bits=12", D "; server_max_window_bits=10"}, 0, 12},
    {{"x-other", "x-more"}, 0, 0},
    {{NULL}, 0, 0},
    {{D ", ="}, ERR_HTTP_EXTENSION, 0},
    {{"=, " D}, ERR_HTTP_EXTENSION, 0},
    {{D, ""}, ERR_HTTP_EXTENSION, 0},
    {{D, "x-other; \""}, ERR_HTTP_EXTENSION, 0},
};

static void the_first_offer_that_can_be_met_is_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct http1_head head = head_of(lists[i].headers, 3);
        struct deflate_terms terms = {.on = false};
        assert_int_equal(deflate_accept(&head, &all, &terms), lists[i].err);
        assert_int_equal(terms.on ? terms.server_bits : 0, lists[i].server_bits);
    }
}

static void only_headers_of_that_name_count(void **state)
{
    const char *value = D;
    struct http1_head head = head_of(&value, 1);
    struct deflate_terms terms;
    (void)state;
    head.header[0].name = (struct slice){"sec-websocket-EXTENSIONS", strlen("Sec-WebSocket-Extensions")};
    assert_int_equal(deflate_accept(&head, &all, &terms), 0);
    assert_true(terms.on);
    head.header[0].name = (struct slice){"Sec-WebSocket-Protocol", strlen("Sec-WebSocket-Protocol")};
    assert_int_equal(deflate_accept(&head, &all, &terms), 0);
    assert_false(terms.on);
    assert_int_equal(deflate_check(&head, &all, &terms), 0);
    assert_false(terms.on);
}

static void who_is_not_willing_agrees_to_nothing(void **state)
{
    struct deflate_terms off = all, terms = all;
    struct buf line = {0};
    (void)state;
    off.on = false;
    assert_int_equal(accept_one(D, &off, &terms), 0);
    assert_false(terms.on);
    assert_int_equal(accept_one(D "; =", &off, &terms), ERR_HTTP_EXTENSION);
    assert_int_equal(check_one(D, &off, &terms), ERR_PROTOCOL);
    deflate_answer(&off, &line);
    deflate_offer(&off, &line);
    assert_int_equal(line.size, 0);
    buf_free(&line);
}

static void an_answer_agrees_once(void **state)
{
    static const char *const twice[] = {D, D};
    struct http1_head head = head_of(twice, 2), none = {.header_count = 0};
    struct deflate_terms terms = {.on = false};
    (void)state;
    assert_int_equal(deflate_check(&head, &all, &terms), ERR_PROTOCOL);
    assert_int_equal(check_one(D ", " D, &all, &terms), ERR_PROTOCOL);
    assert_int_equal(check_one(D ", x-other", &all, &terms), ERR_PROTOCOL);
    assert_false(terms.on);
    terms.on = true;
    assert_int_equal(deflate_check(&none, &all, &terms), 0);
    assert_false(terms.on);
}

/* Lines. */

#define SNC "; server_no_context_takeover"
#define CNC "; client_no_context_takeover"

static const struct {
    struct deflate_terms terms;
    const char *offer, *answer;
} lines[] = {
    {{true, false, false, 15, 15, false}, D "; client_max_window_bits", D},
    {{true, true, false, 15, 15, false}, D SNC "; client_max_window_bits", D SNC},
    {{true, false, true, 15, 15, false}, D CNC "; client_max_window_bits", D CNC},
    {{true, true, true, 15, 15, false}, D SNC CNC "; client_max_window_bits", D SNC CNC},
    {{true, false, false, 15, 15, true},
     D "; server_max_window_bits=15; client_max_window_bits",
     D "; server_max_window_bits=15"},
    {{true, false, false, 14, 14, false},
     D "; server_max_window_bits=14; client_max_window_bits=14",
     D "; server_max_window_bits=14; client_max_window_bits=14"},
    {{true, false, false, 15, 9, false}, D "; client_max_window_bits=9", D "; client_max_window_bits=9"},
};

static void lines_say_what_is_agreed_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct buf line = {0};
        char text[200];
        deflate_offer(&lines[i].terms, &line);
        value_of(&line, text, sizeof text);
        assert_string_equal(text, lines[i].offer);
        buf_free(&line);
        deflate_answer(&lines[i].terms, &line);
        value_of(&line, text, sizeof text);
        assert_string_equal(text, lines[i].answer);
        buf_free(&line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_offer_is_met_or_declined),
        cmocka_unit_test(every_answer_is_what_was_offered_or_refused),
        cmocka_unit_test(both_ends_agree),
        cmocka_unit_test(values_are_read_declined_or_malformed),
        cmocka_unit_test(an_answer_that_is_declined_or_malformed_is_refused),
        cmocka_unit_test(the_first_offer_that_can_be_met_is_taken),
        cmocka_unit_test(only_headers_of_that_name_count),
        cmocka_unit_test(who_is_not_willing_agrees_to_nothing),
        cmocka_unit_test(an_answer_agrees_once),
        cmocka_unit_test(lines_say_what_is_agreed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
