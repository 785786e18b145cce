#include "hub/hub.h"

#include "base/list.h"
#include "base/log.h"

#include <search.h>
#include <stdlib.h>

/* join -> member[used++]
 * leave -> the last member takes the slot; during a walk the slot becomes a hole (NULL) instead
 * publish -> the burst, made if there is none
 * walk -> every member is handed the burst, which is not the topic's any more
 * end of the walk -> holes are closed
 * no members, no walk -> freed */
struct topic {
    struct slice name; /* first, so that the tree compares topics as it does names */
    struct member **member;
    uint32_t used; /* slots, holes included */
    uint32_t capacity;
    uint32_t holes;
    struct burst *burst; /* what waits, or NULL */
    struct link due;     /* in hub->due while there is a burst */
    uint64_t key;
    char text[];
};

struct hub {
    void *topics;         /* tsearch(3) */
    struct link due;      /* topics where something waits */
    struct topic *walked; /* whose members are being handed a burst, or NULL: one at a time */
    struct hub_owner *owner;
};

/* Members are asked for so many before they are handed a burst: there are more of them than the cache has
 * room for. What a member is part of begins in the line before it. */
enum { AHEAD = 2 };

static struct topic *topic_find(const struct hub *h, struct slice name)
{
    struct topic **found = tfind(&name, &h->topics, slice_order);
    return found ? *found : NULL;
}

static struct topic *topic_new(struct hub *h, struct slice name)
{
    struct topic *t = mem_zero(sizeof(*t) + name.size);
    memcpy(t->text, name.at, name.size);
    t->name = (struct slice){.at = t->text, .size = name.size};
    t->key = cast_key(name);
    link_init(&t->due);
    if (!tsearch(t, &h->topics, slice_order))
        PANIC("no memory for topic %.*s", (int)name.size, name.at);
    return t;
}

static void close_holes(struct topic *t)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < t->used; i++) {
        struct member *m = t->member[i];
        if (!m)
            continue;
        m->slot = kept;
        t->member[kept++] = m;
    }
    t->used = kept;
    t->holes = 0;
}

/* What had to wait for the end of the walk. May free the topic. */
static void topic_settle(struct hub *h, struct topic *t)
{
    if (t == h->walked)
        return;
    if (t->holes > 0)
        close_holes(t);
    if (t->used > 0)
        return;
    if (t->burst != NULL)
        burst_free(t->burst);
    link_remove(&t->due);
    tdelete(t, &h->topics, slice_order);
    free(t->member);
    free(t);
}

struct hub *hub_new(void)
{
    struct hub *h = mem_zero(sizeof *h);
    link_init(&h->due);
    return h;
}

void hub_own(struct hub *h, struct hub_owner *owner)
{
    h->owner = owner;
}

void hub_free(struct hub *h)
{
    if (h && h->topics)
        PANIC("hub %p freed while a topic has members", (void *)h);
    free(h);
}

void hub_join(struct hub *h, struct slice topic, struct member *m)
{
    hub_settle_topic(h, m->topic);
    hub_leave(h, m);
    struct topic *t = topic_find(h, topic);
    if (t && t->burst) {
        hub_settle_topic(h, t);
        t = topic_find(h, topic); /* its last members may have left meanwhile */
    }
    if (!t)
        t = topic_new(h, topic);
    if (t->used == t->capacity) {
        t->capacity = t->capacity ? t->capacity * 2 : 4;
        t->member = mem_resize(t->member, t->capacity * sizeof(struct member *));
    }
    m->topic = t;
    m->slot = t->used;
    t->member[t->used++] = m;
}

void hub_leave(struct hub *h, struct member *m)
{
    struct topic *t = m->topic;
    if (!t)
        return;
    m->topic = NULL;
    if (t == h->walked) {
        t->member[m->slot] = NULL;
        t->holes++;
        return;
    }
    struct member *last = t->member[--t->used];
    t->member[m->slot] = last;
    last->slot = m->slot;
    topic_settle(h, t);
}

static void fetch_ahead(const struct member *m)
{
    if (m == NULL)
        return;
    __builtin_prefetch(m);
    __builtin_prefetch((const char *)m - 64);
}

static void walk(struct hub *h, struct topic *t, struct burst *b)
{
    uint32_t end = t->used; /* who joins during the walk stands behind it */
    h->walked = t;
    for (uint32_t i = 0; i < end; i++) {
        struct member *m = t->member[i];
        if (i + AHEAD < end)
            fetch_ahead(t->member[i + AHEAD]);
        if (m)
            m->deliver(m, b);
    }
    h->owner->handed(h->owner, b);
    h->walked = NULL;
}

void hub_settle_topic(struct hub *h, struct topic *t)
{
    if (t == NULL || t->burst == NULL || h->walked != NULL)
        return;
    struct burst *b = t->burst;
    t->burst = NULL;
    link_remove(&t->due);
    walk(h, t, b);
    burst_free(b);
    topic_settle(h, t);
}

void hub_settle(struct hub *h)
{
    while (!list_empty(&h->due) && h->walked == NULL)
        hub_settle_topic(h, LIST_OF(h->due.next, struct topic, due));
}

uint32_t hub_publish_to(struct hub *h, struct topic *t, struct cast *cast, const struct member *except)
{
    uint32_t members = t->used - t->holes;
    if (except != NULL && except->topic == t)
        members--;
    if (members == 0)
        return 0;
    if (t->burst == NULL) {
        t->burst = burst_new();
        if (list_empty(&h->due))
            h->owner->due(h->owner);
        list_enter(&h->due, &t->due);
    }
    burst_add(t->burst, cast, except);
    if (burst_full(t->burst))
        hub_settle_topic(h, t);
    return members;
}

uint32_t hub_publish(struct hub *h, struct slice topic, struct cast *cast, const struct member *except)
{
    struct topic *t = topic_find(h, topic);
    return t ? hub_publish_to(h, t, cast, except) : 0;
}

struct slice hub_topic_name(const struct topic *t)
{
    return t->name;
}

uint64_t topic_key(const struct topic *t)
{
    return t->key;
}

uint32_t hub_members(const struct hub *h, struct slice topic)
{
    const struct topic *t = topic_find(h, topic);
    return t ? t->used - t->holes : 0;
}
