#include "peer/redis_cluster.h"

#include "base/clock.h"
#include "base/count.h"
#include "base/err.h"
#include "peer/redis_map.h"
#include "peer/redis_subs.h"

#include <stdio.h>
#include <stdlib.h>

struct redis_cluster {
    struct redis_map map;
    struct turn turn;
    ev_timer timer;
    struct redis_events events; /* the owner's */
    void *owner;
    char *name;
    bool place; /* subscriptions may have to move */
    bool up, was_up;
    uint64_t down_since_ns;
    size_t order_bytes;
    struct redis_subs subs; /* `todo`: to be placed; ON: confirmed by its home */
    char told[REDIS_MAP_REASON_MAX];
};

/* A command that may have to be sent again, elsewhere. */
struct order {
    struct redis_cluster *cluster;
    struct redis_node *node;
    redis_answer *fn;
    void *arg;
    bool redirected;
    size_t size;
    char text[];
};

static struct redis_cluster *of_map(struct redis_map *m)
{
    return LIST_OF(m, struct redis_cluster, map);
}

static struct redis_cluster *of_node(const struct redis_node *n)
{
    return of_map(n->map);
}

static void settle_later(struct redis_cluster *c)
{
    if (!c->map.closed)
        loop_at_turn_end(c->map.loop, &c->turn);
}

static void map_changed(struct redis_map *m)
{
    of_map(m)->place = true;
    settle_later(of_map(m));
}

static void node_gone(struct redis_map *m, const struct redis_node *gone)
{
    const struct redis_subs *subs = &of_map(m)->subs;
    for (size_t i = 0; i < subs->buckets; i++)
        for (struct redis_sub *s = subs->bucket[i]; s != NULL; s = s->next)
            if (s->home == gone)
                s->home = NULL; /* still ON: who is placed anew is told */
}

/* ---- what the links say ---- */

static void link_up(void *owner, uint64_t down_ns)
{
    const struct redis_node *n = owner;
    struct redis_cluster *c = of_node(n);
    (void)down_ns;
    redis_hurry(n->command); /* one link is of little use without the other */
    if (n->subscriber != NULL)
        redis_hurry(n->subscriber);
    c->map.stale = true;
    map_changed(&c->map);
}

static void link_down(void *owner, const char *reason)
{
    const struct redis_node *n = owner;
    struct redis_cluster *c = of_node(n);
    char place[REDIS_URL_HOST_MAX + 16];
    snprintf(c->map.reason, sizeof c->map.reason, "%s: %.200s", redis_url_place(&n->url, place, sizeof place),
             reason);
    c->map.stale = true;
    map_changed(&c->map);
}

static void link_message(void *owner, struct slice channel, struct slice payload)
{
    const struct redis_cluster *c = of_node(owner);
    if (c->events.message != NULL)
        c->events.message(c->owner, channel, payload);
}

static void link_subscribed(void *owner, struct slice channel, bool sharded)
{
    const struct redis_cluster *c = of_node(owner);
    struct redis_sub *s = redis_subs_find(&c->subs, channel, sharded);
    if (s == NULL || s->home != owner)
        return;
    s->state = SUB_ON;
    if (c->events.subscribed != NULL)
        c->events.subscribed(c->owner, channel, sharded);
}

static void link_unsubscribed(void *owner, struct slice channel, bool sharded, const char *why)
{
    const struct redis_node *n = owner;
    struct redis_cluster *c = of_node(n);
    struct redis_sub *s = redis_subs_find(&c->subs, channel, sharded);
    if (s == NULL || s->home != owner)
        return;
    struct redis_redirect to;
    bool was_on = s->state == SUB_ON;
    bool moved = redis_redirect_parse((struct slice){why, strlen(why)}, &to);
    bool lost = redis_state(n->subscriber) != REDIS_UP; /* the link asks again by itself */
    s->state = lost ? SUB_OFF : SUB_REFUSED;
    if (moved && redis_map_redirect(&c->map, n, &to) != NULL)
        list_append(&c->subs.todo, &s->place);
    if (!lost && strncmp(why, "NOPERM", 6) != 0)
        c->map.stale = true;
    settle_later(c);
    if ((was_on || !moved) && c->events.unsubscribed != NULL)
        c->events.unsubscribed(c->owner, channel, sharded, why);
}

/* ---- subscriptions ---- */

static void place(struct redis_cluster *c, struct redis_sub *s)
{
    struct redis_node *from = s->home, *to = redis_map_node(&c->map, s->channel, s->sharded);
    bool was_on = s->state == SUB_ON;
    list_append(&c->subs.held, &s->place);
    if (from == to && s->state != SUB_REFUSED && !(from == NULL && was_on))
        return;
    if (from != NULL && from != to)
        redis_unsubscribe(from->subscriber, s->channel, s->sharded);
    s->home = to;
    s->state = SUB_OFF;
    if (to != NULL)
        redis_subscribe(redis_map_subscriber(to), s->channel, s->sharded);
    if (was_on && c->events.unsubscribed != NULL)
        c->events.unsubscribed(c->owner, s->channel, s->sharded, "moves to another node");
}

static void place_all(struct redis_cluster *c)
{
    struct link *at;
    if (c->place)
        while ((at = list_take(&c->subs.held)) != NULL)
            list_append(&c->subs.todo, at);
    c->place = false;
    while (!c->map.closed && c->map.kind != MAP_UNKNOWN && (at = list_take(&c->subs.todo)) != NULL)
        place(c, LIST_OF(at, struct redis_sub, place));
    redis_subs_empty_trash(&c->subs);
}

void redis_cluster_subscribe(struct redis_cluster *c, struct slice channel, bool sharded)
{
    struct redis_sub *s = redis_subs_get(&c->subs, channel, sharded);
    if (s->wanted && s->state != SUB_REFUSED)
        return;
    s->wanted = true;
    list_append(&c->subs.todo, &s->place);
    settle_later(c);
}

void redis_cluster_unsubscribe(struct redis_cluster *c, struct slice channel, bool sharded)
{
    struct redis_sub *s = redis_subs_find(&c->subs, channel, sharded);
    if (s == NULL || !s->wanted)
        return;
    const struct redis_node *home = s->home;
    if (home != NULL)
        redis_unsubscribe(home->subscriber, channel, sharded);
    s->home = NULL;
    s->wanted = false;
    s->state = SUB_OFF;
    list_append(&c->subs.trash, &s->place);
    settle_later(c);
}

/* ---- how it is ---- */

static void tell(struct redis_cluster *c)
{
    bool up = redis_map_all_up(&c->map);
    const struct redis_events *events = &c->events;
    uint64_t now_ns = loop_now_ns(c->map.loop);
    if (up && !c->up) {
        uint64_t down_ns = c->was_up ? now_ns - c->down_since_ns : 0;
        c->up = c->was_up = true;
        c->told[0] = c->map.reason[0] = '\0';
        if (events->up != NULL)
            events->up(c->owner, down_ns);
    } else if (!up) {
        if (c->up)
            c->down_since_ns = now_ns;
        c->up = false;
        if (strcmp(c->told, c->map.reason) == 0)
            return;
        memcpy(c->told, c->map.reason, sizeof c->told);
        if (events->down != NULL)
            events->down(c->owner, c->told);
    }
}

static void destroy(struct redis_cluster *c)
{
    turn_cancel(&c->turn);
    redis_map_release(&c->map);
    redis_subs_free(&c->subs);
    free(c->name);
    free(c);
}

static void settle(struct turn *t)
{
    struct redis_cluster *c = LIST_OF(t, struct redis_cluster, turn);
    if (!c->map.closed)
        redis_map_ask(&c->map);
    if (!c->map.closed)
        place_all(c);
    if (!c->map.closed)
        tell(c);
    if (c->map.closed) {
        destroy(c);
        return;
    }
    if ((c->map.stale || !c->up) && !ev_is_active(&c->timer)) {
        ev_timer_set(&c->timer, REDIS_MAP_AGAIN_MS / 1e3, 0.);
        ev_timer_start(loop_ev(c->map.loop), &c->timer);
    }
}

static void on_timer(EV_P_ ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct redis_cluster *c = LIST_OF(timer, struct redis_cluster, timer);
    if (!c->up)
        redis_map_doubt(&c->map);
    settle_later(c);
}

/* ---- commands ---- */

static void finish(struct order *o, const redisReply *reply)
{
    redis_answer *fn = o->fn;
    void *arg = o->arg;
    o->cluster->order_bytes -= o->size;
    free(o);
    if (fn != NULL)
        fn(arg, reply);
}

static void on_order(void *arg, const redisReply *reply)
{
    static const char *asking[] = {"ASKING"};
    struct order *o = arg;
    struct redis_cluster *c = o->cluster;
    struct redis_redirect to;
    if (c->map.closed || o->redirected || reply == NULL || reply->type != REDIS_REPLY_ERROR ||
        !redis_redirect_parse((struct slice){reply->str, reply->len}, &to)) {
        finish(o, reply);
        return;
    }
    struct redis_node *n = redis_map_redirect(&c->map, o->node, &to);
    o->redirected = true;
    o->node = n;
    if (n == NULL || (to.ask && redis_command(n->command, NULL, NULL, 1, asking, NULL) < 0) ||
        redis_command_text(n->command, on_order, o, o->text, o->size) < 0)
        finish(o, reply);
}

int redis_cluster_command(struct redis_cluster *c, struct slice key, redis_answer *fn, void *arg, int argc,
                          const char **argv, const size_t *argvlen)
{
    struct redis_node *n = redis_map_node(&c->map, key, key.at != NULL);
    if (n != NULL && c->map.kind == MAP_SINGLE)
        return redis_command(n->command, fn, arg, argc, argv, argvlen);
    if (n == NULL || c->map.closed) {
        count_add(COUNT_redis_refused, 1);
        return ERR_CLOSED;
    }
    struct buf text = {0};
    redis_format(&text, argc, argv, argvlen);
    int err = ERR_BUDGET;
    if (c->order_bytes + text.size <= c->map.options.max_pending_bytes) {
        struct order *o = mem_alloc(sizeof *o + text.size);
        *o = (struct order){.cluster = c, .node = n, .fn = fn, .arg = arg, .size = text.size};
        memcpy(o->text, text.at, text.size);
        err = redis_command_text(n->command, on_order, o, o->text, o->size);
        if (err == 0)
            c->order_bytes += text.size;
        else
            free(o);
    } else {
        count_add(COUNT_redis_refused, 1);
    }
    buf_free(&text);
    return err;
}

/* ---- for others ---- */

struct redis_cluster *redis_cluster_new(struct loop *loop, const struct redis_options *options)
{
    struct redis_cluster *c = mem_zero(sizeof *c);
    struct redis_options link = redis_options_complete(*options);
    c->events = link.events;
    c->owner = link.owner;
    c->name = mem_text(link.name);
    c->down_since_ns = loop_now_ns(loop);
    link.name = c->name;
    link.events = (struct redis_events){link_up, link_down, link_message, link_subscribed, link_unsubscribed};
    redis_subs_init(&c->subs, NULL, NULL);
    turn_init(&c->turn, settle);
    ev_init(&c->timer, on_timer);
    c->map = (struct redis_map){.loop = loop, .options = link, .changed = map_changed, .gone = node_gone};
    redis_map_begin(&c->map);
    return c;
}

void redis_cluster_free(struct redis_cluster *c)
{
    if (c == NULL || c->map.closed)
        return;
    c->up = false;
    ev_timer_stop(loop_ev(c->map.loop), &c->timer);
    redis_map_close(&c->map);
    loop_at_turn_end(c->map.loop, &c->turn);
}

bool redis_cluster_up(const struct redis_cluster *c)
{
    return c->up;
}

uint64_t redis_cluster_down_ns(const struct redis_cluster *c)
{
    return c->up ? 0 : loop_now_ns(c->map.loop) - c->down_since_ns;
}

const char *redis_cluster_down_reason(const struct redis_cluster *c)
{
    return c->up ? "" : c->map.reason;
}

size_t redis_cluster_pending_bytes(const struct redis_cluster *c)
{
    size_t bytes = c->order_bytes;
    for (size_t i = 0; i < c->map.count; i++)
        bytes += redis_pending_bytes(c->map.node[i]->command);
    return bytes;
}

void redis_cluster_each_link(const struct redis_cluster *c,
                             void (*visit)(void *arg, const char *place, bool subscriber,
                                           const struct redis *),
                             void *arg)
{
    char place[REDIS_URL_HOST_MAX + 16];
    for (size_t i = 0; i < c->map.count; i++) {
        const struct redis_node *n = c->map.node[i];
        redis_url_place(&n->url, place, sizeof place);
        visit(arg, place, false, n->command);
        if (n->subscriber != NULL)
            visit(arg, place, true, n->subscriber);
    }
}
