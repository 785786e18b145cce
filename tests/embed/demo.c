/* What somebody writes who embeds wsb: a server and a swarm on one loop, with nothing but wsb.h and libev.
 * Prints what arrived and exits with 0 when that is all there was to arrive. */
#include <wsb.h>

#include <ev.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLIENTS = 3, MESSAGES = 20 };

struct demo {
    struct ev_loop *loop;
    struct wsb_server *server;
    struct wsb_swarm *swarm;
    ev_timer look;
};

static uint64_t count(const char *name)
{
    uint64_t value;
    if (wsb_count(name, &value))
        return value;
    fprintf(stderr, "no counter %s\n", name);
    exit(1);
}

static void server_is_done(void *arg)
{
    struct demo *d = arg;
    ev_break(d->loop, EVBREAK_ALL);
}

static void swarm_is_done(void *arg)
{
    struct demo *d = arg;
    wsb_server_stop(d->server, server_is_done, d);
}

/* A message of ours to every client, and one of the swarm's to every client but its sender. */
static void look(EV_P_ ev_timer *timer, int events)
{
    (void)events;
    struct demo *d = timer->data;
    if (count("messages_foreign") < CLIENTS || count("messages_received") < MESSAGES * (CLIENTS - 1))
        return;
    ev_timer_stop(loop, timer);
    wsb_swarm_stop(d->swarm, swarm_is_done, d);
}

static void connected(void *arg, uint64_t opened, uint64_t failed)
{
    struct demo *d = arg;
    printf("opened %" PRIu64 " failed %" PRIu64 "\n", opened, failed);
    printf("published to %" PRIu32 "\n", wsb_server_publish(d->server, "/feed", "hello", strlen("hello")));
    wsb_swarm_start(d->swarm);
    ev_timer_start(d->loop, &d->look);
}

static void *or_die(void *made, const char *why)
{
    if (made != NULL)
        return made;
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static void try_settings(struct demo *d)
{
    char why[256] = "";
    const char *const good[] = {"high_water_mark=256KiB", "on_overflow=drop-oldest", NULL};
    const char *const bad[] = {"high_water_mark=plenty", NULL};
    printf("set %d\n", wsb_server_set(d->server, good, why, sizeof why));
    int err = wsb_server_set(d->server, bad, why, sizeof why);
    printf("refused: %s: %s\n", wsb_error_text(err), why);
}

int main(void)
{
    char why[256], url[64];
    struct demo d = {.loop = ev_default_loop(0)};
    struct wsb_swarm_events events = {.connected = connected, .arg = &d};
    const char *const server[] = {"port=0", "log=warn", NULL};
    d.server = or_die(wsb_server_new(d.loop, server, why, sizeof why), why);
    snprintf(url, sizeof url, "url=ws://127.0.0.1:%u/feed", wsb_server_port(d.server));
    const char *const swarm[] = {url, "clients=3", "publish_rate=200/s", "publish_duration=100ms", NULL};
    ev_timer_init(&d.look, look, 0.01, 0.01);
    d.look.data = &d;
    d.swarm = or_die(wsb_swarm_new(d.loop, swarm, &events, why, sizeof why), why);
    try_settings(&d);
    ev_run(d.loop, 0);
    wsb_swarm_free(d.swarm);
    wsb_server_free(d.server);
    printf("received %" PRIu64 ", open %" PRIu64 "\n", count("messages_received"), count("connections_open"));
    ev_loop_destroy(d.loop);
    return 0;
}
