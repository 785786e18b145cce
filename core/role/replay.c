/* History: every message of a topic has a number, the stream in Redis keeps the last ones, and who was away
 * gets what it missed.
 *
 * Nothing is buffered on the way in. A topic delivers in the order of the numbers, so `at`, the last one it
 * has delivered, says all: whoever has read the stream up to `at` or past it joins at that moment, and is
 * spared what it has had (skip_to) when that arrives. A topic that finds a gap does the same for itself: it
 * lets live messages go and reads until it has caught up. */
#include "role/relay_topic.h"

#include "base/clock.h"
#include "base/count.h"
#include "base/err.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Messages of one read, which is also what a client may get at once. */
enum { READ_MAX = 256 };
/* What has no epoch yet gets one, and what is left of an older history goes. */
#define WITH_EPOCH                                                                                           \
    "local e = redis.call('HGET', KEYS[1], 'epoch')\n"                                                       \
    "if not e then\n"                                                                                        \
    "  e = ARGV[1]\n"                                                                                        \
    "  redis.call('DEL', KEYS[2])\n"                                                                         \
    "  redis.call('HSET', KEYS[1], 'epoch', e, 'offset', 0)\n"                                               \
    "end\n"

/* ARGV: a new epoch, the history's length, the payload, its kind, the sender, the command to publish with */
static const char publish_script[] = WITH_EPOCH
    "local o = string.format('%.0f', redis.call('HINCRBY', KEYS[1], 'offset', 1))\n"
    "redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[2], o .. '-0', 'k', ARGV[4], 'm', ARGV[3])\n"
    "redis.call(ARGV[6], KEYS[3], e .. ':' .. o .. ' ' .. ARGV[4] .. ' ' .. ARGV[5] .. '\\n' .. ARGV[3])\n"
    "return {e, o}\n";

/* ARGV: a new epoch, the first offset wanted, how many at most */
static const char read_script[] =
    WITH_EPOCH "return {e, redis.call('HGET', KEYS[1], 'offset'),\n"
               "  redis.call('XRANGE', KEYS[2], ARGV[2] .. '-0', '+', 'COUNT', ARGV[3])}\n";

static int run(struct relay_topic *t, const char *script, redis_answer *fn, void *arg, int argc,
               const struct slice *argv)
{
    enum { FIXED = 6, MOST = FIXED + 6 };
    const char *all[MOST] = {
        "EVAL", script, "3", (const char *)t->meta.at, (const char *)t->log.at, (const char *)t->channel.at};
    size_t sizes[MOST] = {4, strlen(script), 1, t->meta.size, t->log.size, t->channel.size};
    for (int i = 0; i < argc; i++) {
        all[FIXED + i] = argv[i].at;
        sizes[FIXED + i] = argv[i].size;
    }
    struct slice key = {(const char *)t->meta.at, t->meta.size};
    return redis_cluster_command(t->relay->redis, key, fn, arg, FIXED + argc, all, sizes);
}

static struct slice text_slice(const char *text)
{
    return (struct slice){text, strlen(text)};
}

int replay_read(struct relay_topic *t, uint64_t offset, redis_answer *fn, void *arg)
{
    char epoch[16], from[24], most[16];
    snprintf(epoch, sizeof epoch, "%08x", (unsigned)rng_next(&t->relay->rng));
    snprintf(from, sizeof from, "%" PRIu64, offset);
    snprintf(most, sizeof most, "%d", READ_MAX);
    return run(t, read_script, fn, arg, 3,
               (const struct slice[]){text_slice(epoch), text_slice(from), text_slice(most)});
}

static bool is_text(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING;
}

static bool parse_id(redisReply *const *pair, struct replay_id *ret_id)
{
    char at[64];
    if (!is_text(pair[0]) || !is_text(pair[1]))
        return false;
    int size = snprintf(at, sizeof at, "%s:%s", pair[0]->str, pair[1]->str);
    return (size_t)size < sizeof at && replay_id_parse((struct slice){at, (size_t)size}, ret_id) == 0;
}

/* An entry of XRANGE: {"17-0", {"k", "t", "m", PAYLOAD}}. */
bool replay_parse_entry(const redisReply *reply, struct replay_entry *ret_entry)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[1]->type != REDIS_REPLY_ARRAY || reply->element[1]->elements != 4)
        return false;
    const redisReply *kind = reply->element[1]->element[1], *body = reply->element[1]->element[3];
    if (!is_text(reply->element[0]) || !is_text(kind) || !is_text(body))
        return false;
    ret_entry->offset = strtoull(reply->element[0]->str, NULL, 10);
    ret_entry->text = kind->len == 1 && kind->str[0] == 't';
    ret_entry->body = (struct slice){body->str, body->len};
    return ret_entry->offset > 0;
}

bool replay_parse_read(const redisReply *reply, struct replay_id *ret_at, const redisReply **ret_entries)
{
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 ||
        reply->element[2]->type != REDIS_REPLY_ARRAY)
        return false;
    *ret_entries = reply->element[2];
    return parse_id(reply->element, ret_at);
}

struct slice replay_with_id(const struct replay_id *id, struct slice body, struct buf *ret_out)
{
    char line[REPLAY_ID_SIZE] = "-";
    size_t size = id != NULL ? replay_id_write(id, line) : 1;
    ret_out->size = 0;
    buf_append(ret_out, line, size);
    buf_append(ret_out, "\n", 1);
    buf_append(ret_out, body.at, body.size);
    return (struct slice){(const char *)ret_out->at, ret_out->size};
}

static void deliver(struct relay_topic *t, const struct replay_id *id, struct slice body, bool text,
                    uint64_t sender)
{
    const struct relay_options *o = &t->relay->options;
    struct buf out = {0};
    struct relay_message message = {.topic = t->name,
                                    .payload = replay_with_id(id, body, &out),
                                    .text = text,
                                    .offset = id != NULL ? id->offset : 0,
                                    .sender = o->echo ? 0 : sender};
    o->owner->deliver(o->owner, &message);
    buf_free(&out);
}

static void deliver_next(struct relay_topic *t, struct slice body, bool text, uint64_t sender)
{
    t->at.offset++;
    deliver(t, &t->at, body, text, sender);
}

/* The clients here are told that they have lost their place, and where it is now. */
static void lose_place(struct relay_topic *t, const struct replay_id *now)
{
    char text[REPLAY_NOTICE_SIZE];
    struct replay_recovered notice = {false, *now};
    const struct relay_options *o = &t->relay->options;
    t->at = *now;
    place_forget(t);
    struct relay_message message = {
        .topic = t->name, .payload = {text, replay_recovered_write(&notice, text)}, .text = true};
    o->owner->deliver(o->owner, &message);
}

bool replay_trimmed(const struct relay_topic *t, uint64_t has, uint64_t first)
{
    uint64_t allowed = t->relay->options.bug == RELAY_TRIM_OFF_BY_ONE ? 2 : 1;
    return first > has + allowed;
}

/* What the stream has and the topic has not. */
static void catch_up(struct relay_topic *t, const struct replay_id *stands, const redisReply *entries)
{
    struct replay_entry e;
    if (t->at.epoch[0] == '\0') { /* what was before is history, also for who came in without Redis */
        lose_place(t, stands);
        return;
    }
    if (!replay_id_same_epoch(&t->at, stands)) {
        struct replay_id start = *stands;
        start.offset = 0; /* and is read from its beginning */
        lose_place(t, &start);
        return;
    }
    if (stands->offset < t->at.offset) { /* restored from an older copy: its numbers are given again */
        lose_place(t, stands);
        return;
    }
    uint64_t before_all = t->at.offset;
    for (size_t i = 0; i < entries->elements; i++) {
        if (!replay_parse_entry(entries->element[i], &e) || e.offset <= t->at.offset ||
            e.offset > stands->offset)
            continue;
        if (replay_trimmed(t, t->at.offset, e.offset)) {
            struct replay_id before = *stands;
            before.offset = e.offset - 1;
            count_add(COUNT_relay_missed, before.offset - t->at.offset);
            lose_place(t, &before);
        }
        t->at.offset = e.offset - 1;
        deliver_next(t, e.body, e.text, 0);
    }
    if (t->at.offset == before_all && stands->offset > t->at.offset) {
        count_add(COUNT_relay_missed, stands->offset - t->at.offset);
        lose_place(t, stands);
    }
}

static void on_filled(void *arg, const redisReply *reply)
{
    struct relay_topic *t = arg;
    const redisReply *entries;
    struct replay_id stands;
    t->reading = false;
    if (t->state != TOPIC_FILLING)
        return;
    if (!replay_parse_read(reply, &stands, &entries)) {
        if (reply != NULL)
            log_line(LOG_WARN, "topic %.*s: cannot be read: %s", (int)t->name.size, t->name.at,
                     reply->type == REDIS_REPLY_ERROR ? reply->str : "not understood");
        return; /* again at the next tick, or when the link is back */
    }
    relay_topic_enter(t, TOPIC_FILLING); /* so long it has got on */
    catch_up(t, &stands, entries);
    if (!replay_id_same_epoch(&t->at, &stands) || t->at.offset < stands.offset || t->at.offset < t->seen) {
        replay_fill(t);
        return;
    }
    relay_topic_enter(t, TOPIC_LIVE);
    place_admit(t, true);
}

void replay_fill(struct relay_topic *t)
{
    if (t->reading)
        return;
    t->seen = 0;
    t->reading = replay_read(t, t->at.offset + 1, on_filled, t) == 0;
}

/* "EPOCH:OFFSET KIND SENDER" */
void replay_message(struct relay_topic *t, struct slice head, struct slice body)
{
    const char *blank = memchr(head.at, ' ', head.size);
    struct replay_id id;
    char rest[64], kind, node[NODE_SIZE + 1];
    unsigned long long serial;
    if (blank == NULL || replay_id_parse((struct slice){head.at, (size_t)(blank - head.at)}, &id) < 0)
        return;
    snprintf(rest, sizeof rest, "%.*s", (int)(head.size - (size_t)(blank - head.at) - 1), blank + 1);
    if (sscanf(rest, "%c %8[0-9a-f].%llu", &kind, node, &serial) != 3)
        return;
    count_add(COUNT_relay_received, 1);
    bool same = replay_id_same_epoch(&t->at, &id);
    if (same && id.offset <= t->at.offset)
        return;
    if (id.offset > t->seen)
        t->seen = id.offset;
    if (t->state == TOPIC_LIVE && same && id.offset == t->at.offset + 1) {
        deliver_next(t, body, kind == 't', strcmp(node, t->relay->node) == 0 ? serial : 0);
        return;
    }
    if (t->state == TOPIC_LIVE)
        relay_topic_enter(t, TOPIC_FILLING);
    if (t->state == TOPIC_FILLING)
        replay_fill(t);
}

/* A message on its way to the stream. */
struct offer {
    struct relay_topic *topic;
    struct place *place; /* NULL: nobody waits for an answer */
    uint64_t n;
    bool text;
    uint64_t serial;
    struct buf body; /* kept for those here, should it not be stored */
};

/* It is not in the stream: those here get it all the same, the others do not. */
static void not_stored(struct relay_topic *t, struct slice body, bool text, uint64_t serial)
{
    count_add(COUNT_relay_unstored, 1);
    deliver(t, NULL, body, text, serial);
}

static void on_stored(void *arg, const redisReply *reply)
{
    struct offer *o = arg;
    struct replay_id id;
    bool stored = reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
                  parse_id(reply->element, &id);
    if (stored) {
        count_add(COUNT_relay_published, 1);
    } else if (reply != NULL) {
        log_line(LOG_WARN, "not stored: %s",
                 reply->type == REDIS_REPLY_ERROR ? reply->str : "not understood");
        not_stored(o->topic, (struct slice){(const char *)o->body.at, o->body.size}, o->text, o->serial);
    } else {
        count_add(COUNT_relay_unknown, 1); /* if it is in the stream, it comes from there */
    }
    if (o->place != NULL) {
        place_answer(o->place, o->n, stored ? &id : NULL);
        place_release(o->place);
    }
    o->topic->refs--;
    buf_free(&o->body);
    free(o);
}

void replay_publish(struct relay_topic *t, struct slice payload, bool text, struct ws *from)
{
    struct relay *r = t->relay;
    struct place *p = from != NULL ? place_publisher(t, from) : NULL;
    struct offer *o = mem_zero(sizeof *o);
    char epoch[16], most[24], sender[64];
    *o = (struct offer){.topic = t, .place = p, .text = text, .serial = p != NULL ? place_serial(p) : 0};
    snprintf(epoch, sizeof epoch, "%08x", (unsigned)rng_next(&r->rng));
    snprintf(most, sizeof most, "%" PRIu64, r->options.history);
    snprintf(sender, sizeof sender, "%s.%" PRIu64, r->node, o->serial);
    if (p != NULL)
        o->n = place_next(p);
    int err = run(t, publish_script, on_stored, o, 6,
                  (const struct slice[]){text_slice(epoch), text_slice(most), payload,
                                         text_slice(text ? "t" : "b"), text_slice(sender),
                                         text_slice(r->options.sharded ? "SPUBLISH" : "PUBLISH")});
    if (err == 0) {
        buf_append(&o->body, payload.at, payload.size);
        t->refs++;
        return;
    }
    not_stored(t, payload, text, o->serial);
    if (p != NULL) {
        place_answer(p, o->n, NULL);
        place_release(p);
    }
    free(o);
}
