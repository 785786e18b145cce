#include "peer/redis_map.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>

enum { NODES_MAX = 1024 };

/* A node that a redirect named, and no map: one that is about to get its first slot. */
static const uint64_t KEEP_UNLISTED_NS = 60 * NS_PER_S;

static bool is_up(const struct redis_node *n)
{
    return n != NULL && redis_state(n->command) == REDIS_UP;
}

/* ---- nodes ---- */

static struct redis *new_link(struct redis_node *n, bool subscriber)
{
    char name[80];
    struct redis_options o = n->map->options;
    snprintf(name, sizeof name, "%.60s%s", o.name, subscriber ? "-sub" : "");
    o.url = n->url;
    o.name = name;
    o.subscriber = subscriber;
    o.owner = n;
    return redis_new(n->map->loop, &o);
}

static struct redis_node *new_node(struct redis_map *m, const struct redis_url *url)
{
    struct redis_node *n = mem_zero(sizeof *n);
    *n = (struct redis_node){.map = m, .url = *url};
    n->command = new_link(n, false);
    m->node = mem_resize(m->node, (m->count + 1) * sizeof(struct redis_node *));
    m->node[m->count++] = n;
    return n;
}

/* host empty: that of `by`. NULL where that is too long, or there are too many. */
static struct redis_node *get_node(struct redis_map *m, const struct redis_node *by, struct slice host,
                                   uint16_t port)
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
    for (size_t i = 0; i < m->count; i++) {
        const struct redis_url *u = &m->node[i]->url;
        if (u->port == url.port && strcmp(u->host, url.host) == 0 && strcmp(u->path, url.path) == 0)
            return m->node[i];
    }
    return m->count < NODES_MAX ? new_node(m, &url) : NULL;
}

struct redis_node *redis_map_redirect(struct redis_map *m, const struct redis_node *by,
                                      const struct redis_redirect *to)
{
    struct redis_node *n = get_node(m, by, to->host, to->port);
    m->stale |= !to->ask;
    m->changed(m);
    if (n == NULL)
        return NULL;
    n->named_ns = loop_now_ns(m->loop);
    if (!to->ask && m->slot != NULL) {
        m->empty -= m->slot[to->slot] == NULL;
        m->slot[to->slot] = n;
    }
    return n;
}

static void free_node(struct redis_node *n)
{
    redis_free(n->command);
    redis_free(n->subscriber);
    free(n);
}

/* Those that no map lists. First out of all that is known here, since their commands are answered then. */
static void drop_nodes(struct redis_map *m)
{
    uint64_t now_ns = loop_now_ns(m->loop);
    struct redis_node **gone = mem_alloc(m->count * sizeof(struct redis_node *));
    size_t kept = 1, dropped = 0;
    for (size_t i = 1; i < m->count; i++) {
        struct redis_node *n = m->node[i];
        if (n->listed || (n->named_ns > 0 && now_ns - n->named_ns < KEEP_UNLISTED_NS))
            m->node[kept++] = n;
        else
            gone[dropped++] = n;
    }
    m->count = kept;
    for (size_t i = 0; i < dropped; i++) {
        m->gone(m, gone[i]);
        if (m->any == gone[i])
            m->any = NULL;
    }
    for (size_t i = 0; i < dropped; i++)
        free_node(gone[i]);
    free(gone);
}

/* ---- the map ---- */

/* [first slot, last slot, [host, port, ...] of the master, ... of its replicas] */
static void take_row(struct redis_map *m, const struct redis_node *by, const redisReply *row)
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
    struct redis_node *n = get_node(m, by, name, (uint16_t)port->integer);
    if (n == NULL)
        return;
    n->listed = true;
    for (long long i = first; i <= last; i++) {
        m->empty -= m->slot[i] == NULL;
        m->slot[i] = n;
    }
}

static void take_map(struct redis_map *m, const struct redis_node *by, const redisReply *reply)
{
    m->kind = MAP_SLOTS;
    if (m->slot == NULL)
        m->slot = mem_alloc(REDIS_SLOTS * sizeof(struct redis_node *));
    memset(m->slot, 0, REDIS_SLOTS * sizeof(struct redis_node *));
    m->empty = REDIS_SLOTS;
    for (size_t i = 0; i < m->count; i++)
        m->node[i]->listed = false;
    for (size_t i = 0; i < reply->elements; i++)
        take_row(m, by, reply->element[i]);
    drop_nodes(m);
}

static void on_map(void *arg, const redisReply *reply)
{
    struct redis_map *m = arg;
    const struct redis_node *by = m->asked;
    m->asked = NULL;
    if (m->closed)
        return;
    if (reply != NULL && reply->type == REDIS_REPLY_ARRAY) {
        take_map(m, by, reply);
    } else if (reply != NULL && reply->type == REDIS_REPLY_ERROR && m->kind != MAP_SLOTS &&
               (strncmp(reply->str, "ERR", 3) == 0 || strncmp(reply->str, "NOPERM", 6) == 0)) {
        m->kind = MAP_SINGLE; /* "ERR This instance has cluster support disabled" */
    } else {
        if (reply != NULL && reply->str != NULL)
            snprintf(m->reason, sizeof m->reason, "CLUSTER SLOTS: %.200s", reply->str);
        m->stale = true;
    }
    m->changed(m);
}

void redis_map_ask(struct redis_map *m)
{
    static const char *words[] = {"CLUSTER", "SLOTS"};
    uint64_t now_ns = loop_now_ns(m->loop);
    if (!m->stale || m->asked != NULL ||
        (m->asked_ns > 0 && now_ns - m->asked_ns < REDIS_MAP_AGAIN_MS * NS_PER_MS))
        return;
    for (size_t i = 0; i < m->count; i++) {
        struct redis_node *n = m->node[m->next_to_ask++ % m->count];
        if (!is_up(n) || redis_command(n->command, on_map, m, 2, words, NULL) < 0)
            continue;
        m->asked = n;
        m->asked_ns = now_ns;
        m->stale = false;
        return;
    }
}

static struct redis_node *any_node(struct redis_map *m)
{
    if (m->kind == MAP_SINGLE)
        return m->node[0];
    for (size_t i = 0; i < m->count && !is_up(m->any); i++)
        if (m->node[i]->listed && (m->any == NULL || is_up(m->node[i])))
            m->any = m->node[i];
    return m->any;
}

struct redis_node *redis_map_node(struct redis_map *m, struct slice key, bool by_slot)
{
    switch (m->kind) {
    case MAP_UNKNOWN: return NULL;
    case MAP_SINGLE: return m->node[0];
    case MAP_SLOTS: break;
    }
    return by_slot ? m->slot[redis_slot(key)] : any_node(m);
}

/* Whether every slot has a node that is up; if not, why, where no link has said it. */
bool redis_map_all_up(struct redis_map *m)
{
    if (m->kind != MAP_SLOTS)
        return m->kind == MAP_SINGLE && is_up(m->node[0]);
    for (size_t i = 0; i < m->count; i++)
        if (m->node[i]->listed && !is_up(m->node[i]))
            return false;
    if (m->empty > 0)
        snprintf(m->reason, sizeof m->reason, "%zu slots have no node", m->empty);
    return m->empty == 0;
}

void redis_map_doubt(struct redis_map *m)
{
    uint64_t since_ns = loop_now_ns(m->loop) - m->asked_ns;
    m->stale |= m->kind == MAP_SLOTS && since_ns >= REDIS_MAP_AGAIN_MS * NS_PER_MS * 2;
}

struct redis *redis_map_subscriber(struct redis_node *n)
{
    if (n->subscriber == NULL)
        n->subscriber = new_link(n, true);
    return n->subscriber;
}

void redis_map_begin(struct redis_map *m)
{
    m->stale = true;
    new_node(m, &m->options.url);
}

void redis_map_close(struct redis_map *m)
{
    m->closed = true;
    for (size_t i = 0; i < m->count; i++) {
        redis_free(m->node[i]->command);
        redis_free(m->node[i]->subscriber);
    }
}

void redis_map_release(struct redis_map *m)
{
    for (size_t i = 0; i < m->count; i++)
        free(m->node[i]);
    free(m->node);
    free(m->slot);
}
