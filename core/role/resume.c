#include "role/resume.h"

#include "base/count.h"
#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>

/* The second choice of testing_bug. */
enum { BUG_NO_DEDUP = 1 };

enum { FIRST_CAPACITY = 64 };

bool resume_knows(const struct resume_place *p)
{
    return p->last.epoch[0] != '\0';
}

bool resume_behind(const struct resume_place *p)
{
    return p->last.offset < p->until;
}

/* A server that is behind the others sends what its client has had from them: it does not go back. */
static void move(struct resume_place *p, const struct replay_id *at)
{
    struct replay_id last = p->last;
    if (!replay_id_same_epoch(&last, at)) {
        p->last = replay_id_same_epoch(&p->before, at) ? p->before : *at;
        p->before = last;
    }
    if (p->last.offset < at->offset)
        p->last.offset = at->offset;
}

bool resume_recovered(struct resume_place *p, const struct replay_recovered *r)
{
    bool goes_on = r->recovered && resume_knows(p) && replay_id_same_epoch(&p->last, &r->at);
    p->until = goes_on ? r->at.offset : 0;
    if (!goes_on)
        move(p, &r->at);
    return goes_on;
}

enum resume_arrival resume_note(struct resume_place *p, const struct replay_id *id)
{
    bool same = resume_knows(p) && replay_id_same_epoch(&p->last, id);
    if (same && id->offset <= p->last.offset)
        return RESUME_SEEN;
    p->last = *id;
    if (!same)
        p->until = 0;
    return id->offset <= p->until ? RESUME_MISSED : RESUME_NEW;
}

int resume_start(struct resume *r, const struct swarm_config *c)
{
    *r = (struct resume){
        .acks = c->acks, .overlap = c->resume_overlap, .hands_on_all = c->testing_bug == BUG_NO_DEDUP};
    if (c->record.at[0] != '\0' && (r->record = record_open(c->record.at, c->cohort.at)) == NULL)
        return ERR_SYSTEM;
    if (c->resume)
        r->place = mem_zero(c->clients * sizeof *r->place);
    return 0;
}

void resume_stop(struct resume *r)
{
    record_close(r->record);
    free(r->place);
    free(r->sent);
    *r = (struct resume){0};
}

void resume_query(const struct resume *r, uint64_t client, char query[RESUME_QUERY_SIZE])
{
    char id[REPLAY_ID_SIZE] = "";
    const char *acks = r->acks && client == 0 ? "acks=1" : "";
    if (r->place == NULL) {
        snprintf(query, RESUME_QUERY_SIZE, "%s", acks);
        return;
    }
    struct replay_id since = r->place[client].last;
    if (since.offset > r->overlap)
        since.offset -= r->overlap;
    if (resume_knows(&r->place[client]))
        replay_id_write(&since, id);
    snprintf(query, RESUME_QUERY_SIZE, "since=%s%s%s", id, *acks != '\0' ? "&" : "", acks);
}

void resume_opened(struct resume *r, uint64_t client, uint64_t now_ns)
{
    record_opened(r->record, client, now_ns);
}

static uint64_t take_sent(struct resume *r)
{
    return r->sent[r->answered++ & (r->capacity - 1)];
}

static void unanswered(struct resume *r, uint64_t now_ns)
{
    count_add(COUNT_publish_nacked, 1);
    record_answered(r->record, 0, take_sent(r), NULL, now_ns);
}

void resume_lost(struct resume *r, uint64_t client, int code, uint64_t now_ns)
{
    record_lost(r->record, client, code, now_ns);
    if (client > 0)
        return;
    while (r->answered < r->asked)
        unanswered(r, now_ns);
    r->answered = r->asked = 0;
}

static void grow(struct resume *r)
{
    size_t capacity = r->capacity > 0 ? 2 * r->capacity : FIRST_CAPACITY;
    uint64_t *ring = mem_alloc(capacity * sizeof *ring);
    for (uint64_t i = r->answered; i < r->asked; i++)
        ring[i & (capacity - 1)] = r->sent[i & (r->capacity - 1)];
    free(r->sent);
    r->sent = ring;
    r->capacity = capacity;
}

void resume_sent(struct resume *r, uint64_t sequence, uint64_t now_ns)
{
    record_sent(r->record, 0, sequence, now_ns);
    if (!r->acks)
        return;
    if (r->asked - r->answered == r->capacity)
        grow(r);
    r->sent[r->asked++ & (r->capacity - 1)] = sequence;
}

/* They come in order; one that skips leaves those before it unknown. */
static void answer(struct resume *r, const struct replay_ack *ack, uint64_t now_ns)
{
    if (ack->n <= r->answered || ack->n > r->asked)
        return;
    while (r->answered + 1 < ack->n)
        unanswered(r, now_ns);
    if (!ack->stored) {
        unanswered(r, now_ns);
        return;
    }
    count_add(COUNT_publish_acked, 1);
    record_answered(r->record, 0, take_sent(r), &ack->id, now_ns);
}

static void recover(struct resume *r, uint64_t client, const struct replay_recovered *recovered,
                    uint64_t now_ns)
{
    record_recovered(r->record, client, recovered, now_ns);
    bool goes_on = r->place != NULL && resume_recovered(&r->place[client], recovered);
    count_add(COUNT_recoveries, goes_on);
    count_add(COUNT_recoveries_refused, !recovered->recovered);
}

static bool take_notice(struct resume *r, uint64_t client, struct slice text, uint64_t now_ns)
{
    struct replay_recovered recovered;
    struct replay_ack ack;
    if (text.size == 0 || text.at[0] != '{')
        return false;
    if (replay_recovered_parse(text, &recovered) == 0) {
        recover(r, client, &recovered, now_ns);
        return true;
    }
    if (!r->acks || client > 0 || replay_ack_parse(text, &ack) < 0)
        return false;
    answer(r, &ack, now_ns);
    return true;
}

/* Whether it is to be handed on. */
static bool note(struct resume *r, uint64_t client, const struct replay_id *id)
{
    if (r->place == NULL)
        return true;
    switch (resume_note(&r->place[client], id)) {
    case RESUME_NEW: break;
    case RESUME_MISSED: count_add(COUNT_messages_recovered, 1); break;
    case RESUME_SEEN: count_add(COUNT_messages_deduplicated, !r->hands_on_all); return r->hands_on_all;
    }
    return true;
}

bool resume_take(struct resume *r, uint64_t client, const struct message *message, uint64_t now_ns,
                 struct resume_message *ret_message)
{
    struct resume_message m = {.body = {(const char *)message->at, message->size}};
    m.is_stamped = stamp_read(message->at, message->size, &m.stamp);
    if (!m.is_stamped) {
        if (message->kind == MESSAGE_TEXT && take_notice(r, client, m.body, now_ns))
            return false;
        m.has_id = replay_split(m.body, &m.id, &m.body) == 1;
        m.is_stamped = stamp_read((const uint8_t *)m.body.at, m.body.size, &m.stamp);
    }
    if (m.has_id && !note(r, client, &m.id))
        return false;
    if (m.is_stamped)
        record_delivered(r->record, client, m.has_id ? &m.id : NULL, &m.stamp, now_ns);
    *ret_message = m;
    return true;
}
