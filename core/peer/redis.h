/* One connection to a Redis, which comes back by itself.
 *
 *     redis_new -> IDLE -> CONNECTING -> SECURING -> GREETING -> UP
 *                             ^             |            |        |     GREETING: AUTH, SELECT, CLIENT
 * SETNAME
 *                             +---- DOWN <--+------------+--------+
 *
 * It is a command link or a subscriber link: RESP2 does not tell an answer from a message, and lets a
 * connection that has subscribed send little else. hiredis writes and parses the protocol; descriptors and
 * time are our own loop's, so what is asked within a turn leaves in one write at its end.
 *
 * Callbacks run in the loop's callbacks only, never inside a function of this header except redis_free. They
 * may call all of them. */
#pragma once

#include "base/bytes.h"
#include "net/loop.h"
#include "wire/redis_url.h"

#include <hiredis/hiredis.h>
#include <stdbool.h>

struct redis;
struct tls_context;

enum redis_state { REDIS_IDLE, REDIS_CONNECTING, REDIS_SECURING, REDIS_GREETING, REDIS_UP, REDIS_DOWN };

/* Each may be NULL. */
struct redis_events {
    /* Commands are taken from now on. down_ns: how long they were not, 0 the first time. */
    void (*up)(void *owner, uint64_t down_ns);
    /* It is lost, or cannot be had; again only when the reason changes. It is tried again until redis_free.
     */
    void (*down)(void *owner, const char *reason);
    /* Both slices are valid in the call. Sharded and other messages alike. */
    void (*message)(void *owner, struct slice channel, struct slice payload);
    /* The server has confirmed: what is published from now on comes, until `unsubscribed`. Called again after
     * each interruption. */
    void (*subscribed)(void *owner, struct slice channel, bool sharded);
    /* From now on messages are missed: the link is lost, the server has ended the subscription, or refuses it
     * (then `why` is its error: "MOVED 3999 127.0.0.1:6381"). It stays wanted and is asked for again after a
     * reconnect, and by redis_subscribe. Not called for redis_unsubscribe. */
    void (*unsubscribed)(void *owner, struct slice channel, bool sharded, const char *why);
};

struct redis_options {
    struct redis_url url;
    const char *name;        /* CLIENT SETNAME, and in logs; NULL: "wsb". Copied. */
    bool subscriber;         /* else a command link; redis_cluster has both */
    struct tls_context *tls; /* for rediss://, and outlives it; verifies against its own name */
    struct redis_events events;
    void *owner;
    /* 0: the default, in the comment */
    uint64_t connect_timeout_ns; /* 5 s, to the end of GREETING */
    uint64_t ping_interval_ns;   /* 3 s */
    uint64_t dead_after_ns;      /* 7 s of silence */
    uint64_t command_timeout_ns; /* 5 s without the answer to a command: the link is given up */
    uint64_t
        max_pending_bytes;    /* 8 MiB of commands unsent, and 32 bytes for each that waits for its answer */
    uint64_t max_reply_bytes; /* 64 MiB: a longer one ends the link */
};

/* The options with the defaults filled in. */
struct redis_options redis_options_complete(struct redis_options options);

/* Begins to connect at the end of the turn. */
struct redis *redis_new(struct loop *loop, const struct redis_options *options);
/* Answers every command that waits with NULL, before it returns; calls nothing else. The memory goes at the
 * end of the turn, so this may be called in a callback. NULL is accepted. */
void redis_free(struct redis *r);

enum redis_state redis_state(const struct redis *r);
/* "connecting", "up" ... */
const char *redis_state_name(enum redis_state state);
/* For how long no command has been taken, 0 when UP; since redis_new if it never was. */
uint64_t redis_down_ns(const struct redis *r);
/* Why it is not UP; "" when it is, or has not been tried yet. */
const char *redis_down_reason(const struct redis *r);
/* What max_pending_bytes bounds. */
size_t redis_pending_bytes(const struct redis *r);
/* Somebody else has just found the server to be up: a link that is DOWN tries again within 100 ms. */
void redis_hurry(struct redis *r);

/* Called exactly once for each command that was taken, in their order. reply: the answer, valid in the call
 * and REDIS_REPLY_ERROR among others; NULL when the link was lost before it came, and then nobody knows
 * whether the command was carried out. */
typedef void redis_answer(void *arg, const redisReply *reply);

/* Queues a command. 0, or ERR_CLOSED while not UP, or ERR_BUDGET when max_pending_bytes would be exceeded; fn
 * (which may be NULL) is not called then. argvlen NULL: argv are strings. A command link's only. */
int redis_command(struct redis *r, redis_answer *fn, void *arg, int argc, const char **argv,
                  const size_t *argvlen);

/* From now on the channel is wanted, across reconnects; `subscribed` comes when the server has confirmed it.
 * Wanting twice is wanting once. sharded: SSUBSCRIBE. A subscriber link's only. */
void redis_subscribe(struct redis *r, struct slice channel, bool sharded);
/* No message of it comes from now on. */
void redis_unsubscribe(struct redis *r, struct slice channel, bool sharded);

/* How long to wait after so many failures in a row: anything (unit, in [0, 1)) up to a ceiling that doubles
 * from 100 ms to 5 s. */
uint64_t redis_backoff_ns(unsigned failures, double unit);
