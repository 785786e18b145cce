/* What a server with a history knows of a client while there is something to know: what it has missed, what
 * it must not get twice, who it is as a publisher. */
#include "role/relay_topic.h"

#include "base/clock.h"
#include "base/count.h"
#include "peer/ws.h"
#include "wire/http1.h"

#include <stdio.h>
#include <stdlib.h>

/* A client's replay goes on when less than this part of the mark is queued. */
static const double ROOM = 0.5;

struct place {
    struct relay_topic *topic;
    struct ws *ws;    /* NULL before relay_begin and after relay_left */
    struct link link; /* in topic->waiting, topic->joined or relay->pacing; alone while it reads */
    bool came_back;   /* it said what it has */
    bool told;        /* it knows whether it recovers */
    bool lost;        /* what it missed cannot be had */
    bool verified;    /* the stream has what it says to have */
    bool acks;
    struct replay_id has; /* the last message it has */
    uint64_t skip_to;     /* live messages up to there it has had */
    uint64_t serial;      /* as a sender, 0 while it has published nothing */
    uint64_t published, answered;
    struct link early; /* answers that are known before those to earlier messages, in order */
    size_t next_size;  /* of the message that did not fit under the mark, 0: none */
    struct meter meter;
    unsigned refs; /* its connection, its creator, and commands under way */
};

static struct place *place_new(struct relay_topic *t, unsigned refs)
{
    struct place *p = mem_zero(sizeof *p);
    p->topic = t;
    p->refs = refs;
    link_init(&p->link);
    link_init(&p->early);
    t->refs++;
    return p;
}

struct early_answer {
    struct link link;
    struct replay_ack ack;
};

void place_release(struct place *p)
{
    struct link *at;
    if (--p->refs > 0)
        return;
    while ((at = list_take(&p->early)) != NULL)
        free(LIST_OF(at, struct early_answer, link));
    link_remove(&p->link);
    p->topic->refs--;
    free(p);
}

static void send_notice(struct place *p, const char *text, size_t size)
{
    const struct relay_options *o = &p->topic->relay->options;
    o->owner->send(o->owner, p->ws, (struct slice){text, size}, true);
}

static void tell(struct place *p, bool recovered)
{
    char text[REPLAY_NOTICE_SIZE];
    struct replay_recovered notice = {recovered, p->topic->at};
    if (p->told || p->ws == NULL)
        return;
    p->told = true;
    if (p->came_back)
        count_add(recovered ? COUNT_replays : COUNT_replays_refused, 1);
    if (notice.at.epoch[0] == '\0')
        snprintf(notice.at.epoch, sizeof notice.at.epoch, "%08x", 0U);
    send_notice(p, text, replay_recovered_write(&notice, text));
}

/* From now on live messages reach it. */
static void join(struct place *p)
{
    struct relay_topic *t = p->topic;
    if (p->ws == NULL)
        return; /* it was evicted by what it was just sent */
    p->skip_to = p->has.offset > t->at.offset ? p->has.offset : 0;
    list_append(&t->joined, &p->link);
    ws_join(p->ws, t->name);
}

static void send_answer(struct place *p, const struct replay_ack *ack)
{
    char text[REPLAY_NOTICE_SIZE];
    p->answered = ack->n;
    if (p->ws != NULL && p->acks)
        send_notice(p, text, replay_ack_write(ack, text));
}

static void keep_answer(struct place *p, const struct replay_ack *ack)
{
    struct early_answer *a = mem_alloc(sizeof *a);
    struct link *after = p->early.prev;
    *a = (struct early_answer){.ack = *ack};
    link_init(&a->link);
    while (after != &p->early && LIST_OF(after, struct early_answer, link)->ack.n > ack->n)
        after = after->prev;
    list_append(after->next, &a->link);
}

void place_answer(struct place *p, uint64_t n, const struct replay_id *id)
{
    struct replay_ack ack = {.stored = id != NULL, .n = n};
    if (id != NULL)
        ack.id = *id;
    if (n != p->answered + 1) {
        keep_answer(p, &ack);
        return;
    }
    send_answer(p, &ack);
    while (!list_empty(&p->early)) {
        struct early_answer *a = LIST_OF(p->early.next, struct early_answer, link);
        if (a->ack.n != p->answered + 1)
            return;
        send_answer(p, &a->ack);
        link_remove(&a->link);
        free(a);
    }
}

struct place *place_publisher(struct relay_topic *t, struct ws *from)
{
    struct place *p = ws_held(from);
    if (p == NULL) {
        p = place_new(t, 1);
        p->told = true;
        list_append(&t->joined, &p->link);
        ws_hold(from, p);
    }
    p->ws = from; /* it may publish before relay_begin */
    if (p->serial == 0)
        p->serial = ++t->relay->serials;
    return p;
}

uint64_t place_serial(const struct place *p)
{
    return p->serial;
}

uint64_t place_next(struct place *p)
{
    p->refs++;
    return ++p->published;
}

/* false: it has to wait for room, or its connection has ended. */
static bool replay_one(struct place *p, const struct replay_entry *e, struct buf *out)
{
    const struct relay_options *o = &p->topic->relay->options;
    struct replay_id id = p->has;
    tell(p, true);
    id.offset = e->offset;
    struct slice payload = replay_with_id(&id, e->body, out);
    p->next_size = payload.size;
    if (p->ws == NULL || !ws_has_room(p->ws, ROOM, payload.size))
        return false;
    p->next_size = 0;
    p->has = id;
    o->owner->send(o->owner, p->ws, payload, e->text);
    count_add(COUNT_replay_messages, 1);
    return p->ws != NULL;
}

/* Sends what was read, as far as there is room; false when the next message is gone. */
static bool replay(struct place *p, const redisReply *entries, const struct replay_id *stands)
{
    const struct relay_options *o = &p->topic->relay->options;
    struct buf out = {0};
    struct replay_entry e;
    bool gone = false, goes_on = true;
    uint64_t sent = 0, had = p->has.offset;
    for (size_t i = 0; i < entries->elements && goes_on && !gone; i++) {
        if (!replay_parse_entry(entries->element[i], &e) || e.offset <= p->has.offset ||
            e.offset > stands->offset)
            continue;
        gone = replay_trimmed(p->topic, p->has.offset, e.offset);
        goes_on = !gone && replay_one(p, &e, &out);
        sent += goes_on;
    }
    buf_free(&out);
    meter_take(&p->meter, o->replay_rate, (double)sent, loop_now_ns(o->loop));
    if (goes_on && !gone && stands->offset == had && !p->told)
        tell(p, true); /* it has the last there is, of which this server may not have heard yet */
    else
        gone |= goes_on && p->has.offset == had;
    return p->ws == NULL || !gone;
}

static void refuse(struct place *p)
{
    tell(p, false);
    p->has = p->topic->at;
    p->lost = false;
    join(p);
}

static void wait_for_topic(struct place *p)
{
    list_append(&p->topic->waiting, &p->link);
}

/* A read has shown where the history stands: a topic that has not come so far reads on first, so that nobody
 * is told of a place that is gone. */
static void bring_up(struct relay_topic *t, const struct replay_id *stands)
{
    if (!replay_id_same_epoch(&t->at, stands) && t->state == TOPIC_LIVE) {
        relay_topic_enter(t, TOPIC_FILLING);
        replay_fill(t);
    }
}

static void step(struct place *p);

static void on_read(void *arg, const redisReply *reply)
{
    struct place *p = arg;
    struct relay_topic *t = p->topic;
    const redisReply *entries;
    struct replay_id stands;
    bool race = t->relay->options.bug == RELAY_LISTENER_RACE;
    if (p->ws != NULL && replay_parse_read(reply, &stands, &entries)) {
        bring_up(t, &stands);
        p->verified = replay_id_same_epoch(&stands, &p->has) && replay(p, entries, &stands);
        if (!p->verified) {
            p->lost = true; /* also when it was told otherwise: trimmed while it was reading */
            p->told = false;
        }
        list_append(&t->relay->pacing, &p->link);
        if (p->ws != NULL && !race)
            step(p);
    } else if (p->ws != NULL) {
        wait_for_topic(p);
    }
    if (p->ws == NULL)
        link_remove(&p->link);
    place_release(p);
}

static bool may_go_on(const struct place *p)
{
    const struct relay_options *o = &p->topic->relay->options;
    return meter_wait_ns(&p->meter, o->replay_rate, NS_PER_S, loop_now_ns(o->loop)) == 0 &&
           ws_has_room(p->ws, ROOM, p->next_size);
}

/* Whether what it says to have is in the topic's history, as far as is known here. */
static bool is_known(const struct place *p)
{
    const struct relay_topic *t = p->topic;
    return replay_id_same_epoch(&p->has, &t->at) && (p->has.offset <= t->at.offset || p->verified);
}

/* One step of a place that waits, when its topic is LIVE: in, refused, or one more read. */
static void step(struct place *p)
{
    struct relay_topic *t = p->topic;
    if (t->state != TOPIC_LIVE) {
        wait_for_topic(p);
        return;
    }
    if (!p->came_back && !p->told) {
        p->has = t->at;
        tell(p, true);
    }
    if (p->lost) {
        refuse(p);
    } else if (is_known(p) && p->has.offset >= t->at.offset) {
        tell(p, true);
        join(p);
    } else if (may_go_on(p) && replay_read(t, p->has.offset + 1, on_read, p) == 0) {
        p->refs++;
        link_remove(&p->link);
    } else {
        list_append(&t->relay->pacing, &p->link);
    }
}

/* As step, but the race that a checker has to find: what came between the read and this moment is forgotten.
 */
static void step_carelessly(struct place *p)
{
    if (p->told && p->topic->state == TOPIC_LIVE)
        join(p);
    else
        step(p);
}

void place_pace(struct relay *r)
{
    struct link due;
    struct link *at;
    link_init(&due);
    while ((at = list_take(&r->pacing)) != NULL)
        list_append(&due, at);
    while ((at = list_take(&due)) != NULL) {
        struct place *p = LIST_OF(at, struct place, link);
        p->refs++; /* what it is sent may be too much for its queue, and end it */
        if (r->options.bug == RELAY_LISTENER_RACE)
            step_carelessly(p);
        else
            step(p);
        place_release(p);
    }
}

/* Redis is away: live messages from here, whatever it has missed. But who knows of another history than we do
 * waits, since it may be the newer one. */
static void join_blindly(struct place *p)
{
    const struct replay_id *at = &p->topic->at;
    bool same = p->came_back && replay_id_same_epoch(&p->has, at);
    if (p->came_back && p->has.epoch[0] != '\0' && !same && at->epoch[0] != '\0') {
        wait_for_topic(p);
        return;
    }
    bool has_all = same && p->has.offset >= at->offset;
    tell(p, has_all);
    if (!has_all)
        p->has = *at;
    join(p);
}

void place_admit(struct relay_topic *t, bool live)
{
    struct link *at;
    struct link due;
    link_init(&due);
    while ((at = list_take(&t->waiting)) != NULL)
        list_append(&due, at);
    while ((at = list_take(&due)) != NULL) {
        struct place *p = LIST_OF(at, struct place, link);
        p->refs++;
        if (live)
            step(p);
        else
            join_blindly(p);
        place_release(p);
    }
}

/* Who says something that is no place has one that nobody knows, and is told so. Browsers encode the colon.
 */
static bool read_since(struct slice since, struct replay_id *ret_has)
{
    char id[REPLAY_ID_SIZE];
    enum { EPOCH = sizeof ret_has->epoch - 1 };
    if (since.size == 0)
        return false;
    if (since.size > EPOCH + 3 && slice_is_nocase((struct slice){since.at + EPOCH, 3}, "%3A")) {
        int size = snprintf(id, sizeof id, "%.*s:%.*s", EPOCH, since.at, (int)(since.size - EPOCH - 3),
                            since.at + EPOCH + 3);
        since = (struct slice){id, least((uint64_t)size, sizeof id - 1)};
    }
    replay_id_parse(since, ret_has);
    return true;
}

struct place *relay_arrive(struct relay *r, struct slice topic, struct slice query)
{
    if (r->options.history == 0)
        return NULL;
    struct relay_topic *t = relay_topic(r, topic);
    struct place *p = place_new(t, 2); /* the connection's, and the caller's until relay_begin */
    struct slice since = http1_query_value(query, "since");
    p->came_back = read_since(since, &p->has);
    p->acks = slice_is(http1_query_value(query, "acks"), "1");
    t->wanted_ns = loop_now_ns(r->options.loop);
    return p;
}

void relay_begin(struct place *p, struct ws *w)
{
    if (ws_held(w) == p) {
        p->ws = w;
        step(p);
    }
    place_release(p);
}

void relay_left(struct place *p)
{
    p->ws = NULL;
    link_remove(&p->link);
    place_release(p);
}

void place_forget(struct relay_topic *t)
{
    hub_settle(t->relay->options.hub);
    for (struct link *at = t->joined.next; at != &t->joined; at = at->next)
        LIST_OF(at, struct place, link)->skip_to = 0;
}

struct slice relay_topic_of(const struct place *p)
{
    return p->topic->name;
}

bool relay_wants(struct place *p, const struct cast *cast)
{
    if (p->serial != 0 && cast->sender == p->serial)
        return false;
    if (cast->offset > 0 && cast->offset <= p->skip_to)
        return false;
    if (cast->offset > 0 && p->serial == 0 && !p->acks && p->refs == 1) {
        ws_hold(p->ws, NULL); /* there is nothing left to know */
        relay_left(p);
    }
    return true;
}
