#include "peer/redis_subs.h"

#include "base/count.h"
#include "base/fnv.h"
#include "base/log.h"

#include <stdlib.h>

enum { FIRST_BUCKETS = 16, BATCH = 512 };

void redis_subs_init(struct redis_subs *t, const struct redis_events *events, void *owner)
{
    *t = (struct redis_subs){.events = events, .owner = owner};
    link_init(&t->todo);
    link_init(&t->asked);
    link_init(&t->held);
    link_init(&t->trash);
}

void redis_subs_free(struct redis_subs *t)
{
    for (size_t i = 0; i < t->buckets; i++)
        for (struct redis_sub *s = t->bucket[i], *next; s != NULL; s = next) {
            next = s->next;
            free(s);
        }
    free(t->bucket);
    redis_subs_init(t, t->events, t->owner);
}

static uint64_t hash_of(struct slice channel, bool sharded)
{
    return fnv_add(fnv_add(FNV_START, &sharded, sizeof sharded), channel.at, channel.size);
}

static struct redis_sub **bucket_of(const struct redis_subs *t, uint64_t hash)
{
    return &t->bucket[hash & (t->buckets - 1)];
}

static void grow(struct redis_subs *t)
{
    struct redis_subs old = *t;
    t->buckets = old.buckets > 0 ? old.buckets * 2 : FIRST_BUCKETS;
    t->bucket = mem_zero(t->buckets * sizeof(struct redis_sub *));
    for (size_t i = 0; i < old.buckets; i++)
        for (struct redis_sub *s = old.bucket[i], *next; s != NULL; s = next) {
            struct redis_sub **to = bucket_of(t, s->hash);
            next = s->next;
            s->next = *to;
            *to = s;
        }
    free(old.bucket);
}

struct redis_sub *redis_subs_find(const struct redis_subs *t, struct slice channel, bool sharded)
{
    if (t->buckets == 0)
        return NULL;
    uint64_t hash = hash_of(channel, sharded);
    struct redis_sub *s = *bucket_of(t, hash);
    while (s != NULL && !(s->hash == hash && s->sharded == sharded && slice_same(s->channel, channel)))
        s = s->next;
    return s;
}

struct redis_sub *redis_subs_get(struct redis_subs *t, struct slice channel, bool sharded)
{
    struct redis_sub *s = redis_subs_find(t, channel, sharded);
    if (s != NULL)
        return s;
    if (t->count >= t->buckets)
        grow(t);
    s = mem_alloc(sizeof *s + channel.size);
    char *name = (char *)(s + 1);
    if (channel.size > 0)
        memcpy(name, channel.at, channel.size);
    struct redis_sub **bucket = bucket_of(t, hash_of(channel, sharded));
    *s = (struct redis_sub){.hash = hash_of(channel, sharded),
                            .next = *bucket,
                            .sharded = sharded,
                            .channel = {name, channel.size}};
    *bucket = s;
    t->count++;
    link_init(&s->place);
    list_append(&t->held, &s->place);
    return s;
}

void redis_subs_empty_trash(struct redis_subs *t)
{
    for (struct link *at = list_take(&t->trash); at != NULL; at = list_take(&t->trash)) {
        struct redis_sub *s = LIST_OF(at, struct redis_sub, place);
        struct redis_sub **to = bucket_of(t, s->hash);
        while (*to != s)
            to = &(*to)->next;
        *to = s->next;
        t->count--;
        free(s);
    }
}

/* ---- what is wanted ---- */

static void put_in(struct link *list, struct redis_sub *s, enum redis_sub_state state)
{
    s->state = state;
    list_append(list, &s->place);
}

void redis_subs_want(struct redis_subs *t, struct slice channel, bool sharded)
{
    struct redis_sub *s = redis_subs_get(t, channel, sharded);
    bool wanted = s->wanted;
    s->wanted = true;
    switch (s->state) {
    case SUB_OFF:
    case SUB_REFUSED: put_in(&t->todo, s, SUB_OFF); return;
    case SUB_ON:
        if (!wanted)
            put_in(&t->todo, s, SUB_RENEW);
        return;
    case SUB_RENEW:
    case SUB_ASKED:
    case SUB_LEAVING: return; /* the answer goes on from here */
    }
}

void redis_subs_unwant(struct redis_subs *t, struct slice channel, bool sharded)
{
    struct redis_sub *s = redis_subs_find(t, channel, sharded);
    if (s == NULL)
        return;
    s->wanted = false;
    switch (s->state) {
    case SUB_OFF:
    case SUB_REFUSED: put_in(&t->trash, s, SUB_OFF); return;
    case SUB_ON:
    case SUB_RENEW: put_in(&t->todo, s, SUB_ON); return;
    case SUB_ASKED:
    case SUB_LEAVING: return;
    }
}

void redis_format(struct buf *out, int argc, const char **argv, const size_t *argvlen)
{
    char *text = NULL;
    int size = redisFormatCommandArgv(&text, argc, argv, argvlen);
    if (size < 0)
        PANIC("no memory for a command");
    buf_append(out, text, (size_t)size);
    redisFreeCommand(text);
}

static void ask(struct redis_subs *t, struct redis_sub *s, struct buf *out)
{
    const char *verb =
        s->wanted ? (s->sharded ? "SSUBSCRIBE" : "SUBSCRIBE") : (s->sharded ? "SUNSUBSCRIBE" : "UNSUBSCRIBE");
    const char *argv[] = {verb, s->channel.at};
    const size_t size[] = {strlen(verb), s->channel.size};
    redis_format(out, 2, argv, size);
    put_in(&t->asked, s, s->wanted ? SUB_ASKED : SUB_LEAVING);
    t->asked_count++;
}

/* A batch at a time, so that a hundred thousand do not queue at once. A channel each, so that each error
 * tells whose it is. */
void redis_subs_ask_some(struct redis_subs *t, struct buf *out)
{
    struct link *at;
    while (t->asked_count < BATCH && (at = list_take(&t->todo)) != NULL)
        ask(t, LIST_OF(at, struct redis_sub, place), out);
}

/* ---- what the server says ---- */

static struct redis_sub *next_answer(const struct redis_subs *t)
{
    return list_empty(&t->asked) ? NULL : LIST_OF(t->asked.next, struct redis_sub, place);
}

static void answered(struct redis_subs *t, struct redis_sub *s, enum redis_sub_state state)
{
    t->asked_count--;
    put_in(&t->held, s, state);
}

static void tell_end(const struct redis_subs *t, const struct redis_sub *s, const char *why)
{
    if (!t->closed && t->events->unsubscribed != NULL)
        t->events->unsubscribed(t->owner, s->channel, s->sharded, why);
}

static void refused(struct redis_subs *t, struct redis_sub *s, const char *why)
{
    if (s->wanted) {
        put_in(&t->held, s, SUB_REFUSED);
        tell_end(t, s, why);
    } else {
        put_in(&t->trash, s, SUB_OFF);
    }
}

static void left(struct redis_subs *t, struct redis_sub *s)
{
    answered(t, s, SUB_OFF);
    put_in(s->wanted ? &t->todo : &t->trash, s, SUB_OFF);
}

static const char *on_error(struct redis_subs *t, const redisReply *reply)
{
    struct redis_sub *s = next_answer(t);
    count_add(COUNT_redis_errors, 1);
    if (s == NULL) /* to a ping: who may not is not to be cut off for it */
        return strncmp(reply->str, "NOPERM", 6) == 0 ? NULL : reply->str;
    if (s->state == SUB_LEAVING) {
        left(t, s);
    } else {
        answered(t, s, SUB_OFF);
        refused(t, s, reply->str);
    }
    return NULL;
}

static const char *on_confirmed(struct redis_subs *t, struct redis_sub *s)
{
    if (s != next_answer(t) || s->state != SUB_ASKED)
        return "protocol: a subscription nobody asked for";
    answered(t, s, SUB_ON);
    if (!s->wanted)
        list_append(&t->todo, &s->place);
    else if (t->events->subscribed != NULL)
        t->events->subscribed(t->owner, s->channel, s->sharded);
    return NULL;
}

/* At our wish, or at the server's: it ends a sharded one whose slot moves to another node. */
static void on_left(struct redis_subs *t, struct redis_sub *s)
{
    if (s == next_answer(t) && s->state == SUB_LEAVING)
        left(t, s);
    else if (s->state == SUB_ON)
        refused(t, s, "ended by the server");
}

const char *redis_subs_hear(struct redis_subs *t, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR)
        return on_error(t, reply);
    redisReply *const *part = reply->element;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 || part[0]->type != REDIS_REPLY_STRING ||
        part[1]->type != REDIS_REPLY_STRING)
        return NULL; /* a pong */
    const char *kind = part[0]->str;
    bool sharded = kind[0] == 's' && strcmp(kind, "subscribe") != 0; /* smessage, ssubscribe, sunsubscribe */
    kind += sharded;
    struct slice channel = {part[1]->str, part[1]->len};
    struct redis_sub *s = redis_subs_find(t, channel, sharded);
    if (s == NULL)
        return NULL;
    if (strcmp(kind, "subscribe") == 0)
        return on_confirmed(t, s);
    if (strcmp(kind, "unsubscribe") == 0)
        on_left(t, s);
    if (strcmp(kind, "message") != 0 || part[2]->type != REDIS_REPLY_STRING)
        return NULL;
    count_add(COUNT_redis_messages, 1);
    if (s->wanted && s->state == SUB_ON && t->events->message != NULL)
        t->events->message(t->owner, channel, (struct slice){part[2]->str, part[2]->len});
    return NULL;
}

/* Who hears of it may change what is wanted, and may end it all. */
void redis_subs_lose(struct redis_subs *t, const char *why)
{
    struct link *const lists[] = {&t->asked, &t->todo, &t->held};
    struct link lost, kept, *at;
    link_init(&lost);
    link_init(&kept);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        while ((at = list_take(lists[i])) != NULL) {
            struct redis_sub *s = LIST_OF(at, struct redis_sub, place);
            bool tell = s->state == SUB_ON && s->wanted;
            put_in(tell ? &lost : s->wanted ? &kept : &t->trash, s, SUB_OFF);
        }
    t->asked_count = 0;
    while ((at = list_take(&kept)) != NULL)
        list_append(&t->todo, at);
    while (!t->closed && (at = list_take(&lost)) != NULL) {
        list_append(&t->todo, at);
        tell_end(t, LIST_OF(at, struct redis_sub, place), why);
    }
}
