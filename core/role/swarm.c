/* A cohort of clients that behave alike, and what they see.
 *
 *     CONNECTING (at connect_rate) -> connected() -> start -> stalls, slow reading, publishing -> finished()
 *
 * A client waits in `coming` until its upgrade, stands in `up` while it is open, then in no list: it may come
 * back then, see role/retry. What it has seen of a sequence stays with it. */
#include "role/aim.h"
#include "role/config.h"
#include "role/cutter.h"
#include "role/feed.h"
#include "role/resume.h"
#include "role/retry.h"
#include "role/returning.h"
#include "role/sequence.h"
#include "base/clock.h"
#include "base/count.h"
#include "base/err.h"
#include "base/fnv.h"
#include "net/loop.h"
#include "net/sock.h"
#include "net/tls.h"
#include "peer/client.h"
#include "peer/gap.h"
#include "wsb.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { TICKS_A_SECOND = 50 };

/* How long clients get to answer the swarm's own Close before they are reset. */
static const uint64_t STOP_GRACE_NS = 2 * NS_PER_S;

struct swarm_client {
    struct client client;
    struct link link;
    struct retry retry;
    struct sequence sequence;
    struct returning returning;
    uint64_t lost_ns; /* when its connection was lost, 0 unless it is on its way back */
    bool orphaned;    /* its connection has ended while it was not reading */
    bool settled;     /* was open once, or will never be */
};

struct wsb_swarm {
    struct swarm_config config;
    struct loop *loop;
    struct rng rng;
    struct client_shared shared;
    struct retry_shared retries;
    struct aim aim;
    struct resume resume;
    struct cutter cutter;
    struct wsb_swarm_events events;
    struct feed_owner feed_owner;
    struct feed *feed;
    ev_timer tick;
    struct swarm_client *client;
    struct link coming; /* oldest first: all have the same time to finish */
    struct link up;
    uint64_t started; /* clients whose connection was begun */
    uint64_t settled; /* clients that were open once or failed for good */
    uint64_t came_up; /* the former */
    uint64_t connect_ns;
    uint64_t start_ns;   /* 0 before start */
    bool unbounded;      /* every client reads all there is */
    uint64_t allowed_ns; /* when the last allowance was given out */
    double owed_bytes;   /* of which only whole ones are given out */
    uint64_t ticks;
    bool stopping;
    uint64_t stop_ns;
    void (*done)(void *);
    void *done_arg;
};

static struct wsb_swarm *swarm_of(struct client *c)
{
    return LIST_OF(c->shared, struct wsb_swarm, shared);
}

static uint64_t number_of(const struct wsb_swarm *s, const struct swarm_client *sc)
{
    return (uint64_t)(sc - s->client);
}

static void settle(struct wsb_swarm *s, struct swarm_client *sc, bool up)
{
    if (sc->settled)
        return;
    sc->settled = true;
    s->settled++;
    s->came_up += up;
    if (s->settled == s->config.clients && s->events.connected != NULL)
        s->events.connected(s->events.arg, s->came_up, s->settled - s->came_up);
}

static void on_over(struct retry *r)
{
    struct wsb_swarm *s = LIST_OF(r->shared, struct wsb_swarm, retries);
    settle(s, LIST_OF(r, struct swarm_client, retry), false);
}

static void come_back(struct wsb_swarm *s, struct swarm_client *sc, int code,
                      const struct client_heard *heard)
{
    if (s->stopping)
        settle(s, sc, false);
    else
        retry_after(&sc->retry, code, heard);
}

static void on_request(struct client *c, char *target, struct buf *lines)
{
    struct wsb_swarm *s = swarm_of(c);
    struct swarm_client *sc = LIST_OF(c, struct swarm_client, client);
    returning_ask(&sc->returning, &s->config, (uint64_t)(sc - s->client), target, lines);
}

static void on_answered(struct client *c, const struct http1_head *answer)
{
    returning_hear(&LIST_OF(c, struct swarm_client, client)->returning, &swarm_of(c)->config, answer);
}

/* The time to come back counts from the loss of a connection: one that never was is not waited for. */
static void note_return(struct wsb_swarm *s, struct swarm_client *sc)
{
    if (sc->lost_ns > 0)
        count_time(HIST_reconnect_time, loop_now_ns(s->loop) - sc->lost_ns);
    sc->lost_ns = 0;
    retry_opened(&sc->retry);
}

static void on_opened(struct client *c)
{
    struct wsb_swarm *s = swarm_of(c);
    struct swarm_client *sc = LIST_OF(c, struct swarm_client, client);
    list_append(&s->up, &sc->link);
    sc->orphaned = false;
    note_return(s, sc);
    resume_opened(&s->resume, number_of(s, sc), loop_now_ns(s->loop));
    returning_opened(&sc->returning, c->began_ns);
    if (!s->unbounded)
        client_allow(c, 0); /* until the next tick hands out what it may read */
    count_add(COUNT_clients_opened, 1);
    count_add(COUNT_clients_open, 1);
    settle(s, sc, true);
}

static void note_loss(struct wsb_swarm *s, struct swarm_client *sc, int code, bool wanted)
{
    count_sub(COUNT_clients_open, 1);
    count_add(COUNT_clients_closed, 1);
    count_add(COUNT_clients_lost, !wanted);
    sc->lost_ns = loop_now_ns(s->loop);
    resume_lost(&s->resume, number_of(s, sc), code, sc->lost_ns);
}

static void connect_one(struct wsb_swarm *s, struct swarm_client *sc)
{
    static const struct client_heard nothing;
    count_add(COUNT_clients_started, 1);
    aim_pick(&s->aim, number_of(s, sc));
    if (client_connect(&sc->client, &s->shared) == 0) {
        list_append(&s->coming, &sc->link);
        cutter_connecting(&s->cutter, number_of(s, sc));
        return;
    }
    count_add(COUNT_clients_failed, 1);
    count_add(COUNT_clients_refused, errno == ECONNREFUSED);
    come_back(s, sc, 1006, &nothing);
}

static void on_ended(struct client *c, bool was_open, int code)
{
    struct wsb_swarm *s = swarm_of(c);
    struct swarm_client *sc = LIST_OF(c, struct swarm_client, client);
    bool at_once, cut = cutter_ended(&s->cutter, number_of(s, sc), &at_once);
    link_remove(&sc->link);
    client_release(c);
    if (was_open) {
        note_loss(s, sc, code, s->stopping || cut);
    } else {
        count_add(COUNT_clients_failed, 1);
        count_add(COUNT_clients_refused, c->refused);
        count_add(COUNT_clients_answered, c->heard.status > 0);
    }
    if (at_once && !s->stopping)
        connect_one(s, sc);
    else
        come_back(s, sc, code, &c->heard);
}

static void note_sequence(struct swarm_client *sc, uint64_t number)
{
    uint64_t skipped;
    switch (sequence_note(&sc->sequence, number, &skipped)) {
    case ARRIVAL_IN_ORDER: break;
    case ARRIVAL_AFTER_GAP: count_add(COUNT_messages_missed, skipped); break;
    case ARRIVAL_LATE:
        count_add(COUNT_messages_reordered, 1);
        count_sub(COUNT_messages_missed, 1);
        break;
    case ARRIVAL_DUPLICATE: count_add(COUNT_messages_duplicate, 1); break;
    }
}

static void on_message(struct client *c, const struct message *message)
{
    struct wsb_swarm *s = swarm_of(c);
    struct swarm_client *sc = LIST_OF(c, struct swarm_client, client);
    struct resume_message m;
    uint64_t now_ns = loop_refresh(s->loop);
    if (!resume_take(&s->resume, number_of(s, sc), message, now_ns, &m))
        return;
    if (!m.is_stamped || m.stamp.publisher != s->config.counted_publisher) {
        returning_note(&sc->returning, message, now_ns);
        count_add(COUNT_gaps_told, gap_read(message));
        count_add(COUNT_messages_foreign, 1);
        return;
    }
    count_add(COUNT_messages_received, 1);
    count_time(HIST_fanout_lag, now_ns > m.stamp.intended_ns ? now_ns - m.stamp.intended_ns : 0);
    note_sequence(sc, m.stamp.sequence);
    if (!stamp_intact(&m.stamp, (const uint8_t *)m.body.at, m.body.size))
        count_add(COUNT_messages_corrupt, 1);
}

/* Over the schedule as it was carried out: two runs with the same hash offered the same load. */
static void note_schedule(struct wsb_swarm *s, const struct stamp *stamp, size_t size)
{
    uint64_t hash = count_get(COUNT_publish_hash);
    const uint64_t facts[] = {stamp->sequence, stamp->intended_ns - s->start_ns, size};
    count_set(COUNT_publish_hash, fnv_add(hash == 0 ? FNV_START : hash, facts, sizeof facts));
}

/* A message that finds no connection is offered all the same: the load does not depend on how the server
 * does. */
static void on_publish(struct feed_owner *owner, const struct stamp *stamp, struct slice payload)
{
    struct wsb_swarm *s = LIST_OF(owner, struct wsb_swarm, feed_owner);
    struct client *c = &s->client->client;
    uint64_t now_ns = loop_now_ns(s->loop);
    count_add(COUNT_publish_offered, 1);
    count_add(COUNT_publish_bytes, payload.size);
    count_time(HIST_publish_lateness, now_ns > stamp->intended_ns ? now_ns - stamp->intended_ns : 0);
    note_schedule(s, stamp, payload.size);
    if (c->state != CLIENT_OPEN || conn_queued(&c->conn) + payload.size > s->config.publish_queue) {
        count_add(COUNT_publish_failed, 1);
        return;
    }
    client_send(c, FRAME_TEXT, payload.at, payload.size);
    resume_sent(&s->resume, stamp->sequence, now_ns);
    count_add(COUNT_publish_sent, 1);
    count_set(COUNT_publish_backlog_bytes, conn_queued(&c->conn));
}

static void on_finished(struct feed_owner *owner)
{
    struct wsb_swarm *s = LIST_OF(owner, struct wsb_swarm, feed_owner);
    if (s->events.finished != NULL)
        s->events.finished(s->events.arg);
}

static const struct url *on_aim(struct client *c)
{
    struct wsb_swarm *s = swarm_of(c);
    uint64_t number = number_of(s, LIST_OF(c, struct swarm_client, client));
    char query[RESUME_QUERY_SIZE];
    resume_query(&s->resume, number, query);
    return aim_url(&s->aim, number, query);
}

static struct cut_target on_target(struct cutter *cutter, uint64_t number)
{
    struct wsb_swarm *s = LIST_OF(cutter, struct wsb_swarm, cutter);
    const struct resume_place *place = s->resume.place;
    return (struct cut_target){.client = &s->client[number].client,
                               .retry = &s->client[number].retry,
                               .behind = place != NULL && resume_behind(&place[number]),
                               .record = s->resume.record};
}

static void on_again(struct retry *r)
{
    connect_one(LIST_OF(r->shared, struct wsb_swarm, retries), LIST_OF(r, struct swarm_client, retry));
}

static bool on_ask(struct retry_shared *retries, struct retry *const *asked, size_t count)
{
    struct wsb_swarm *s = LIST_OF(retries, struct wsb_swarm, retries);
    struct wsb_swarm_lost lost[RETRY_ASKED_MAX];
    for (size_t i = 0; i < count; i++) {
        const struct retry *r = asked[i];
        const struct swarm_client *sc = LIST_OF(asked[i], struct swarm_client, retry);
        lost[i] = (struct wsb_swarm_lost){.client = (uint64_t)(sc - s->client),
                                          .attempt = r->backoff.attempts,
                                          .previous_ms = r->waited_ns / NS_PER_MS,
                                          .code = r->code};
    }
    return s->events.retries(s->events.arg, lost, count);
}

static void connect_due(struct wsb_swarm *s, uint64_t now_ns)
{
    double due = s->config.connect_rate * (double)(now_ns - s->connect_ns) / NS_PER_S;
    while (s->started < s->config.clients && (double)s->started <= due)
        connect_one(s, &s->client[s->started++]);
}

static void expire_coming(struct wsb_swarm *s, uint64_t now_ns)
{
    while (!list_empty(&s->coming)) {
        struct swarm_client *sc = LIST_OF(s->coming.next, struct swarm_client, link);
        if (now_ns - sc->client.began_ns < s->config.connect_timeout)
            return;
        link_remove(&sc->link);
        count_add(COUNT_clients_expired, 1);
        client_give_up(&sc->client);
    }
}

static bool stall_time(const struct swarm_config *c, uint64_t since_ns)
{
    if (c->stall_after == 0 || since_ns < c->stall_after)
        return false;
    return c->stall_duration == 0 || since_ns < c->stall_after + c->stall_duration;
}

/* What each client may read until the next tick. Parts of a byte are owed to the next one. */
static uint64_t allowance(struct wsb_swarm *s, uint64_t now_ns)
{
    double elapsed_ns = (double)(now_ns - s->allowed_ns);
    s->allowed_ns = now_ns;
    if (s->start_ns == 0)
        return UINT64_MAX;
    if (stall_time(&s->config, now_ns - s->start_ns))
        return 0;
    if (s->config.read_rate <= 0)
        return UINT64_MAX;
    s->owed_bytes = fmod(s->owed_bytes, 1) + s->config.read_rate * elapsed_ns / NS_PER_S;
    return (uint64_t)s->owed_bytes;
}

/* A client that does not read learns only from the kernel that its connection has ended. It then reads what
 * is left, as a program would that at last looks at its socket, and finds out how it ended. Each is looked at
 * once a second: asking for all of them at every tick would cost the generator a core. */
static bool found_orphaned(const struct wsb_swarm *s, const struct swarm_client *sc)
{
    return (uint64_t)(sc - s->client) % TICKS_A_SECOND == s->ticks % TICKS_A_SECOND &&
           client_orphaned(&sc->client);
}

static void behave(struct wsb_swarm *s, uint64_t now_ns)
{
    uint64_t bytes = allowance(s, now_ns);
    uint64_t stalled = 0;
    if (bytes == UINT64_MAX && s->unbounded)
        return;
    s->unbounded = bytes == UINT64_MAX;
    for (struct link *at = s->up.next; at != &s->up; at = at->next) {
        struct swarm_client *sc = LIST_OF(at, struct swarm_client, link);
        sc->orphaned = sc->orphaned || found_orphaned(s, sc);
        client_allow(&sc->client, sc->orphaned ? UINT64_MAX : bytes);
        stalled += bytes == 0 && !sc->orphaned;
    }
    count_set(COUNT_clients_stalled, stalled);
}

/* Each client once a second, as above. */
static void listen_all(struct wsb_swarm *s)
{
    const struct swarm_config *c = &s->config;
    if (c->ping_interval == 0)
        return;
    for (uint64_t i = s->ticks % TICKS_A_SECOND; i < s->started; i += TICKS_A_SECOND)
        client_listen(&s->client[i].client, c->ping_interval, c->ping_timeout);
}

static void stop_step(struct wsb_swarm *s, uint64_t now_ns)
{
    if (now_ns - s->stop_ns >= STOP_GRACE_NS)
        for (uint64_t i = 0; i < s->started; i++)
            client_abort(&s->client[i].client);
    if (!list_empty(&s->up) || !list_empty(&s->coming) || s->done == NULL)
        return;
    void (*done)(void *) = s->done;
    s->done = NULL;
    record_flush(s->resume.record);
    done(s->done_arg);
}

static void on_tick(EV_P_ ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct wsb_swarm *s = timer->data;
    uint64_t now_ns = loop_refresh(s->loop);
    s->ticks++;
    conn_trim(now_ns);
    expire_coming(s, now_ns);
    if (s->stopping) {
        stop_step(s, now_ns);
        return;
    }
    connect_due(s, now_ns);
    behave(s, now_ns);
    listen_all(s);
    retry_ask(&s->retries);
}

static void share(struct wsb_swarm *s)
{
    const struct swarm_config *c = &s->config;
    s->shared.owner.loop = s->loop;
    s->shared.rng = &s->rng;
    s->shared.source = c->source.at[0] != '\0' ? c->source.at : NULL;
    s->shared.origin = c->origin.at[0] != '\0' ? c->origin.at : NULL;
    s->shared.token = c->token.at[0] != '\0' ? c->token.at : NULL;
    s->shared.subprotocols = c->subprotocols.at[0] != '\0' ? c->subprotocols.at : NULL;
    s->shared.deflate = config_deflate(c->deflate, c->deflate_takeover, DEFLATE_BITS_MAX);
    s->shared.sock = (struct sock_options){.receive_buffer = c->receive_buffer};
    s->shared.limits.max_message = c->max_message;
    if (c->cookies || c->identify) {
        s->shared.ask = on_request;
        s->shared.answered = on_answered;
    }
    s->shared.opened = on_opened;
    s->shared.message = on_message;
    s->shared.ended = on_ended;
    s->shared.url = s->aim.url[0];
    s->shared.aim = on_aim;
    s->cutter.target = on_target;
}

/* 0 also without TLS. */
static int prepare_tls(struct wsb_swarm *s, char *why, size_t why_size)
{
    const struct swarm_config *c = &s->config;
    struct tls_options options = {.ca = c->tls_ca.at,
                                  .name = s->aim.url[0].host,
                                  .verify = c->tls_verify,
                                  .resume = c->tls_resume,
                                  .only_1_2 = c->tls_max == 0};
    if (!s->aim.url[0].secure)
        return 0;
    s->shared.tls = tls_context_new(&options, why, why_size);
    return s->shared.tls != NULL ? 0 : ERR_TLS;
}

static int prepare_retries(struct wsb_swarm *s, const struct wsb_swarm_events *events, char *why,
                           size_t why_size)
{
    int err = retry_configure(&s->retries, &s->config, why, why_size);
    if (err < 0)
        return err;
    if (s->retries.policy == RETRY_SCRIPT && (events == NULL || events->retries == NULL)) {
        snprintf(why, why_size, "reconnect: 'script' is not accepted without somebody to ask; give another");
        return ERR_OPTION_VALUE;
    }
    s->retries.again = on_again;
    s->retries.over = on_over;
    s->retries.ask = on_ask;
    return 0;
}

static void make_clients(struct wsb_swarm *s)
{
    s->client = mem_zero(s->config.clients * sizeof *s->client);
    for (uint64_t i = 0; i < s->config.clients; i++) {
        link_init(&s->client[i].link);
        retry_init(&s->client[i].retry, &s->retries);
    }
    link_init(&s->coming);
    link_init(&s->up);
}

struct wsb_swarm *wsb_swarm_new(struct ev_loop *loop, const char *const *settings,
                                const struct wsb_swarm_events *events, char *why, size_t why_size)
{
    struct wsb_swarm *s = mem_zero(sizeof *s);
    config_defaults(ROLE_SWARM, &s->config);
    if (config_set_all(ROLE_SWARM, &s->config, settings, false, why, why_size) < 0 ||
        !config_check_swarm(&s->config, why, why_size) ||
        aim_configure(&s->aim, &s->config, why, why_size) < 0 ||
        prepare_retries(s, events, why, why_size) < 0 || prepare_tls(s, why, why_size) < 0)
        goto failed;
    if (resume_start(&s->resume, &s->config) < 0) {
        snprintf(why, why_size, "record: '%s': %s", s->config.record.at, strerror(errno));
        goto no_record;
    }
    s->loop = loop_new(loop);
    s->feed_owner = (struct feed_owner){on_publish, on_finished};
    s->feed = feed_new(s->loop, &s->feed_owner);
    if (s->feed == NULL) {
        snprintf(why, why_size, "timerfd_create: %s", strerror(errno));
        goto no_feed;
    }
    if (events != NULL)
        s->events = *events;
    rng_seed(&s->rng, s->config.seed);
    share(s);
    retry_start(&s->retries, s->loop, &s->config);
    aim_start(&s->aim, &s->config);
    make_clients(s);
    s->unbounded = true;
    s->connect_ns = loop_now_ns(s->loop);
    ev_timer_init(&s->tick, on_tick, 0, 1.0 / TICKS_A_SECOND);
    s->tick.data = s;
    ev_timer_start(loop, &s->tick);
    return s;
no_feed:
    loop_free(s->loop);
    resume_stop(&s->resume);
no_record:
    tls_context_free(s->shared.tls);
failed:
    free(s);
    return NULL;
}

int wsb_swarm_set(struct wsb_swarm *s, const char *const *settings, char *why, size_t why_size)
{
    return config_set_all(ROLE_SWARM, &s->config, settings, true, why, why_size);
}

int wsb_swarm_retry(struct wsb_swarm *s, const char *const *answers, char *why, size_t why_size)
{
    uint64_t client, wait_ns;
    for (const char *const *at = answers; at != NULL && *at != NULL; at++) {
        if (retry_read_answer(*at, &client, &wait_ns) < 0 || client >= s->config.clients) {
            snprintf(why, why_size, "retry: '%s' is not accepted; give CLIENT=MS or CLIENT=never", *at);
            return ERR_OPTION_VALUE;
        }
    }
    for (; answers != NULL && *answers != NULL; answers++)
        if (retry_read_answer(*answers, &client, &wait_ns) == 0)
            retry_answer(&s->client[client].retry, wait_ns);
    return 0;
}

void wsb_swarm_start(struct wsb_swarm *s)
{
    const struct swarm_config *c = &s->config;
    struct feed_plan plan = {.rate = c->publish_rate,
                             .poisson = c->arrival == 1,
                             .size = c->publish_size,
                             .duration_ns = c->publish_duration,
                             .publisher = (uint32_t)c->publisher,
                             .seed = c->seed};
    if (s->start_ns > 0 || s->stopping)
        return;
    s->start_ns = loop_refresh(s->loop);
    feed_run(s->feed, &plan, s->start_ns);
    cutter_start(&s->cutter, s->loop, c);
}

void wsb_swarm_stop(struct wsb_swarm *s, void (*done)(void *arg), void *arg)
{
    struct feed_plan none = {.size = STAMP_SIZE};
    s->stopping = true;
    s->stop_ns = loop_refresh(s->loop);
    s->done = done;
    s->done_arg = arg;
    feed_run(s->feed, &none, s->stop_ns);
    count_set(COUNT_clients_stalled, 0);
    cutter_stop(&s->cutter);
    record_flush(s->resume.record);
    for (uint64_t i = 0; i < s->started; i++) {
        retry_cancel(&s->client[i].retry);
        client_close(&s->client[i].client, 1000);
    }
}

void wsb_swarm_free(struct wsb_swarm *s)
{
    if (s == NULL)
        return;
    ev_timer_stop(loop_ev(s->loop), &s->tick);
    feed_free(s->feed);
    for (struct link *l; (l = list_take(&s->up)) != NULL;)
        note_loss(s, LIST_OF(l, struct swarm_client, link), 1006, true);
    for (uint64_t i = 0; i < s->started; i++) {
        retry_cancel(&s->client[i].retry);
        client_release(&s->client[i].client);
        returning_free(&s->client[i].returning);
    }
    retry_stop(&s->retries);
    cutter_free(&s->cutter);
    resume_stop(&s->resume);
    aim_stop(&s->aim);
    loop_free(s->loop);
    tls_context_free(s->shared.tls);
    deflaters_free(&s->shared.deflaters);
    free(s->client);
    free(s);
}
