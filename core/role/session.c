#include "role/session.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/count.h"
#include "base/err.h"
#include "base/fnv.h"
#include "base/log.h"
#include "base/rng.h"
#include "peer/redis_cluster.h"
#include "wire/http1.h"

#include <stdio.h>
#include <stdlib.h>

enum { BUCKETS = 1 << 14, KEY_MAX = 512 };

/* Commands that carry a session are large. */
static const uint64_t PENDING_MAX = 64 << 20;

static const char told[] = "{\"wsb\":\"session\",\"held\":";
static const char lifetime[] = "3600"; /* seconds, in Redis */

struct session {
    struct link link; /* in `all`, the one used last at its end */
    struct session *next;
    uint64_t hash;
    uint64_t visit;
    size_t id_size, size;
    char bytes[]; /* the id, then the state */
};

/* One that waits for Redis, with copies of what would die meanwhile. */
struct waiting {
    struct link link;
    struct session_table *table;
    struct ws_start start;
    uint64_t visit;
    size_t id_size;
    char id[SESSION_ID_MAX];
};

struct session_table {
    struct session_owner *owner;
    struct redis_cluster *redis;
    struct address_table *addresses;
    char *prefix;
    uint64_t size, most, count;
    uint64_t salt; /* so that nobody can know which ids collide */
    struct link all;
    struct link waiting;
    int turned_away;
    bool known; /* whether Redis is there: it has been up, or down */
    bool ending;
    struct session *bucket[BUCKETS];
};

static uint64_t hash_of(const struct session_table *t, struct slice id)
{
    return fnv_add(t->salt, id.at, id.size);
}

static struct session *find(struct session_table *t, struct slice id)
{
    uint64_t hash = hash_of(t, id);
    struct session *s = t->bucket[hash % BUCKETS];
    while (s != NULL && (s->hash != hash || !slice_same((struct slice){s->bytes, s->id_size}, id)))
        s = s->next;
    return s;
}

static void forget(struct session_table *t, struct session *gone)
{
    for (struct session **at = &t->bucket[gone->hash % BUCKETS]; *at != NULL; at = &(*at)->next) {
        if (*at != gone)
            continue;
        *at = gone->next;
        break;
    }
    link_remove(&gone->link);
    t->count--;
    free(gone);
}

static void forget_oldest(struct session_table *t)
{
    forget(t, LIST_OF(t->all.next, struct session, link));
}

static void keep(struct session_table *t, struct slice id, uint64_t visit, struct slice state)
{
    struct session *old = find(t, id);
    if (old != NULL)
        forget(t, old);
    else if (t->count >= t->most)
        forget_oldest(t);
    struct session *s = mem_alloc(sizeof *s + id.size + state.size);
    uint64_t hash = hash_of(t, id);
    *s = (struct session){.hash = hash,
                          .visit = visit,
                          .id_size = id.size,
                          .size = state.size,
                          .next = t->bucket[hash % BUCKETS]};
    memcpy(s->bytes, id.at, id.size);
    memcpy(s->bytes + id.size, state.at, state.size);
    t->bucket[hash % BUCKETS] = s;
    link_init(&s->link);
    list_append(&t->all, &s->link);
    t->count++;
}

/* A visit that was cut before the client knew of it is made again under the same number. */
static bool holds(struct session_table *t, struct slice id, uint64_t visit)
{
    struct session *s = find(t, id);
    if (s == NULL || (visit != 0 && visit != s->visit && visit != s->visit + 1))
        return false;
    s->visit = visit;
    list_append(&t->all, &s->link);
    return true;
}

/* state.at NULL: there is none to be had. */
static void let_in(struct waiting *w, struct slice state)
{
    struct session_table *t = w->table;
    struct buf text = {0};
    buf_printf(&text, "%sfalse", told);
    if (state.at != NULL) {
        buf_append(&text, ",\"state\":\"", 10);
        buf_append(&text, state.at, state.size);
        buf_append(&text, "\"", 1);
    }
    buf_append(&text, "}", 1);
    link_remove(&w->link);
    w->start.turned_away = t->turned_away;
    t->owner->enter(t->owner, &w->start, (struct slice){(const char *)text.at, text.size});
    buf_free(&text);
    free(w->start.rest);
    free(w);
}

static size_t key_of(const struct session_table *t, struct slice id, char key[KEY_MAX])
{
    return (size_t)snprintf(key, KEY_MAX, "%s:session:%.*s", t->prefix, (int)id.size, id.at);
}

/* Any text does: what matters is its size. */
static struct slice make_up(struct session_table *t, struct slice id, struct buf *out)
{
    char key[KEY_MAX];
    size_t key_size = key_of(t, id, key);
    uint8_t *at = buf_reserve(out, t->size + 1);
    for (out->size = 0; out->size < t->size; out->size++)
        at[out->size] = (uint8_t)id.at[out->size % id.size];
    const char *argv[] = {"SET", key, (const char *)at, "EX", lifetime};
    const size_t argvlen[] = {3, key_size, out->size, 2, sizeof lifetime - 1};
    if (redis_cluster_command(t->redis, (struct slice){key, key_size}, NULL, NULL, 5, argv, argvlen) < 0)
        log_line(LOG_WARN, "session of %.*s: could not be stored", (int)id.size, id.at);
    return (struct slice){(const char *)at, out->size};
}

static bool is_json_text(const char *at, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (at[i] < 0x20 || at[i] == '"' || at[i] == '\\' || at[i] == 0x7f)
            return false;
    return true;
}

static void on_state(void *arg, const redisReply *reply)
{
    struct waiting *w = arg;
    struct session_table *t = w->table;
    struct slice id = {w->id, w->id_size}, state = {0};
    struct buf made = {0};
    if (t->ending)
        return;
    if (reply != NULL && reply->type == REDIS_REPLY_STRING && is_json_text(reply->str, reply->len))
        state = (struct slice){reply->str, reply->len};
    else if (reply != NULL && reply->type == REDIS_REPLY_NIL)
        state = make_up(t, id, &made);
    if (state.at != NULL) {
        keep(t, id, w->visit, state);
        count_add(COUNT_sessions_rebuilt, 1);
        count_add(COUNT_session_bytes_rebuilt, state.size);
    } else {
        count_add(COUNT_sessions_failed, 1);
    }
    let_in(w, state);
    buf_free(&made);
}

static void ask(struct waiting *w)
{
    struct session_table *t = w->table;
    char key[KEY_MAX];
    size_t key_size = key_of(t, (struct slice){w->id, w->id_size}, key);
    const char *argv[] = {"GET", key};
    const size_t argvlen[] = {3, key_size};
    if (redis_cluster_command(t->redis, (struct slice){key, key_size}, on_state, w, 2, argv, argvlen) < 0)
        on_state(w, NULL);
}

/* A server that has just started is met by its clients before it has met its Redis: they wait for that. */
static void ask_all(struct session_table *t)
{
    struct link early;
    if (t->known)
        return;
    t->known = true;
    link_init(&early);
    for (struct link *l = list_take(&t->waiting); l != NULL; l = list_take(&t->waiting))
        list_append(&early, l);
    for (struct link *l = list_take(&early); l != NULL; l = list_take(&early)) {
        list_append(&t->waiting, l);
        ask(LIST_OF(l, struct waiting, link));
    }
}

static void on_up(void *owner, uint64_t down_ns)
{
    (void)down_ns;
    ask_all(owner);
}

static void on_down(void *owner, const char *reason)
{
    (void)reason;
    ask_all(owner);
}

static struct waiting *wait_for(struct session_table *t, const struct ws_start *start, struct slice id,
                                uint64_t visit)
{
    struct waiting *w = mem_zero(sizeof *w + start->topic.size);
    char *topic = (char *)(w + 1);
    *w = (struct waiting){.table = t, .start = *start, .visit = visit, .id_size = id.size};
    if (start->topic.size > 0)
        memcpy(topic, start->topic.at, start->topic.size);
    memcpy(w->id, id.at, id.size);
    w->start.topic.at = topic;
    w->start.rest = NULL;
    if (start->rest_size > 0)
        w->start.rest = memcpy(mem_alloc(start->rest_size), start->rest, start->rest_size);
    link_init(&w->link);
    list_append(&t->waiting, &w->link);
    return w;
}

/* 0 where there is none, or no number. */
static uint64_t read_visit(struct slice query)
{
    struct slice text = http1_query_value(query, "visit");
    uint64_t visit = 0;
    for (size_t i = 0; i < least(text.size, 18); i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return 0;
        visit = 10 * visit + (uint64_t)(text.at[i] - '0');
    }
    return visit;
}

bool session_enter(struct session_table *t, const struct ws_start *start, struct slice query)
{
    struct slice id = http1_query_value(query, "client");
    uint64_t visit = read_visit(query);
    char held[sizeof told + 8];
    if (id.size == 0 || id.size > SESSION_ID_MAX || !http1_is_token(id) || start->turned_away < 0)
        return false;
    if (holds(t, id, visit)) {
        int size = snprintf(held, sizeof held, "%strue}", told);
        count_add(COUNT_sessions_held, 1);
        t->owner->enter(t->owner, start, (struct slice){held, (size_t)size});
        return true;
    }
    struct waiting *w = wait_for(t, start, id, visit);
    if (t->known)
        ask(w);
    return true;
}

void session_turn_away(struct session_table *t, int err)
{
    if (t != NULL)
        t->turned_away = err;
}

bool session_none_waiting(const struct session_table *t)
{
    return t == NULL || list_empty(&t->waiting);
}

struct session_table *session_table_new(struct loop *loop, struct session_owner *owner,
                                        const struct session_options *options, char *why, size_t why_size)
{
    struct redis_options redis = {.max_pending_bytes = PENDING_MAX, .events = {.up = on_up, .down = on_down}};
    struct rng rng;
    if (redis_url_parse(options->redis, &redis.url, why, why_size) < 0)
        return NULL;
    if (redis.url.secure) {
        snprintf(why, why_size, "redis: '%s' is not accepted for sessions; give redis:// or unix://",
                 options->redis);
        return NULL;
    }
    struct session_table *t = mem_zero(sizeof *t);
    t->owner = owner;
    t->addresses = options->addresses;
    t->size = options->size;
    t->most = options->most;
    t->prefix = mem_text(options->prefix);
    link_init(&t->all);
    link_init(&t->waiting);
    rng_seed(&rng, clock_now_ns());
    t->salt = rng_next(&rng);
    redis.owner = t;
    t->redis = redis_cluster_new(loop, &redis);
    return t;
}

void session_table_free(struct session_table *t)
{
    if (t == NULL)
        return;
    t->ending = true;
    redis_cluster_free(t->redis);
    for (struct link *l = list_take(&t->waiting); l != NULL; l = list_take(&t->waiting)) {
        struct waiting *w = LIST_OF(l, struct waiting, link);
        stream_close(&w->start.stream);
        if (w->start.address != NULL)
            address_leave(t->addresses, w->start.address);
        free(w->start.rest);
        free(w);
    }
    while (t->count > 0)
        forget_oldest(t);
    free(t->prefix);
    free(t);
}

bool session_told(const struct message *message)
{
    return message->kind == MESSAGE_TEXT && message->size >= sizeof told - 1 &&
           memcmp(message->at, told, sizeof told - 1) == 0;
}
