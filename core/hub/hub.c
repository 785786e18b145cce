#include "hub/hub.h"

#include "base/log.h"

#include <search.h>
#include <stdlib.h>

/* join -> member[used++]
 * leave -> the last member takes the slot; during a walk the slot becomes a hole (NULL) instead
 * end of the outermost walk -> holes are closed
 * no members, no walk -> freed */
struct topic {
    struct slice name; /* first, so that the tree compares topics as it does names */
    struct member **member;
    uint32_t used; /* slots, holes included */
    uint32_t capacity;
    uint32_t holes;
    uint32_t walks; /* broadcasts under way: a member may publish while it is being delivered to */
    uint64_t key;
    char text[];
};

struct hub {
    void *topics; /* tsearch(3) */
};

/* Members are asked for so many before they are handed the cast: there are more of them than the cache has
 * room for. */
enum { AHEAD = 4 };

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
    if (t->walks > 0)
        return;
    if (t->holes > 0)
        close_holes(t);
    if (t->used > 0)
        return;
    tdelete(t, &h->topics, slice_order);
    free(t->member);
    free(t);
}

struct hub *hub_new(void)
{
    return mem_zero(sizeof(struct hub));
}

void hub_free(struct hub *h)
{
    if (h && h->topics)
        PANIC("hub %p freed while a topic has members", (void *)h);
    free(h);
}

void hub_join(struct hub *h, struct slice topic, struct member *m)
{
    hub_leave(h, m);
    struct topic *t = topic_find(h, topic);
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
    if (t->walks > 0) {
        t->member[m->slot] = NULL;
        t->holes++;
        return;
    }
    struct member *last = t->member[--t->used];
    t->member[m->slot] = last;
    last->slot = m->slot;
    topic_settle(h, t);
}

uint32_t hub_publish_to(struct hub *h, struct topic *t, struct cast *cast, const struct member *except)
{
    uint32_t handed = 0;
    uint32_t end = t->used; /* who joins during the walk stands behind it */
    t->walks++;
    for (uint32_t i = 0; i < end; i++) {
        struct member *m = t->member[i];
        if (i + AHEAD < end)
            __builtin_prefetch(t->member[i + AHEAD]);
        if (!m || m == except)
            continue;
        m->deliver(m, cast);
        handed++;
    }
    t->walks--;
    topic_settle(h, t);
    return handed;
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
