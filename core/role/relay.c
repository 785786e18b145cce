#include "role/relay_topic.h"

#include "base/clock.h"
#include "base/count.h"
#include "base/err.h"
#include "base/log.h"
#include "peer/gap.h"
#include "peer/ws.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>

/* How long a topic is kept without a subscriber; how often the others are told how far we are, and for how
 * long after our last message. */
static const uint64_t KEEP_NS = 5 * NS_PER_S, SAY_EVERY_NS = NS_PER_S, SAY_FOR_NS = 60 * NS_PER_S;
/* How long those who come in wait for a Redis that is away. */
static const uint64_t PATIENCE_NS = NS_PER_S;
static const uint64_t LOOK_EVERY_NS = 200 * NS_PER_MS;

/* The braces make a cluster keep all keys of a topic on one node. */
static void name_key(const struct relay *r, struct slice topic, const char *suffix, struct buf *ret)
{
    buf_printf(ret, "%s:{%.*s}%s", r->options.prefix, (int)topic.size, topic.at, suffix);
}

static struct slice whole(const struct buf *b)
{
    return (struct slice){(const char *)b->at, b->size};
}

static struct relay_topic *topic_new(struct relay *r, struct slice name)
{
    struct relay_topic *t = mem_zero(sizeof *t + name.size);
    memcpy(t->text, name.at, name.size);
    t->name = (struct slice){t->text, name.size};
    t->relay = r;
    t->wanted_ns = t->since_ns = loop_now_ns(r->options.loop);
    count_add(COUNT_relay_behind, 1);
    link_init(&t->waiting);
    link_init(&t->joined);
    link_init(&t->link);
    list_append(&r->all, &t->link);
    name_key(r, name, "", &t->channel);
    name_key(r, name, ":meta", &t->meta);
    name_key(r, name, ":log", &t->log);
    if (tsearch(t, &r->topics, slice_order) == NULL)
        PANIC("no memory for topic %.*s", (int)name.size, name.at);
    redis_cluster_subscribe(r->redis, whole(&t->channel), r->options.sharded);
    return t;
}

static void topic_free(struct relay_topic *t)
{
    struct origin *o;
    tdelete(t, &t->relay->topics, slice_order);
    count_sub(COUNT_relay_behind, t->state != TOPIC_LIVE);
    link_remove(&t->link);
    while ((o = t->origins) != NULL) {
        t->origins = o->next;
        free(o);
    }
    buf_free(&t->channel);
    buf_free(&t->meta);
    buf_free(&t->log);
    free(t);
}

static struct relay_topic *topic_find(const struct relay *r, struct slice name)
{
    struct relay_topic **found = tfind(&name, &r->topics, slice_order);
    return found != NULL ? *found : NULL;
}

struct relay_topic *relay_topic(struct relay *r, struct slice name)
{
    struct relay_topic *t = topic_find(r, name);
    return t != NULL ? t : topic_new(r, name);
}

void relay_topic_enter(struct relay_topic *t, enum topic_state state)
{
    count_sub(COUNT_relay_behind, t->state != TOPIC_LIVE);
    count_add(COUNT_relay_behind, state != TOPIC_LIVE);
    t->state = state;
    t->since_ns = loop_now_ns(t->relay->options.loop);
}

static struct relay_topic *topic_of_channel(const struct relay *r, struct slice channel)
{
    size_t head = strlen(r->options.prefix) + 2;
    if (channel.size <= head)
        return NULL;
    return topic_find(r, (struct slice){channel.at + head, channel.size - head - 1});
}

static void on_subscribed(void *owner, struct slice channel, bool sharded)
{
    (void)sharded;
    struct relay *r = owner;
    struct relay_topic *t = topic_of_channel(r, channel);
    if (t == NULL)
        return;
    relay_topic_enter(t, r->options.history > 0 ? TOPIC_FILLING : TOPIC_LIVE);
    if (t->reading)
        t->seen = UINT64_MAX; /* it may be older than this, and is not enough */
    if (r->options.history > 0)
        replay_fill(t);
}

static void on_unsubscribed(void *owner, struct slice channel, bool sharded, const char *why)
{
    (void)sharded;
    struct relay_topic *t = topic_of_channel(owner, channel);
    if (t == NULL || t->state == TOPIC_SUBSCRIBING)
        return;
    log_line(LOG_WARN, "topic %.*s: cut off from other servers: %s", (int)t->name.size, t->name.at, why);
    relay_topic_enter(t, TOPIC_SUBSCRIBING);
}

static void deliver(struct relay_topic *t, struct slice payload, bool text, const struct member *except)
{
    struct relay_message message = {.topic = t->name, .payload = payload, .text = text, .except = except};
    t->relay->options.owner->deliver(t->relay->options.owner, &message);
}

static struct origin *origin_of(struct relay_topic *t, const char *node, uint64_t number)
{
    for (struct origin *o = t->origins; o != NULL; o = o->next)
        if (strcmp(o->node, node) == 0)
            return o;
    struct origin *o = mem_zero(sizeof *o);
    snprintf(o->node, sizeof o->node, "%s", node);
    o->number = number; /* what came before is not ours to have */
    o->next = t->origins;
    t->origins = o;
    return o;
}

static void tell_gap(struct relay_topic *t, uint64_t missed)
{
    char notice[GAP_FRAME_SIZE];
    size_t size = gap_write(notice, missed);
    count_add(COUNT_relay_missed, missed);
    deliver(t, (struct slice){notice, size}, true, NULL);
}

/* "NODE NUMBER KIND", then the message: t and b are text and binary, - only says how far the other is. */
static void plain_message(struct relay_topic *t, struct slice head, struct slice body)
{
    char line[64], node[NODE_SIZE + 1], digits[20], kind;
    snprintf(line, sizeof line, "%.*s", (int)head.size, head.at);
    if (sscanf(line, "%8[0-9a-f] %19[0-9] %c", node, digits, &kind) != 3 || strchr("tb-", kind) == NULL ||
        strcmp(node, t->relay->node) == 0)
        return;
    uint64_t number = strtoull(digits, NULL, 10);
    if (number == 0)
        return;
    struct origin *o = origin_of(t, node, kind == '-' ? number : number - 1);
    uint64_t expected = kind == '-' ? number : number - 1;
    if (kind != '-' && number <= o->number)
        return; /* of a link that was given up, and told as missing already */
    if (expected > o->number)
        tell_gap(t, expected - o->number);
    if (number > o->number)
        o->number = number;
    if (kind == '-')
        return;
    count_add(COUNT_relay_received, 1);
    deliver(t, body, kind == 't', NULL);
}

static void on_message(void *owner, struct slice channel, struct slice payload)
{
    struct relay *r = owner;
    struct relay_topic *t = topic_of_channel(r, channel);
    const char *end = memchr(payload.at, '\n', payload.size);
    if (t == NULL || end == NULL)
        return;
    struct slice head = {payload.at, (size_t)(end - payload.at)};
    struct slice body = {end + 1, payload.size - head.size - 1};
    if (r->options.history > 0)
        replay_message(t, head, body);
    else
        plain_message(t, head, body);
}

static void publish_plain(struct relay_topic *t, struct slice body, char kind)
{
    struct relay *r = t->relay;
    struct buf out = {0};
    buf_printf(&out, "%s %llu %c\n", r->node, (unsigned long long)t->number, kind);
    buf_append(&out, body.at, body.size);
    const char *argv[] = {r->options.sharded ? "SPUBLISH" : "PUBLISH", (const char *)t->channel.at,
                          (const char *)out.at};
    const size_t sizes[] = {strlen(argv[0]), t->channel.size, out.size};
    struct slice key = r->options.sharded ? whole(&t->channel) : (struct slice){0};
    int err = redis_cluster_command(r->redis, key, NULL, NULL, 3, argv, sizes);
    t->said_ns = loop_now_ns(r->options.loop);
    if (kind != '-')
        count_add(err == 0 ? COUNT_relay_published : COUNT_relay_unstored, 1);
    buf_free(&out);
}

void relay_publish(struct relay *r, struct slice topic, struct slice payload, bool text, struct ws *from)
{
    struct relay_topic *t = relay_topic(r, topic);
    t->wanted_ns = loop_now_ns(r->options.loop);
    if (r->options.history > 0) {
        replay_publish(t, payload, text, from);
        return;
    }
    deliver(t, payload, text, from != NULL && !r->options.echo ? ws_member(from) : NULL);
    t->number++;
    publish_plain(t, payload, text ? 't' : 'b');
}

void relay_want(struct relay *r, struct slice topic)
{
    relay_topic(r, topic)->wanted_ns = loop_now_ns(r->options.loop);
}

/* Without it the others would find out that they have missed our last messages only with the next one. */
static void say_how_far(struct relay_topic *t, uint64_t now_ns)
{
    if (t->number > 0 && t->relay->options.history == 0 && now_ns - t->said_ns >= SAY_EVERY_NS &&
        now_ns - t->wanted_ns < SAY_FOR_NS)
        publish_plain(t, (struct slice){0}, '-');
}

static void look_after(struct relay_topic *t, uint64_t now_ns)
{
    struct relay *r = t->relay;
    if (!list_empty(&t->waiting) || hub_members(r->options.hub, t->name) > 0)
        t->wanted_ns = now_ns;
    if (t->state == TOPIC_LIVE)
        place_admit(t, true); /* those whose last read has failed */
    else if (!t->reading && now_ns - t->since_ns >= PATIENCE_NS)
        place_admit(t, false);
    if (t->state == TOPIC_FILLING)
        replay_fill(t); /* its last read may have failed */
    say_how_far(t, now_ns);
    if (now_ns - t->wanted_ns < KEEP_NS || t->reading || t->refs > 0 ||
        (t->number > 0 && now_ns - t->wanted_ns < SAY_FOR_NS))
        return;
    redis_cluster_unsubscribe(r->redis, whole(&t->channel), r->options.sharded);
    topic_free(t);
}

void relay_tick(struct relay *r)
{
    uint64_t now_ns = loop_now_ns(r->options.loop);
    place_pace(r);
    if (now_ns - r->looked_ns < LOOK_EVERY_NS)
        return;
    r->looked_ns = now_ns;
    for (struct link *at = r->all.next, *next; at != &r->all; at = next) {
        next = at->next;
        look_after(LIST_OF(at, struct relay_topic, link), now_ns);
    }
}

struct relay *relay_new(const struct relay_options *options)
{
    struct redis_options redis = {
        .url = options->url,
        .name = "wsb",
        .tls = options->tls,
        .events = {.message = on_message, .subscribed = on_subscribed, .unsubscribed = on_unsubscribed}};
    struct relay *r = mem_zero(sizeof *r);
    r->options = *options;
    link_init(&r->all);
    link_init(&r->pacing);
    rng_seed(&r->rng, clock_now_ns() ^ (uintptr_t)r);
    snprintf(r->node, sizeof r->node, "%08x", (unsigned)rng_next(&r->rng));
    redis.owner = r;
    r->redis = redis_cluster_new(options->loop, &redis);
    return r;
}

void relay_free(struct relay *r)
{
    if (r == NULL)
        return;
    redis_cluster_free(r->redis);
    while (!list_empty(&r->all))
        topic_free(LIST_OF(r->all.next, struct relay_topic, link));
    free(r);
}
