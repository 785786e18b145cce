/* The servers behind one Redis as one: what is published at any of them reaches the subscribers of all.
 *
 *     without history    relay_publish -> delivered here at once, PUBLISH -> the others' subscribers
 *     with history       relay_publish -> one script: numbered, stored, PUBLISHed -> delivered where it
 * arrives, here as well, in the order of the numbers
 *
 * While Redis is away local delivery goes on; what the others lose is counted, and told to their clients as a
 * gap when the numbers show it. With history the servers fill their gaps from the stream. */
#pragma once

#include "hub/cast.h"
#include "hub/hub.h"
#include "net/loop.h"
#include "wire/redis_url.h"

struct relay;
struct place;
struct tls_context;
struct ws;

/* What local subscribers are to get. */
struct relay_message {
    struct slice topic, payload;
    bool text;
    uint64_t offset;             /* of the id that the payload begins with; 0: none */
    uint64_t sender;             /* the place that is left out, 0: none */
    const struct member *except; /* likewise, without history */
};

struct relay_owner {
    /* To all local subscribers of the topic. */
    void (*deliver)(struct relay_owner *, const struct relay_message *);
    /* To one. */
    void (*send)(struct relay_owner *, struct ws *, struct slice payload, bool text);
};

/* For tests of the tests: faults that a checker has to find. */
enum relay_bug { RELAY_SOUND, RELAY_LISTENER_RACE, RELAY_TRIM_OFF_BY_ONE };

struct relay_options {
    struct loop *loop;
    struct hub *hub;
    struct relay_owner *owner;
    struct redis_url url;
    const char *prefix;      /* outlives it */
    struct tls_context *tls; /* for rediss:// */
    bool sharded;            /* SPUBLISH: a cluster shares the channels out */
    bool echo;               /* a client's message goes back to it too */
    uint64_t history;        /* messages kept of each topic, 0: none */
    double replay_rate;      /* messages a second to one client that comes back */
    enum relay_bug bug;
};

struct relay *relay_new(const struct relay_options *options);
/* Every place must have left. NULL is accepted. */
void relay_free(struct relay *r);
/* A few times a second: what waits for time to pass. */
void relay_tick(struct relay *r);

/* What is published to the topic elsewhere is wanted while it has subscribers here. */
void relay_want(struct relay *r, struct slice topic);
/* from: the client that publishes, NULL for the server itself. */
void relay_publish(struct relay *r, struct slice topic, struct slice payload, bool text, struct ws *from);

/* With history, a client has a place while the server knows something about it: what it has missed, or what
 * it must not get twice. NULL without history.
 *
 *     relay_arrive -> ws_open -> relay_begin -> WAITING -> READING ... -> JOINED -> freed when nothing is
 * left to know, or by relay_left */
struct place *relay_arrive(struct relay *r, struct slice topic, struct slice query);
/* ws is open and holds the place; relay_left may have come meanwhile. */
void relay_begin(struct place *p, struct ws *w);
/* Its connection no longer receives anything. */
void relay_left(struct place *p);
/* What a client publishes to that has a place. */
struct slice relay_topic_of(const struct place *p);
/* Whether the client is to get it. May end the place. */
bool relay_wants(struct place *p, const struct cast *cast);
