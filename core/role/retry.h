/* Clients that wait to connect again: how long, and who says so. The server may, where it is honoured; else
 * a policy does, or the owner is asked.
 *
 *     retry_after -> WAITING -> again()
 *        |             ^
 *        |             | retry_answer
 *        +-> ASKED ----+
 *        |             |
 *        +-------------+-> over()
 *
 * A wait is never cut short: the timer's millisecond comes on top. */
#pragma once

#include "role/config.h"
#include "base/backoff.h"
#include "net/loop.h"
#include "peer/client.h"

enum retry_state { RETRY_IDLE, RETRY_WAITING, RETRY_ASKED };

/* The most whom `ask` is called for at once. */
enum { RETRY_ASKED_MAX = 200 };

struct retry;

/* What the clients of one swarm share. */
struct retry_shared {
    struct loop *loop;
    struct rng rng; /* of its own: the waits do not depend on what is sent meanwhile */
    struct backoff backoff;
    enum retry_policy { RETRY_NEVER, RETRY_BACKOFF, RETRY_SCRIPT } policy;
    bool honour;       /* what the server says */
    uint64_t attempts; /* after which a client gives up, 0: never */
    uint64_t budget;   /* attempts a minute, 0: no limit */
    struct link asking;
    struct turn turn;
    void (*again)(struct retry *); /* its time has come */
    void (*over)(struct retry *);  /* it will not try again */
    /* Asks the owner about them; false when that cannot be done now, see retry_ask. Of RETRY_SCRIPT only. */
    bool (*ask)(struct retry_shared *, struct retry *const *asked, size_t count);
};

/* One client's. What it takes to wait is there only meanwhile: most clients never do. */
struct retry {
    struct retry_shared *shared;
    struct retry_wait *wait; /* NULL while IDLE */
    struct backoff_state backoff;
    struct backoff_budget budget;
    uint64_t waited_ns; /* before the last attempt, 0 before the first */
    enum retry_state state;
    int code; /* of the last end: an HTTP status where it was refused with one */
};

/* Fills in what the options say. ERR_OPTION_VALUE with `why` where they do not fit together. */
int retry_configure(struct retry_shared *s, const struct swarm_config *c, char *why, size_t why_size);
/* Once the loop is there and the callbacks are set. */
void retry_start(struct retry_shared *s, struct loop *loop, const struct swarm_config *c);
/* Nobody is asked any more; the clients have been cancelled before. */
void retry_stop(struct retry_shared *s);

void retry_init(struct retry *r, struct retry_shared *s);
/* The client's connection, or its attempt, has ended so; calls over() where it was the last. */
void retry_after(struct retry *r, int code, const struct client_heard *heard);
/* It is open: what comes is a first attempt again. */
void retry_opened(struct retry *r);
/* It waits no more, and will not try again. */
void retry_cancel(struct retry *r);
/* Reads "CLIENT=MS" or "CLIENT=never", for which wait_ns is UINT64_MAX. */
int retry_read_answer(const char *text, uint64_t *ret_client, uint64_t *ret_wait_ns);
/* The owner's answer; UINT64_MAX: never. Without effect on a client that does not wait for one. */
void retry_answer(struct retry *r, uint64_t wait_ns);
/* Asks, at the end of the turn, about those that could not be asked about before. */
void retry_ask(struct retry_shared *s);
