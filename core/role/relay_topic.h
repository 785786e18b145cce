/* What relay.c and replay.c share. */
#pragma once

#include "role/relay.h"
#include "base/buf.h"
#include "base/meter.h"
#include "base/rng.h"
#include "peer/redis_cluster.h"
#include "wire/replay_id.h"

enum { NODE_SIZE = 8 };

struct relay {
    struct relay_options options;
    struct redis_cluster *redis;
    struct rng rng;
    char node[NODE_SIZE + 1]; /* who we are, in what we publish */
    void *topics;             /* tsearch(3) */
    struct link all;          /* the same, in a list */
    struct link pacing;       /* places whose next read has to wait */
    uint64_t serials;         /* places that have published */
    uint64_t looked_ns;       /* when topics were last looked after */
};

/* How far another server's messages have come. */
struct origin {
    struct origin *next;
    char node[NODE_SIZE + 1];
    uint64_t number;
};

/* SUBSCRIBING -> (without history) LIVE
 *             -> FILLING -> LIVE        with: what was published meanwhile is read from the stream
 * back to SUBSCRIBING whenever the link is lost; a gap in the numbers leads back to FILLING. */
enum topic_state { TOPIC_SUBSCRIBING, TOPIC_FILLING, TOPIC_LIVE };

struct relay_topic {
    struct slice name; /* first, so that the tree compares topics as it does names */
    struct relay *relay;
    struct link link;
    enum topic_state state;
    uint64_t since_ns;  /* of this state */
    uint64_t wanted_ns; /* when it last had a subscriber here */
    uint64_t number;    /* of our own messages, without history */
    uint64_t said_ns;   /* when we last told the others how far we are */
    struct origin *origins;
    struct replay_id at; /* the last message delivered here; epoch "" until known */
    uint64_t seen;       /* largest offset heard of since the last read began, of whatever epoch */
    bool reading;        /* a read for the topic itself is under way */
    struct link waiting; /* places that come in when it is LIVE */
    struct link joined;  /* places that are in */
    unsigned refs;       /* places, and messages on their way to the stream */
    struct buf channel, meta, log;
    char text[];
};

struct relay_topic *relay_topic(struct relay *r, struct slice name);
void relay_topic_enter(struct relay_topic *t, enum topic_state state);

/* replay.c: the stream. */
void replay_publish(struct relay_topic *t, struct slice payload, bool text, struct ws *from);
/* What has arrived on the channel. */
void replay_message(struct relay_topic *t, struct slice head, struct slice body);
/* Reads what is missing, then goes LIVE. */
void replay_fill(struct relay_topic *t);
/* Asks for messages from this offset on; as redis_cluster_command. */
int replay_read(struct relay_topic *t, uint64_t offset, redis_answer *fn, void *arg);
/* What a read found: where the history stands, and the entries. */
bool replay_parse_read(const redisReply *reply, struct replay_id *ret_at, const redisReply **ret_entries);
struct replay_entry {
    uint64_t offset;
    bool text;
    struct slice body; /* the reply's */
};
bool replay_parse_entry(const redisReply *reply, struct replay_entry *ret_entry);
/* Whether something between what one has and the first that is there is gone. */
bool replay_trimmed(const struct relay_topic *t, uint64_t has, uint64_t first);
/* The message as subscribers get it, behind its id line; id NULL: that of a message without one. */
struct slice replay_with_id(const struct replay_id *id, struct slice body, struct buf *ret_out);

/* place.c: the clients. */
/* What a publisher is known by, from its first message on. */
struct place *place_publisher(struct relay_topic *t, struct ws *from);
uint64_t place_serial(const struct place *p);
/* The number of its next message; holds the place until place_release. */
uint64_t place_next(struct place *p);
/* Tells it what became of its message, if it asked for that, once those before are answered; id NULL: not
 * stored, or nobody knows. The caller holds the place. */
void place_answer(struct place *p, uint64_t n, const struct replay_id *id);
void place_release(struct place *p);
/* Lets those in that wait; `live` false: without knowing what they missed, since Redis is away. */
void place_admit(struct relay_topic *t, bool live);
/* Takes up those that had to wait for time to pass. */
void place_pace(struct relay *r);
/* The history has begun anew: nothing that arrives has been had. */
void place_forget(struct relay_topic *t);
