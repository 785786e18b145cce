/* The channels somebody wants to hear, and how far the server has been told: a hash table whose entries also
 * stand in one of four lists, and the subscriber's half of the protocol. Internal to redis and redis_cluster.
 */
#pragma once

#include "base/buf.h"
#include "base/list.h"
#include "peer/redis.h"

enum redis_sub_state {
    SUB_OFF,     /* the server does not know */
    SUB_ASKED,   /* told, not confirmed */
    SUB_ON,      /* confirmed */
    SUB_RENEW,   /* confirmed, and to be so once more: it was unwanted for a moment */
    SUB_LEAVING, /* told to end it, not confirmed */
    SUB_REFUSED  /* the server said no, or has ended it */
};

struct redis_sub {
    struct link place;
    struct redis_sub *next; /* in its bucket */
    uint64_t hash;
    void *home; /* cluster: the node */
    enum redis_sub_state state;
    bool wanted;
    bool sharded;
    struct slice channel; /* behind this struct */
};

struct redis_subs {
    struct redis_sub **bucket;
    size_t buckets; /* a power of two, or 0 */
    size_t count;
    struct link todo;  /* to be asked, or to be ended */
    struct link asked; /* ASKED and LEAVING, in the order of the commands: so come the answers */
    struct link held;  /* nothing to do */
    struct link trash; /* to be freed when no callback can hold its name */
    size_t asked_count;
    bool closed; /* its owner is gone: nobody is told anything */
    const struct redis_events *events;
    void *owner;
};

/* events, told to the owner, outlive it; NULL tells nobody. */
void redis_subs_init(struct redis_subs *t, const struct redis_events *events, void *owner);
/* Frees the entries, wherever they stand. */
void redis_subs_free(struct redis_subs *t);
/* NULL when there is none. */
struct redis_sub *redis_subs_find(const struct redis_subs *t, struct slice channel, bool sharded);
/* The one there is, or a new one: OFF, not wanted, in `held`. */
struct redis_sub *redis_subs_get(struct redis_subs *t, struct slice channel, bool sharded);
void redis_subs_empty_trash(struct redis_subs *t);

/* What redis_subscribe and redis_unsubscribe say. */
void redis_subs_want(struct redis_subs *t, struct slice channel, bool sharded);
void redis_subs_unwant(struct redis_subs *t, struct slice channel, bool sharded);
/* Writes the commands for a batch of what is to be done. */
void redis_subs_ask_some(struct redis_subs *t, struct buf *out);
/* What a subscriber link has received. NULL, or why the link has to end. */
const char *redis_subs_hear(struct redis_subs *t, const redisReply *reply);
/* The link is lost: none is confirmed any more. */
void redis_subs_lose(struct redis_subs *t, const char *why);

/* A command as the server reads it, behind what is in `out`. argvlen NULL: argv are strings. */
void redis_format(struct buf *out, int argc, const char **argv, const size_t *argvlen);
/* As redis_command, of one that redis_format has written. */
int redis_command_text(struct redis *r, redis_answer *fn, void *arg, const char *text, size_t size);
