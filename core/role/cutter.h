/* Cuts connections at random times: the schedule is settled by the seed, whatever becomes of the clients.
 *
 * A third of all cuts are made on the way back from another one: else hardly any would fall into the short
 * time in which a client connects, upgrades or is sent what it missed. */
#pragma once

#include "role/config.h"
#include "role/record.h"
#include "role/retry.h"
#include "base/rng.h"
#include "net/loop.h"
#include "peer/client.h"

/* LEAVE: the socket stays, unread, for a second, while the client comes back at once. */
enum cut_how { CUT_RESET, CUT_CLOSE, CUT_LEAVE };

struct cut {
    uint64_t due_ns;
    uint64_t client;
    enum cut_how how;
    bool again;        /* once more, on the way back */
    uint64_t again_ns; /* after its next connect() */
    enum cut_how how_again;
};

/* Of what the cuts are drawn. */
struct cut_plan {
    struct rng rng;
    double mean_ns; /* between two that are not a second one */
    uint64_t clients;
    bool twice; /* clients come back */
};

void cut_plan_init(struct cut_plan *p, const struct swarm_config *c);
/* The next one after `after_ns`. */
struct cut cut_plan_next(struct cut_plan *p, uint64_t after_ns);

/* Whom it meets. Of one that waits to come back there is only the wait to cut. */
struct cut_target {
    struct client *client;
    struct retry *retry;
    bool behind; /* it has not got yet all that it missed */
    struct record *record;
};

struct cutter {
    struct loop *loop;
    struct cut_plan plan;
    struct cut next;
    uint64_t end_ns; /* UINT64_MAX: never */
    ev_timer timer;
    ev_timer sweep;        /* closes what was left */
    struct cut_prey *prey; /* of each client; NULL while nothing is cut */
    struct cut_left *left; /* oldest first */
    size_t left_count, left_capacity;
    struct cut_target (*target)(struct cutter *, uint64_t client);
};

/* `target` is set. Without a kill_rate nothing ever happens. */
void cutter_start(struct cutter *k, struct loop *loop, const struct swarm_config *c);
/* No more cuts; sockets that were left stay for their second. */
void cutter_stop(struct cutter *k);
void cutter_free(struct cutter *k);

/* An attempt has begun. */
void cutter_connecting(struct cutter *k, uint64_t client);
/* An attempt or connection has ended; whether it was cut, and whether it comes back at once. */
bool cutter_ended(struct cutter *k, uint64_t client, bool *ret_at_once);
