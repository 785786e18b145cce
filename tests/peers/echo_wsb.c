/* wsb's client at an echo server: compares N echoes and closes with 1000.
 *
 *     echo_wsb --url URL --messages N [--deflate] [--takeover none|client|server|both] [--ca FILE] */
#include "messages.h"

#include "net/tls.h"
#include "peer/client.h"
#include "wire/deflate.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MESSAGE = 2 << 20 };

static struct rng sent, expected;
static unsigned long total, heard;
static uint64_t bytes;
static bool good;

static void send_one(struct client *c)
{
    struct sample s = samples_next(&sent);
    client_send(c, s.text ? FRAME_TEXT : FRAME_BINARY, s.at, s.size);
}

static void on_opened(struct client *c)
{
    for (unsigned long i = 0; i < MESSAGES_UNDER_WAY && i < total; i++)
        send_one(c);
}

static void on_message(struct client *c, const struct message *m)
{
    struct sample want = samples_next(&expected);
    if (heard == total || !sample_is(&want, m->kind == MESSAGE_TEXT, m->at, m->size)) {
        client_abort(c);
        return;
    }
    heard++;
    bytes += m->size;
    if (heard + MESSAGES_UNDER_WAY <= total)
        send_one(c);
    if (heard == total)
        client_close(c, 1000);
}

static void on_ended(struct client *c, bool was_open, int code)
{
    good = was_open && code == 1000 && heard == total;
    printf("%lu messages, %llu bytes, closed with %d\n", heard, (unsigned long long)bytes, code);
    client_release(c);
}

struct flags {
    const char *url, *takeover, *ca;
    bool deflate;
};

static bool keeps(const struct flags *flags, const char *side)
{
    return strcmp(flags->takeover, "both") == 0 || strcmp(flags->takeover, side) == 0;
}

/* Whatever of the connection the flags decide. */
static bool set_up(const struct flags *flags, struct client_shared *shared)
{
    char why[256];
    if (flags->url == NULL || url_parse(flags->url, &shared->url) < 0)
        return false;
    shared->limits.max_message = MAX_MESSAGE;
    shared->deflate = (struct deflate_terms){.on = flags->deflate,
                                             .server_no_context = !keeps(flags, "server"),
                                             .client_no_context = !keeps(flags, "client"),
                                             .server_bits = DEFLATE_BITS_MAX,
                                             .client_bits = DEFLATE_BITS_MAX};
    if (!shared->url.secure)
        return true;
    const struct tls_options tls = {
        .ca = flags->ca, .name = shared->url.host, .verify = true, .resume = true};
    shared->tls = tls_context_new(&tls, why, sizeof why);
    if (shared->tls == NULL)
        fprintf(stderr, "%s\n", why);
    return shared->tls != NULL;
}

static void tear_down(struct client_shared *shared)
{
    struct ev_loop *ev = loop_ev(shared->owner.loop);
    loop_free(shared->owner.loop);
    ev_loop_destroy(ev);
    tls_context_free(shared->tls);
    deflaters_free(&shared->deflaters);
}

static bool read_flags(int count, char **words, struct flags *ret_flags)
{
    static const struct option known[] = {
        {"url", required_argument, NULL, 'u'}, {"messages", required_argument, NULL, 'n'},
        {"deflate", no_argument, NULL, 'd'},   {"takeover", required_argument, NULL, 't'},
        {"ca", required_argument, NULL, 'c'},  {0}};
    for (int flag; (flag = getopt_long(count, words, "", known, NULL)) != -1;)
        switch (flag) {
        case 'u': ret_flags->url = optarg; break;
        case 'n': total = strtoul(optarg, NULL, 10); break;
        case 'd': ret_flags->deflate = true; break;
        case 't': ret_flags->takeover = optarg; break;
        case 'c': ret_flags->ca = optarg; break;
        default: return false;
        }
    return optind == count;
}

int main(int count, char **words)
{
    static struct client client;
    struct flags flags = {.takeover = "both", .ca = ""};
    struct rng masks;
    struct ev_loop *ev = ev_loop_new(EVFLAG_AUTO);
    struct client_shared shared = {.owner.loop = loop_new(ev),
                                   .rng = &masks,
                                   .opened = on_opened,
                                   .message = on_message,
                                   .ended = on_ended};
    samples_begin(&sent, 6);
    samples_begin(&expected, 6);
    rng_seed(&masks, 7);
    if (!read_flags(count, words, &flags) || !set_up(&flags, &shared))
        fprintf(stderr, "usage: echo_wsb --url URL --messages N ...\n");
    else if (client_connect(&client, &shared) == 0)
        ev_run(ev, 0);
    tear_down(&shared);
    return good ? 0 : 1;
}
