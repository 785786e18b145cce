#include "role/retry.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/count.h"
#include "base/err.h"
#include "base/fnv.h"

#include <stdio.h>
#include <stdlib.h>

/* The order of the choices of reconnect and reconnect_jitter. */
enum { CHOICE_NONE, CHOICE_FIXED, CHOICE_EXPONENTIAL, CHOICE_DECORRELATED, CHOICE_LIST, CHOICE_SCRIPT };
_Static_assert(BACKOFF_LIST == CHOICE_LIST - CHOICE_FIXED, "the shapes stand in the order of the choices");

/* Retry-After counts whole seconds: without this, those refused in the same second would come in one. */
static const uint64_t RETRY_AFTER_SPREAD_NS = NS_PER_S;

static int read_delays(struct backoff *b, const char *text, char *why, size_t why_size)
{
    char one[64];
    for (bool more = *text != '\0'; more; text += *text == ',') {
        size_t size = strcspn(text, ",");
        double ns;
        snprintf(one, sizeof one, "%.*s", (int)size, text);
        if (b->delays == BACKOFF_DELAYS_MAX) {
            snprintf(why, why_size, "reconnect_delays: '%s' is one too many; give at most %d", one,
                     BACKOFF_DELAYS_MAX);
            return ERR_OPTION_VALUE;
        }
        if (size >= sizeof one || units_parse(UNIT_DURATION, one, &ns) < 0) {
            snprintf(why, why_size, "reconnect_delays: '%s' is not accepted; give %s", one,
                     units_accepted(UNIT_DURATION));
            return ERR_OPTION_VALUE;
        }
        b->delay_ns[b->delays++] = (uint64_t)ns;
        text += size;
        more = *text == ',';
    }
    return 0;
}

/* The first thing that is wrong with the numbers, or NULL. */
static const char *fault_of(const struct swarm_config *c, size_t delays)
{
    bool grows = c->reconnect == CHOICE_EXPONENTIAL || c->reconnect == CHOICE_DECORRELATED;
    if (grows && c->reconnect_base == 0)
        return "reconnect_base: 0 is not accepted with exponential and decorrelated; give more";
    if (grows && c->reconnect_cap < c->reconnect_base)
        return "reconnect_cap: less than reconnect_base is not accepted; give more";
    if (c->reconnect == CHOICE_EXPONENTIAL && c->reconnect_factor < 1)
        return "reconnect_factor: less than 1 is not accepted; give 1 or more";
    if (c->reconnect == CHOICE_LIST && delays == 0)
        return "reconnect_delays: '' is not accepted with list; give durations such as 100ms,1s,5s";
    if (c->reconnect_jitter == JITTER_SPREAD && c->reconnect_spread > 1)
        return "reconnect_spread: more than 100% is not accepted; give less";
    if (c->reconnect == CHOICE_SCRIPT && c->reconnect_window > 0)
        return "reconnect_window: not accepted with script, which decides itself; give 0";
    return NULL;
}

int retry_configure(struct retry_shared *s, const struct swarm_config *c, char *why, size_t why_size)
{
    struct backoff *b = &s->backoff;
    *b = (struct backoff){.base_ns = c->reconnect_base,
                          .cap_ns = c->reconnect_cap,
                          .factor = c->reconnect_factor,
                          .jitter = (enum backoff_jitter)c->reconnect_jitter,
                          .spread = c->reconnect_spread,
                          .added_ns = c->reconnect_added,
                          .jitter_from = c->reconnect_jitter_from,
                          .window_ns = c->reconnect_window};
    int err = read_delays(b, c->reconnect_delays.at, why, why_size);
    if (err < 0)
        return err;
    const char *fault = fault_of(c, b->delays);
    if (fault != NULL) {
        snprintf(why, why_size, "%s", fault);
        return ERR_OPTION_VALUE;
    }
    s->policy = RETRY_NEVER;
    if (c->reconnect == CHOICE_SCRIPT) {
        s->policy = RETRY_SCRIPT;
    } else if (c->reconnect != CHOICE_NONE) {
        s->policy = RETRY_BACKOFF;
        b->shape = (enum backoff_shape)(c->reconnect - CHOICE_FIXED);
    }
    s->honour = c->reconnect_honour;
    s->attempts = c->reconnect_attempts;
    s->budget = c->reconnect_budget;
    return 0;
}

struct retry_wait {
    struct retry *retry;
    ev_timer timer;
    struct link link; /* until the owner was asked */
    uint64_t due_ns;
};

static void ask_now(struct turn *t)
{
    struct retry_shared *s = LIST_OF(t, struct retry_shared, turn);
    struct retry *asked[RETRY_ASKED_MAX];
    while (!list_empty(&s->asking)) {
        size_t count = 0;
        for (struct link *at = s->asking.next; at != &s->asking && count < RETRY_ASKED_MAX; at = at->next)
            asked[count++] = LIST_OF(at, struct retry_wait, link)->retry;
        if (!s->ask(s, asked, count))
            return;
        for (size_t i = 0; i < count; i++)
            if (asked[i]->wait != NULL)
                link_remove(&asked[i]->wait->link);
    }
}

/* Cohorts of the same seed do not wait in step. */
void retry_start(struct retry_shared *s, struct loop *loop, const struct swarm_config *c)
{
    s->loop = loop;
    link_init(&s->asking);
    turn_init(&s->turn, ask_now);
    rng_seed(&s->rng, fnv_add(FNV_START, c->cohort.at, strlen(c->cohort.at)) ^ c->seed);
}

void retry_stop(struct retry_shared *s)
{
    turn_cancel(&s->turn);
}

void retry_ask(struct retry_shared *s)
{
    if (!list_empty(&s->asking))
        loop_at_turn_end(s->loop, &s->turn);
}

static void arm(struct retry_wait *w, uint64_t now_ns)
{
    double after_s = w->due_ns > now_ns ? (double)(w->due_ns - now_ns) / NS_PER_S : 0;
    ev_timer_set(&w->timer, after_s, 0);
    ev_timer_start(loop_ev(w->retry->shared->loop), &w->timer);
}

static void leave(struct retry *r)
{
    free(r->wait);
    r->wait = NULL;
    r->state = RETRY_IDLE;
    count_sub(COUNT_clients_waiting, 1);
}

/* libev counts from the start of its turn, which may be a while ago. */
static void on_time(EV_P_ ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct retry_wait *w = LIST_OF(timer, struct retry_wait, timer);
    struct retry *r = w->retry;
    uint64_t now_ns = loop_refresh(r->shared->loop);
    if (now_ns < w->due_ns) {
        arm(w, now_ns);
        return;
    }
    leave(r);
    r->shared->again(r);
}

void retry_init(struct retry *r, struct retry_shared *s)
{
    *r = (struct retry){.shared = s};
}

static void enter(struct retry *r)
{
    r->wait = mem_zero(sizeof *r->wait);
    r->wait->retry = r;
    link_init(&r->wait->link);
    ev_timer_init(&r->wait->timer, on_time, 0, 0);
    count_add(COUNT_clients_waiting, 1);
}

static void wait(struct retry *r, uint64_t wait_ns)
{
    uint64_t now_ns = loop_now_ns(r->shared->loop);
    uint64_t due_ns = backoff_pay(&r->budget, r->shared->budget, now_ns + wait_ns);
    count_add(COUNT_clients_over_budget, due_ns > now_ns + wait_ns);
    r->wait->due_ns = due_ns;
    r->waited_ns = due_ns - now_ns;
    r->state = RETRY_WAITING;
    arm(r->wait, now_ns);
}

/* As the server said, or UINT64_MAX. */
static uint64_t told_to_wait(struct retry_shared *s, const struct client_heard *heard)
{
    double chance = rng_unit(&s->rng);
    if (!s->honour || (heard->retry_after_ns == 0 && heard->window_ns == 0))
        return UINT64_MAX;
    count_add(COUNT_clients_told_to_wait, 1);
    if (heard->retry_after_ns > 0)
        return heard->retry_after_ns + (uint64_t)(chance * (double)RETRY_AFTER_SPREAD_NS);
    return (uint64_t)(chance * (double)heard->window_ns);
}

void retry_after(struct retry *r, int code, const struct client_heard *heard)
{
    struct retry_shared *s = r->shared;
    if (s->policy == RETRY_NEVER || (s->attempts > 0 && r->backoff.attempts >= s->attempts)) {
        count_add(COUNT_clients_given_up, s->policy != RETRY_NEVER);
        s->over(r);
        return;
    }
    enter(r);
    r->code = heard->status > 0 ? heard->status : code;
    uint64_t told_ns = told_to_wait(s, heard);
    if (told_ns != UINT64_MAX) {
        r->backoff.attempts++;
        wait(r, told_ns);
    } else if (s->policy == RETRY_SCRIPT) {
        r->backoff.attempts++;
        r->state = RETRY_ASKED;
        list_append(&s->asking, &r->wait->link);
        retry_ask(s);
    } else {
        wait(r, backoff_next(&s->backoff, &r->backoff, &s->rng));
    }
}

void retry_opened(struct retry *r)
{
    r->backoff = (struct backoff_state){0};
    r->waited_ns = 0;
}

void retry_cancel(struct retry *r)
{
    if (r->state == RETRY_IDLE)
        return;
    ev_timer_stop(loop_ev(r->shared->loop), &r->wait->timer);
    link_remove(&r->wait->link);
    leave(r);
}

int retry_read_answer(const char *text, uint64_t *ret_client, uint64_t *ret_wait_ns)
{
    char client[32], wait[32];
    const char *equals = strchr(text, '=');
    double id, ns = 0;
    if (equals == NULL || strlen(text) >= sizeof client)
        return ERR_OPTION_VALUE;
    snprintf(client, sizeof client, "%.*s", (int)(equals - text), text);
    snprintf(wait, sizeof wait, "%.28sms", equals + 1);
    bool never = strcmp(equals + 1, "never") == 0;
    if (units_parse(UNIT_COUNT, client, &id) < 0 || (!never && units_parse(UNIT_DURATION, wait, &ns) < 0))
        return ERR_OPTION_VALUE;
    *ret_client = (uint64_t)id;
    *ret_wait_ns = never ? UINT64_MAX : (uint64_t)ns;
    return 0;
}

void retry_answer(struct retry *r, uint64_t wait_ns)
{
    if (r->state != RETRY_ASKED)
        return;
    link_remove(&r->wait->link);
    if (wait_ns != UINT64_MAX) {
        wait(r, wait_ns);
        return;
    }
    leave(r);
    count_add(COUNT_clients_given_up, 1);
    r->shared->over(r);
}
