/* The broadcast server: door -> ws -> hub -> ws, joined with their options, a feed of its own, and an end.
 *
 *     SERVING -> LEAVING (drain or stop: no door, closes under way) -> done() */
#include "role/config.h"
#include "role/feed.h"
#include "role/pace.h"
#include "role/relay.h"
#include "role/session.h"
#include "base/clock.h"
#include "base/count.h"
#include "base/err.h"
#include "base/log.h"
#include "base/rng.h"
#include "net/batch.h"
#include "net/loop.h"
#include "net/sock.h"
#include "net/tls.h"
#include "peer/door.h"
#include "peer/ws.h"
#include "wire/http1.h"
#include "wire/message.h"
#include "wire/origin.h"
#include "wire/redis_url.h"
#include "wire/token.h"
#include "wire/upgrade.h"
#include "wsb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A replay of history comes in messages of this size. */
enum { WELCOME_MESSAGE = 16 * 1024 };

struct wsb_server {
    struct server_config config;
    struct loop *loop;
    struct hub *hub;
    struct ws_shared shared;
    struct deflaters deflaters;
    struct address_table *addresses;
    struct tls_context *tls; /* NULL: plain */
    struct relay_owner relay_owner;
    struct relay *relay;           /* NULL: alone */
    struct tls_context *redis_tls; /* NULL: plain */
    struct session_owner session_owner;
    struct session_table *sessions; /* NULL: none are kept */
    struct door_owner door_owner;
    struct door_config door_config;
    struct door *door;
    struct feed_owner feed_owner;
    struct feed *feed;
    struct cast welcome; /* its payload is welcome_text; its frames are of this turn */
    char welcome_text[WELCOME_MESSAGE];
    ev_timer tick;
    struct rng rng;
    struct pace pace;
    uint16_t port;
    int leaving; /* the ERR_ that connections are closed with, 0 while serving */
    uint64_t leave_until_ns, leave_window_ns;
    uint64_t leave_count; /* connections that were open when it began */
    void (*done)(void *);
    void *done_arg;
};

static struct blob *encode(const struct cast *cast, unsigned format)
{
    struct wsb_server *s = cast->owner;
    if (format != CAST_PLAIN)
        return conn_deflate(cast, deflaters_get(&s->deflaters, format), false);
    struct blob *frame = message_frame(cast->text ? FRAME_TEXT : FRAME_BINARY, cast->payload.at,
                                       cast->payload.size, NULL, cast->now_ns);
    frame->key = cast->key;
    return frame;
}

static struct cast cast_of(struct wsb_server *s, struct slice payload, bool text, uint64_t key)
{
    return (struct cast){.payload = payload,
                         .text = text,
                         .key = key,
                         .now_ns = loop_now_ns(s->loop),
                         .encode = encode,
                         .owner = s};
}

static void on_relay(struct relay_owner *owner, const struct relay_message *m)
{
    struct wsb_server *s = LIST_OF(owner, struct wsb_server, relay_owner);
    struct cast cast = cast_of(s, m->payload, m->text, cast_key(m->topic));
    cast.offset = m->offset;
    cast.sender = m->sender;
    hub_publish(s->hub, m->topic, &cast, m->except);
    cast_done(&cast);
}

static void on_relay_one(struct relay_owner *owner, struct ws *to, struct slice payload, bool text)
{
    struct cast cast = cast_of(LIST_OF(owner, struct wsb_server, relay_owner), payload, text, 0);
    ws_send(to, &cast);
    cast_done(&cast);
}

static bool wants(struct ws_shared *shared, struct ws *w, const struct cast *cast)
{
    (void)shared;
    return relay_wants(ws_held(w), cast);
}

static void left(struct ws_shared *shared, void *held)
{
    (void)shared;
    relay_left(held);
}

static void on_message(struct ws_shared *shared, struct ws *from, const struct message *message)
{
    struct wsb_server *s = LIST_OF(shared, struct wsb_server, shared);
    struct member *member = ws_member(from);
    struct slice payload = {(const char *)message->at, message->size};
    bool text = message->kind == MESSAGE_TEXT;
    count_add(COUNT_messages_published, 1);
    if (s->relay != NULL) {
        relay_publish(s->relay,
                      member->topic != NULL ? hub_topic_name(member->topic) : relay_topic_of(ws_held(from)),
                      payload, text, from);
        return;
    }
    struct cast cast = cast_of(s, payload, text, ws_key(from));
    hub_publish_to(s->hub, member->topic, &cast, s->config.echo ? NULL : member);
    cast_done(&cast);
}

static uint32_t publish(struct wsb_server *s, struct slice topic, struct slice payload, uint64_t key)
{
    count_add(COUNT_messages_published, 1);
    if (s->relay != NULL) {
        relay_publish(s->relay, topic, payload, true, NULL);
        return hub_members(s->hub, topic);
    }
    struct cast cast = cast_of(s, payload, true, key);
    uint32_t handed = hub_publish(s->hub, topic, &cast, NULL);
    cast_done(&cast);
    return handed;
}

static void on_feed(struct feed_owner *owner, const struct stamp *stamp, struct slice payload)
{
    struct wsb_server *s = LIST_OF(owner, struct wsb_server, feed_owner);
    const char *topic = s->config.feed_topic.at;
    uint64_t now_ns = loop_now_ns(s->loop);
    if (now_ns > stamp->intended_ns)
        count_add(COUNT_feed_late_ns, now_ns - stamp->intended_ns);
    publish(s, (struct slice){topic, strlen(topic)}, payload, 1 + stamp->sequence % s->config.feed_keys);
}

static int admit(struct door_owner *owner, const struct arrival *a)
{
    struct wsb_server *s = LIST_OF(owner, struct wsb_server, door_owner);
    const struct server_config *c = &s->config;
    if (c->path.at[0] != '\0' && !slice_is(a->path, c->path.at))
        return ERR_HTTP_NOT_FOUND;
    if (!origin_allowed((struct slice){c->origins.at, strlen(c->origins.at)},
                        http1_value(a->request, "Origin")))
        return ERR_ORIGIN;
    if (!token_matches(c->subscribe_token.at, a->request, a->query) &&
        (c->publish_token.at[0] == '\0' || !token_matches(c->publish_token.at, a->request, a->query)))
        return ERR_TOKEN;
    if (c->max_per_address > 0 && address_count(a->address) > c->max_per_address)
        return ERR_ADDRESS;
    return s->shared.open_count >= c->max_connections ? ERR_CAPACITY : 0;
}

/* The same bytes for all that come in during one turn. */
static struct cast welcome_of(struct wsb_server *s, size_t size)
{
    return cast_of(s, (struct slice){s->welcome_text, size}, true, cast_key(SLICE("welcome")));
}

static void welcome(struct wsb_server *s, struct ws *w)
{
    uint64_t left = s->config.welcome_size;
    if (left == 0)
        return;
    if (s->welcome.now_ns != loop_now_ns(s->loop)) {
        cast_done(&s->welcome);
        s->welcome = welcome_of(s, WELCOME_MESSAGE);
    }
    for (; left >= WELCOME_MESSAGE; left -= WELCOME_MESSAGE)
        ws_send(w, &s->welcome);
    if (left > 0) {
        struct cast last = welcome_of(s, (size_t)left);
        ws_send(w, &last);
        cast_done(&last);
    }
}

static void come_in(struct session_owner *owner, const struct ws_start *start, struct slice session)
{
    struct wsb_server *s = LIST_OF(owner, struct wsb_server, session_owner);
    struct ws *w = ws_open(&s->shared, start);
    if (session.at != NULL) {
        struct cast first = cast_of(s, session, true, start->key);
        ws_send(w, &first);
        cast_done(&first);
    }
    welcome(s, w);
    if (start->held != NULL)
        relay_begin(start->held, w);
    else if (s->relay != NULL)
        relay_want(s->relay, start->topic);
}

/* A publisher names the key of its messages (?key=NAME), or they all have that of their topic. */
static void enter(struct door_owner *owner, const struct arrival *a)
{
    struct wsb_server *s = LIST_OF(owner, struct wsb_server, door_owner);
    struct slice key = http1_query_value(a->query, "key");
    struct ws_start start = {
        .stream = a->stream,
        .address = a->address,
        .topic = a->path,
        .key = cast_key(key.at != NULL ? key : a->path),
        .may_publish = token_matches(s->config.publish_token.at, a->request, a->query),
        .deflate = a->deflate,
        .rest = a->rest,
        .rest_size = a->rest_size,
        .turned_away = a->turned_away,
    };
    start.held = s->relay != NULL && s->sessions == NULL ? relay_arrive(s->relay, a->path, a->query) : NULL;
    if (s->sessions == NULL || !session_enter(s->sessions, &start, a->query))
        come_in(&s->session_owner, &start, (struct slice){0});
}

/* What the other rooms see of the options. */
static void apply(struct wsb_server *s)
{
    const struct server_config *c = &s->config;
    log_set_level((enum log_level)c->log);
    s->shared.overflow = (struct overflow_rules){
        .policy = {c->high_water_mark, (enum overflow)c->on_overflow}, .gap_notice = c->gap_notice};
    s->shared.copy = c->queue == 1;
    s->shared.budget = c->queue_budget;
    s->shared.evict_grace_ns = c->evict_grace;
    s->shared.limits = (struct conn_limits){c->max_message, (uint32_t)c->max_fragments};
    s->shared.message_rate = c->message_rate;
    s->shared.byte_rate = c->byte_rate;
    s->shared.message_timeout_ns = c->message_timeout;
    s->shared.idle_timeout_ns = c->idle_timeout;
    s->shared.deflate_min = c->deflate_min;
    s->shared.addresses = s->addresses;
    s->shared.slow_after_ns = c->slow_after;
    s->shared.ping_interval_ns = c->ping_interval;
    s->shared.ping_timeout_ns = c->ping_timeout;
    s->shared.reconnect_window_ns = c->reconnect_window;
    const uint64_t looked_for[] = {c->ping_interval, c->ping_timeout, c->message_timeout, c->idle_timeout};
    pace_deadlines(&s->pace, looked_for, sizeof looked_for / sizeof *looked_for);
    /* Who is still on the way in when it ends has as long as those that are closed. */
    uint64_t most_ns = s->leaving == 0 ? UINT64_MAX : c->evict_grace;
    s->door_config = (struct door_config){
        .head = {.bytes = c->max_head, .headers = c->max_headers},
        .max_handshakes = c->max_handshakes,
        .tls_timeout_ns = least(c->tls_timeout, most_ns),
        .handshake_timeout_ns = least(c->handshake_timeout, most_ns),
        .gate = {.sock = {c->send_buffer, c->receive_buffer, c->notsent_lowat}, .rate = c->accept_rate},
        .lookup = {.slots = c->auth_slots, .time_ns = c->auth_time},
        .lookup_queue = c->auth_queue,
        .lookup_overflow = (enum door_overflow)c->auth_overflow,
        .skip_abandoned = c->auth_abandoned == 1,
        .reconnect_window_ns = c->reconnect_window,
        .tls = s->tls,
        .addresses = s->addresses,
        .deflate = config_deflate(c->deflate, c->deflate_takeover, c->deflate_bits),
        .subprotocols = c->subprotocols.at,
    };
}

static void run_feed(struct wsb_server *s, double rate)
{
    struct feed_plan plan = {.rate = rate, .size = s->config.feed_size, .by_clock = s->config.feed_by_clock};
    feed_run(s->feed, &plan, loop_refresh(s->loop));
}

/* Closes what is due: as many stay open as there is time left, and none at leave_until. */
static void leave_step(struct wsb_server *s)
{
    uint64_t now_ns = loop_now_ns(s->loop);
    uint64_t keep = 0;
    if (now_ns < s->leave_until_ns)
        keep = (uint64_t)((double)s->leave_count * (double)(s->leave_until_ns - now_ns) /
                          (double)s->leave_window_ns);
    while (s->shared.open_count > keep)
        ws_close(ws_first_open(&s->shared), s->leaving);
}

static struct paced connections(const struct wsb_server *s)
{
    return (struct paced){s->shared.busy_count, s->shared.open_count - s->shared.busy_count};
}

/* At random around the pace: in step with a publisher, sampling would always see the same moment of its
 * period. Only ever sooner than it is due already, however often that is asked for. */
static void schedule_tick(struct wsb_server *s)
{
    const struct server_config *c = &s->config;
    bool urgent = s->leaving != 0 || s->relay != NULL || !door_calm(s->door);
    uint64_t shortest_ns = least(least(c->tls_timeout, c->handshake_timeout), c->evict_grace);
    double next_s = pace_tick_s(&s->pace, connections(s), urgent, shortest_ns) * (0.5 + rng_unit(&s->rng));
    if (ev_is_active(&s->tick) && ev_timer_remaining(loop_ev(s->loop), &s->tick) <= next_s)
        return;
    ev_timer_stop(loop_ev(s->loop), &s->tick);
    ev_timer_set(&s->tick, next_s, 0);
    ev_timer_start(loop_ev(s->loop), &s->tick);
}

static void on_tick(EV_P_ ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct wsb_server *s = timer->data;
    schedule_tick(s);
    if (s->relay != NULL)
        relay_tick(s->relay);
    ws_expire(&s->shared);
    struct paced due = pace_samples(&s->pace, connections(s), loop_now_ns(s->loop));
    ws_sample(&s->shared, due.busy, due.others);
    door_tick(s->door);
    if (s->leaving == 0)
        return;
    leave_step(s);
    if (ws_none_left(&s->shared) && session_none_waiting(s->sessions) && door_empty(s->door) &&
        s->done != NULL) {
        void (*done)(void *) = s->done;
        s->done = NULL;
        done(s->done_arg);
    }
}

static int listen_at(struct wsb_server *s, char *why, size_t why_size)
{
    const struct server_config *c = &s->config;
    int fd = (c->reuse_port ? sock_listen_shared : sock_listen)(c->host.at, (uint16_t)c->port,
                                                                (int)c->backlog, c->receive_buffer);
    if (fd == ERR_OPTION_VALUE)
        snprintf(why, why_size, "host: '%s' is not accepted; give a numeric address or localhost",
                 c->host.at);
    else if (fd < 0)
        snprintf(why, why_size, "cannot listen on %s port %llu: %s", c->host.at, (unsigned long long)c->port,
                 strerror(errno));
    return fd;
}

/* 0 also without TLS. */
static int prepare_tls(struct wsb_server *s, char *why, size_t why_size)
{
    const struct server_config *c = &s->config;
    struct tls_options options = {.server = true,
                                  .certificate = c->tls.at,
                                  .auto_rsa = c->tls_auto_key == 1,
                                  .key = c->tls_key.at,
                                  .resume = c->tls_tickets && c->tls_ticket_lifetime > 0,
                                  .ticket_lifetime_ns = c->tls_ticket_lifetime,
                                  .only_1_3 = c->tls_min == 1};
    if (c->tls.at[0] == '\0')
        return 0;
    s->tls = tls_context_new(&options, why, why_size);
    return s->tls != NULL ? 0 : ERR_TLS;
}

/* 0 also without Redis. */
static int prepare_relay(struct wsb_server *s, char *why, size_t why_size)
{
    const struct server_config *c = &s->config;
    char reason[256];
    struct relay_options options = {.loop = s->loop,
                                    .hub = s->hub,
                                    .owner = &s->relay_owner,
                                    .prefix = c->redis_prefix.at,
                                    .sharded = c->redis_sharded,
                                    .echo = c->echo,
                                    .history = c->history,
                                    .replay_rate = c->replay_rate,
                                    .bug = (enum relay_bug)c->testing_bug};
    if (c->redis.at[0] == '\0')
        return 0;
    if (redis_url_parse(c->redis.at, &options.url, reason, sizeof reason) < 0) {
        snprintf(why, why_size, "redis: %s", reason);
        return ERR_OPTION_VALUE;
    }
    if (options.url.secure) {
        struct tls_options tls = {
            .ca = c->redis_ca.at, .name = options.url.host, .verify = true, .resume = true};
        s->redis_tls = tls_context_new(&tls, why, why_size);
        if (s->redis_tls == NULL)
            return ERR_TLS;
    }
    s->relay_owner = (struct relay_owner){on_relay, on_relay_one};
    s->shared.wants = wants;
    s->shared.left = left;
    options.tls = s->redis_tls;
    s->relay = relay_new(&options);
    return 0;
}

/* 0 also without sessions. */
static int prepare_sessions(struct wsb_server *s, char *why, size_t why_size)
{
    const struct server_config *c = &s->config;
    struct session_options options = {.redis = c->redis.at,
                                      .prefix = c->redis_prefix.at,
                                      .size = c->session_size,
                                      .most = c->sessions,
                                      .addresses = s->addresses};
    s->session_owner.enter = come_in;
    if (c->session_size == 0)
        return 0;
    s->sessions = session_table_new(s->loop, &s->session_owner, &options, why, why_size);
    return s->sessions != NULL ? 0 : ERR_OPTION_VALUE;
}

static void choose_feed_topic(struct server_config *c)
{
    if (c->feed_topic.at[0] == '\0')
        c->feed_topic = c->path;
    if (c->feed_topic.at[0] == '\0')
        c->feed_topic = (struct option_text){"/feed"};
}

static int prepare_batch(struct wsb_server *s, char *why, size_t why_size)
{
    if (s->config.io_uring && batch_open() < 0) {
        snprintf(why, why_size, "io_uring: %s: leave the option out", strerror(errno));
        return ERR_SYSTEM;
    }
    s->shared.owner.batch = s->config.io_uring;
    return 0;
}

static void end_batch(const struct wsb_server *s)
{
    if (s->shared.owner.batch)
        batch_close();
}

struct wsb_server *wsb_server_new(struct ev_loop *loop, const char *const *settings, char *why,
                                  size_t why_size)
{
    struct wsb_server *s = mem_zero(sizeof *s);
    config_defaults(ROLE_SERVER, &s->config);
    if (config_set_all(ROLE_SERVER, &s->config, settings, false, why, why_size) < 0 ||
        !config_check_server(&s->config, why, why_size))
        goto failed;
    choose_feed_topic(&s->config);
    if (prepare_tls(s, why, why_size) < 0)
        goto failed;
    s->addresses = address_table_new();
    s->loop = loop_new(loop);
    s->hub = hub_new();
    ws_shared_init(&s->shared, s->loop, s->hub);
    s->shared.message = on_message;
    s->door_owner = (struct door_owner){admit, enter};
    apply(s);
    s->feed_owner = (struct feed_owner){on_feed, NULL};
    s->feed = feed_new(s->loop, &s->feed_owner);
    if (s->feed == NULL) {
        snprintf(why, why_size, "timerfd_create: %s", strerror(errno));
        goto no_feed;
    }
    if (prepare_batch(s, why, why_size) < 0)
        goto no_door;
    if (prepare_relay(s, why, why_size) < 0 || prepare_sessions(s, why, why_size) < 0)
        goto no_door;
    int fd = listen_at(s, why, why_size);
    if (fd < 0)
        goto no_door;
    s->port = sock_port(fd);
    s->door = door_new(s->loop, fd, &s->door_owner, &s->door_config);
    if (s->door == NULL) {
        snprintf(why, why_size, "timerfd_create: %s", strerror(errno));
        close(fd);
        goto no_door;
    }
    for (size_t i = 0; i < WELCOME_MESSAGE; i++)
        s->welcome_text[i] = (char)('a' + i % 26);
    run_feed(s, s->config.feed_rate);
    log_line(LOG_INFO, "listening on %s port %u", s->config.host.at, s->port);
    rng_seed(&s->rng, clock_now_ns());
    ev_init(&s->tick, on_tick);
    s->tick.data = s;
    schedule_tick(s);
    return s;
no_door:
    relay_free(s->relay);
    session_table_free(s->sessions);
    feed_free(s->feed);
no_feed:
    hub_free(s->hub);
    loop_free(s->loop);
    end_batch(s);
    address_table_free(s->addresses);
    tls_context_free(s->tls);
    tls_context_free(s->redis_tls);
failed:
    free(s);
    return NULL;
}

uint16_t wsb_server_port(const struct wsb_server *s)
{
    return s->port;
}

int wsb_server_set(struct wsb_server *s, const char *const *settings, char *why, size_t why_size)
{
    struct server_config trial = s->config;
    int err = config_set_all(ROLE_SERVER, &trial, settings, true, why, why_size);
    if (err < 0)
        return err;
    if (!config_check_server(&trial, why, why_size))
        return ERR_OPTION_VALUE;
    s->config = trial;
    apply(s);
    schedule_tick(s);
    if (s->leaving == 0)
        run_feed(s, trial.feed_rate);
    return 0;
}

uint32_t wsb_server_publish(struct wsb_server *s, const char *topic, const void *text, size_t size)
{
    struct slice name = {topic, strlen(topic)};
    return publish(s, name, (struct slice){text, size}, cast_key(name));
}

static void leave(struct wsb_server *s, int err, uint64_t window_ns, void (*done)(void *), void *arg)
{
    log_line(LOG_INFO, "%s: closing %llu connections with %d", err_text(err),
             (unsigned long long)s->shared.open_count, err_close_code(err));
    s->leaving = err;
    s->leave_until_ns = loop_refresh(s->loop) + window_ns;
    s->leave_window_ns = window_ns;
    s->leave_count = s->shared.open_count;
    s->done = done;
    s->done_arg = arg;
    if (window_ns == 0)
        run_feed(s, 0); /* else those who are still here go on receiving */
    apply(s);
    session_turn_away(s->sessions, err);
    door_shut(s->door, err);
    leave_step(s);
    schedule_tick(s);
}

void wsb_server_drain(struct wsb_server *s, void (*done)(void *), void *arg)
{
    leave(s, ERR_DRAIN, s->config.drain_window, done, arg);
}

void wsb_server_stop(struct wsb_server *s, void (*done)(void *), void *arg)
{
    leave(s, ERR_STOP, 0, done, arg);
}

int wsb_server_reload(struct wsb_server *s, char *why, size_t why_size)
{
    if (s->tls == NULL) {
        snprintf(why, why_size, "tls: the server has no certificate to read again");
        return ERR_OPTION_VALUE;
    }
    door_reserve(s->door, false);
    int err = tls_context_reload(s->tls, why, why_size);
    door_reserve(s->door, true);
    return err;
}

const char *wsb_server_certificate(const struct wsb_server *s)
{
    return s->tls != NULL ? tls_context_certificate(s->tls) : NULL;
}

void wsb_server_free(struct wsb_server *s)
{
    if (s == NULL)
        return;
    ev_timer_stop(loop_ev(s->loop), &s->tick);
    feed_free(s->feed);
    door_free(s->door);
    session_table_free(s->sessions);
    ws_reset_all(&s->shared);
    cast_done(&s->welcome);
    relay_free(s->relay);
    loop_free(s->loop);
    hub_free(s->hub);
    address_table_free(s->addresses);
    tls_context_free(s->tls);
    tls_context_free(s->redis_tls);
    deflaters_free(&s->deflaters);
    end_batch(s);
    free(s);
}
