#include "peer/redis_cluster.h"

#include "base/clock.h"
#include "base/count.h"
#include "base/err.h"
#include "peer/redis_subs.h"
#include "wire/redis_slot.h"

#include <stdio.h>
#include <stdlib.h>

enum { REASON_MAX = 384, NODES_MAX = 1024 };

/* Between two questions for the map; while it is not up it is asked for at every second one. */
static const uint64_t ASK_AGAIN_NS = 250 * NS_PER_MS;
/* A node that a redirect named, and no map: one that is about to get its first slot. */
static const uint64_t KEEP_UNLISTED_NS = 60 * NS_PER_S;

enum map { MAP_UNKNOWN, MAP_SINGLE, MAP_SLOTS };

struct node {
    struct redis_cluster *cluster;
    struct redis_url url;
    struct redis *command, *subscriber;
    bool listed; /* in the map */
    uint64_t named_ns;
};

struct redis_cluster {
    struct loop *loop;
    struct turn turn;
    ev_timer timer;
    struct redis_options options;
    char *name;
    bool freed;
    enum map map;
    struct node **node; /* the first is the one of the URL, and stays */
    size_t count;
    struct node **slot; /* of REDIS_SLOTS; NULL entries: nobody's, so many: */
    size_t empty;
    struct node *any;   /* where classic subscriptions are, and what has no key goes */
    struct node *asked; /* for the map; NULL: nobody is */
    size_t next_to_ask;
    bool stale; /* the map is to be asked for */
    bool place; /* subscriptions may have to move */
    bool up, was_up;
    uint64_t asked_ns, down_since_ns;
    size_t order_bytes;
    struct redis_subs subs; /* `todo`: to be placed; ON: confirmed by its home */
    char reason[REASON_MAX], told[REASON_MAX];
};

/* A command that may have to be sent again, elsewhere. */
struct order {
    struct redis_cluster *cluster;
    struct node *node;
    redis_answer *fn;
    void *arg;
    bool redirected;
    size_t size;
    char text[];
};

static void settle_later(struct redis_cluster *c)
{
    if (!c->freed)
        loop_at_turn_end(c->loop, &c->turn);
}

static bool is_up(const struct node *n)
{
    return n != NULL && redis_state(n->command) == REDIS_UP;
}

/* ---- what the links say ---- */

static void link_up(void *owner, uint64_t down_ns)
{
    struct redis_cluster *c = ((struct node *)owner)->cluster;
    (void)down_ns;
    c->stale = c->place = true;
    settle_later(c);
}

static void link_down(void *owner, const char *reason)
{
    const struct node *n = owner;
    struct redis_cluster *c = n->cluster;
    char place[REDIS_URL_HOST_MAX + 16];
    snprintf(c->reason, sizeof c->reason, "%s: %.200s", redis_url_place(&n->url, place, sizeof place),
             reason);
    c->stale = c->place = true;
    settle_later(c);
}

static void link_message(void *owner, struct slice channel, struct slice payload)
{
    const struct redis_cluster *c = ((struct node *)owner)->cluster;
    if (c->options.events.message != NULL)
        c->options.events.message(c->options.owner, channel, payload);
}

static void link_subscribed(void *owner, struct slice channel, bool sharded)
{
    const struct redis_cluster *c = ((struct node *)owner)->cluster;
    struct redis_sub *s = redis_subs_find(&c->subs, channel, sharded);
    if (s == NULL || s->home != owner)
        return;
    s->state = SUB_ON;
    if (c->options.events.subscribed != NULL)
        c->options.events.subscribed(c->options.owner, channel, sharded);
}

static struct node *redirected_to(struct redis_cluster *c, const struct node *by,
                                  const struct redis_redirect *to);

static void link_unsubscribed(void *owner, struct slice channel, bool sharded, const char *why)
{
    const struct node *n = owner;
    struct redis_cluster *c = n->cluster;
    struct redis_sub *s = redis_subs_find(&c->subs, channel, sharded);
    if (s == NULL || s->home != owner)
        return;
    struct redis_redirect to;
    bool was_on = s->state == SUB_ON;
    bool moved = redis_redirect_parse((struct slice){why, strlen(why)}, &to);
    bool lost = redis_state(n->subscriber) != REDIS_UP; /* the link asks again by itself */
    s->state = lost ? SUB_OFF : SUB_REFUSED;
    if (moved && redirected_to(c, n, &to) != NULL)
        list_append(&c->subs.todo, &s->place);
    if (!lost && strncmp(why, "NOPERM", 6) != 0)
        c->stale = true;
    settle_later(c);
    if ((was_on || !moved) && c->options.events.unsubscribed != NULL)
        c->options.events.unsubscribed(c->options.owner, channel, sharded, why);
}

/* ---- nodes ---- */

static struct redis *new_link(struct node *n, bool subscriber)
{
    char name[80];
    struct redis_options o = n->cluster->options;
    snprintf(name, sizeof name, "%.60s%s", n->cluster->name, subscriber ? "-sub" : "");
    o.url = n->url;
    o.name = name;
    o.subscriber = subscriber;
    o.owner = n;
    o.events = (struct redis_events){link_up, link_down, link_message, link_subscribed, link_unsubscribed};
    return redis_new(n->cluster->loop, &o);
}

static struct node *new_node(struct redis_cluster *c, const struct redis_url *url)
{
    struct node *n = mem_zero(sizeof *n);
    *n = (struct node){.cluster = c, .url = *url};
    n->command = new_link(n, false);
    c->node = mem_resize(c->node, (c->count + 1) * sizeof(struct node *));
    c->node[c->count++] = n;
    return n;
}

/* host empty: that of `by`. NULL where that is too long, or there are too many. */
static struct node *get_node(struct redis_cluster *c, const struct node *by, struct slice host, uint16_t port)
{
    struct redis_url url = by->url;
    if (host.size >= sizeof url.host || port == 0)
        return NULL;
    if (host.size > 0) {
        memcpy(url.host, host.at, host.size);
        url.host[host.size] = '\0';
        url.path[0] = '\0';
    }
    url.port = port;
    for (size_t i = 0; i < c->count; i++) {
        const struct redis_url *u = &c->node[i]->url;
        if (u->port == url.port && strcmp(u->host, url.host) == 0 && strcmp(u->path, url.path) == 0)
            return c->node[i];
    }
    return c->count < NODES_MAX ? new_node(c, &url) : NULL;
}

static struct node *redirected_to(struct redis_cluster *c, const struct node *by,
                                  const struct redis_redirect *to)
{
    struct node *n = get_node(c, by, to->host, to->port);
    c->stale |= !to->ask;
    settle_later(c);
    if (n == NULL)
        return NULL;
    n->named_ns = loop_now_ns(c->loop);
    if (!to->ask && c->slot != NULL) {
        c->empty -= c->slot[to->slot] == NULL;
        c->slot[to->slot] = n;
    }
    return n;
}

static void free_node(struct node *n)
{
    redis_free(n->command);
    redis_free(n->subscriber);
    free(n);
}

static void leave_home(struct redis_cluster *c, const struct node *gone)
{
    for (size_t i = 0; i < c->subs.buckets; i++)
        for (struct redis_sub *s = c->subs.bucket[i]; s != NULL; s = s->next)
            if (s->home == gone)
                s->home = NULL; /* still ON: who is placed anew is told */
}

/* Those that no map lists. First out of all that is known here, since their commands are answered then. */
static void drop_nodes(struct redis_cluster *c)
{
    uint64_t now_ns = loop_now_ns(c->loop);
    struct node **gone = mem_alloc(c->count * sizeof(struct node *));
    size_t kept = 1, dropped = 0;
    for (size_t i = 1; i < c->count; i++) {
        struct node *n = c->node[i];
        if (n->listed || (n->named_ns > 0 && now_ns - n->named_ns < KEEP_UNLISTED_NS))
            c->node[kept++] = n;
        else
            gone[dropped++] = n;
    }
    c->count = kept;
    for (size_t i = 0; i < dropped; i++) {
        leave_home(c, gone[i]);
        if (c->any == gone[i])
            c->any = NULL;
    }
    for (size_t i = 0; i < dropped; i++)
        free_node(gone[i]);
    free(gone);
}

/* ---- the map ---- */

/* [first slot, last slot, [host, port, ...] of the master, ... of its replicas] */
static void take_row(struct redis_cluster *c, const struct node *by, const redisReply *row)
{
    if (row->type != REDIS_REPLY_ARRAY || row->elements < 3)
        return;
    const redisReply *master = row->element[2];
    long long first = row->element[0]->integer, last = row->element[1]->integer;
    if (master->type != REDIS_REPLY_ARRAY || master->elements < 2 || first < 0 || last >= REDIS_SLOTS)
        return;
    const redisReply *host = master->element[0], *port = master->element[1];
    struct slice name = {0};
    if (host->type == REDIS_REPLY_STRING && !(host->len == 1 && *host->str == '?'))
        name = (struct slice){host->str, host->len};
    if (port->integer <= 0 || port->integer > UINT16_MAX)
        return;
    struct node *n = get_node(c, by, name, (uint16_t)port->integer);
    if (n == NULL)
        return;
    n->listed = true;
    for (long long i = first; i <= last; i++) {
        c->empty -= c->slot[i] == NULL;
        c->slot[i] = n;
    }
}

static void take_map(struct redis_cluster *c, const struct node *by, const redisReply *reply)
{
    c->map = MAP_SLOTS;
    if (c->slot == NULL)
        c->slot = mem_alloc(REDIS_SLOTS * sizeof(struct node *));
    memset(c->slot, 0, REDIS_SLOTS * sizeof(struct node *));
    c->empty = REDIS_SLOTS;
    for (size_t i = 0; i < c->count; i++)
        c->node[i]->listed = false;
    for (size_t i = 0; i < reply->elements; i++)
        take_row(c, by, reply->element[i]);
    drop_nodes(c);
}

static void on_map(void *arg, const redisReply *reply)
{
    struct redis_cluster *c = arg;
    const struct node *by = c->asked;
    c->asked = NULL;
    if (c->freed)
        return;
    settle_later(c);
    if (reply != NULL && reply->type == REDIS_REPLY_ARRAY) {
        take_map(c, by, reply);
    } else if (reply != NULL && reply->type == REDIS_REPLY_ERROR && c->map != MAP_SLOTS &&
               (strncmp(reply->str, "ERR", 3) == 0 || strncmp(reply->str, "NOPERM", 6) == 0)) {
        c->map = MAP_SINGLE; /* "ERR This instance has cluster support disabled" */
    } else {
        if (reply != NULL && reply->str != NULL)
            snprintf(c->reason, sizeof c->reason, "CLUSTER SLOTS: %.200s", reply->str);
        c->stale = true;
        return;
    }
    c->place = true;
}

static void ask_for_map(struct redis_cluster *c)
{
    static const char *words[] = {"CLUSTER", "SLOTS"};
    uint64_t now_ns = loop_now_ns(c->loop);
    if (!c->stale || c->asked != NULL || (c->asked_ns > 0 && now_ns - c->asked_ns < ASK_AGAIN_NS))
        return;
    for (size_t i = 0; i < c->count; i++) {
        struct node *n = c->node[c->next_to_ask++ % c->count];
        if (!is_up(n) || redis_command(n->command, on_map, c, 2, words, NULL) < 0)
            continue;
        c->asked = n;
        c->asked_ns = now_ns;
        c->stale = false;
        return;
    }
}

static struct node *any_node(struct redis_cluster *c)
{
    if (c->map == MAP_SINGLE)
        return c->node[0];
    for (size_t i = 0; i < c->count && !is_up(c->any); i++)
        if (c->node[i]->listed && (c->any == NULL || is_up(c->node[i])))
            c->any = c->node[i];
    return c->any;
}

static struct node *node_of(struct redis_cluster *c, struct slice key, bool by_slot)
{
    switch (c->map) {
    case MAP_UNKNOWN: return NULL;
    case MAP_SINGLE: return c->node[0];
    case MAP_SLOTS: break;
    }
    return by_slot ? c->slot[redis_slot(key)] : any_node(c);
}

/* ---- subscriptions ---- */

static void place(struct redis_cluster *c, struct redis_sub *s)
{
    struct node *from = s->home, *to = node_of(c, s->channel, s->sharded);
    bool was_on = s->state == SUB_ON;
    list_append(&c->subs.held, &s->place);
    if (from == to && s->state != SUB_REFUSED && !(from == NULL && was_on))
        return;
    if (from != NULL && from != to)
        redis_unsubscribe(from->subscriber, s->channel, s->sharded);
    s->home = to;
    s->state = SUB_OFF;
    if (to != NULL) {
        if (to->subscriber == NULL)
            to->subscriber = new_link(to, true);
        redis_subscribe(to->subscriber, s->channel, s->sharded);
    }
    if (was_on && c->options.events.unsubscribed != NULL)
        c->options.events.unsubscribed(c->options.owner, s->channel, s->sharded, "moves to another node");
}

static void place_all(struct redis_cluster *c)
{
    struct link *at;
    if (c->place)
        while ((at = list_take(&c->subs.held)) != NULL)
            list_append(&c->subs.todo, at);
    c->place = false;
    while (!c->freed && c->map != MAP_UNKNOWN && (at = list_take(&c->subs.todo)) != NULL)
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
    const struct node *home = s->home;
    if (home != NULL)
        redis_unsubscribe(home->subscriber, channel, sharded);
    s->home = NULL;
    s->wanted = false;
    s->state = SUB_OFF;
    list_append(&c->subs.trash, &s->place);
    settle_later(c);
}

/* ---- how it is ---- */

/* Whether every slot has a node that is up; if not, why, where no link has said it. */
static bool all_up(struct redis_cluster *c)
{
    if (c->map != MAP_SLOTS)
        return c->map == MAP_SINGLE && is_up(c->node[0]);
    for (size_t i = 0; i < c->count; i++)
        if (c->node[i]->listed && !is_up(c->node[i]))
            return false;
    if (c->empty > 0)
        snprintf(c->reason, sizeof c->reason, "%zu slots have no node", c->empty);
    return c->empty == 0;
}

static void tell(struct redis_cluster *c)
{
    bool up = all_up(c);
    const struct redis_events *events = &c->options.events;
    uint64_t now_ns = loop_now_ns(c->loop);
    if (up && !c->up) {
        uint64_t down_ns = c->was_up ? now_ns - c->down_since_ns : 0;
        c->up = c->was_up = true;
        c->told[0] = c->reason[0] = '\0';
        if (events->up != NULL)
            events->up(c->options.owner, down_ns);
    } else if (!up) {
        if (c->up)
            c->down_since_ns = now_ns;
        c->up = false;
        if (strcmp(c->told, c->reason) == 0)
            return;
        memcpy(c->told, c->reason, sizeof c->told);
        if (events->down != NULL)
            events->down(c->options.owner, c->told);
    }
}

static void destroy(struct redis_cluster *c)
{
    turn_cancel(&c->turn);
    for (size_t i = 0; i < c->count; i++)
        free(c->node[i]);
    redis_subs_free(&c->subs);
    free(c->node);
    free(c->slot);
    free(c->name);
    free(c);
}

static void settle(struct turn *t)
{
    struct redis_cluster *c = LIST_OF(t, struct redis_cluster, turn);
    if (!c->freed)
        ask_for_map(c);
    if (!c->freed)
        place_all(c);
    if (!c->freed)
        tell(c);
    if (c->freed) {
        destroy(c);
        return;
    }
    if ((c->stale || !c->up) && !ev_is_active(&c->timer)) {
        ev_timer_set(&c->timer, (double)ASK_AGAIN_NS / 1e9, 0.);
        ev_timer_start(loop_ev(c->loop), &c->timer);
    }
}

static void on_timer(EV_P_ ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct redis_cluster *c = LIST_OF(timer, struct redis_cluster, timer);
    uint64_t since_ns = loop_refresh(c->loop) - c->asked_ns;
    c->stale |= c->map == MAP_SLOTS && !c->up && since_ns >= 2 * ASK_AGAIN_NS;
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
    if (c->freed || o->redirected || reply == NULL || reply->type != REDIS_REPLY_ERROR ||
        !redis_redirect_parse((struct slice){reply->str, reply->len}, &to)) {
        finish(o, reply);
        return;
    }
    struct node *n = redirected_to(c, o->node, &to);
    o->redirected = true;
    o->node = n;
    if (n == NULL || (to.ask && redis_command(n->command, NULL, NULL, 1, asking, NULL) < 0) ||
        redis_command_text(n->command, on_order, o, o->text, o->size) < 0)
        finish(o, reply);
}

int redis_cluster_command(struct redis_cluster *c, struct slice key, redis_answer *fn, void *arg, int argc,
                          const char **argv, const size_t *argvlen)
{
    struct node *n = node_of(c, key, key.at != NULL);
    if (n != NULL && c->map == MAP_SINGLE)
        return redis_command(n->command, fn, arg, argc, argv, argvlen);
    if (n == NULL || c->freed) {
        count_add(COUNT_redis_refused, 1);
        return ERR_CLOSED;
    }
    struct buf text = {0};
    redis_format(&text, argc, argv, argvlen);
    int err = ERR_BUDGET;
    if (c->order_bytes + text.size <= c->options.max_pending_bytes) {
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
    c->loop = loop;
    c->options = redis_options_complete(*options);
    c->name = mem_text(c->options.name);
    c->options.name = c->name;
    c->stale = true;
    c->down_since_ns = loop_now_ns(loop);
    redis_subs_init(&c->subs, NULL, NULL);
    turn_init(&c->turn, settle);
    ev_init(&c->timer, on_timer);
    new_node(c, &c->options.url);
    return c;
}

void redis_cluster_free(struct redis_cluster *c)
{
    if (c == NULL || c->freed)
        return;
    c->freed = true;
    c->up = false;
    ev_timer_stop(loop_ev(c->loop), &c->timer);
    for (size_t i = 0; i < c->count; i++) {
        redis_free(c->node[i]->command);
        redis_free(c->node[i]->subscriber);
    }
    loop_at_turn_end(c->loop, &c->turn);
}

bool redis_cluster_up(const struct redis_cluster *c)
{
    return c->up;
}

uint64_t redis_cluster_down_ns(const struct redis_cluster *c)
{
    return c->up ? 0 : loop_now_ns(c->loop) - c->down_since_ns;
}

const char *redis_cluster_down_reason(const struct redis_cluster *c)
{
    return c->up ? "" : c->reason;
}

size_t redis_cluster_pending_bytes(const struct redis_cluster *c)
{
    size_t bytes = c->order_bytes;
    for (size_t i = 0; i < c->count; i++)
        bytes += redis_pending_bytes(c->node[i]->command);
    return bytes;
}

void redis_cluster_each_link(const struct redis_cluster *c,
                             void (*visit)(void *arg, const char *place, bool subscriber,
                                           const struct redis *),
                             void *arg)
{
    char place[REDIS_URL_HOST_MAX + 16];
    for (size_t i = 0; i < c->count; i++) {
        const struct node *n = c->node[i];
        redis_url_place(&n->url, place, sizeof place);
        visit(arg, place, false, n->command);
        if (n->subscriber != NULL)
            visit(arg, place, true, n->subscriber);
    }
}
