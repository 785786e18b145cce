/* The server's end of a WebSocket connection: a hub member with a queue under a high-water mark.
 *
 *            deliver, receive                     close frame queued              at the turn's end
 *     OPEN ------------------------> CLOSING -------------------------> DEAD -------------------> freed
 *       |   evict, close, peer's Close |   both Closes are through, or     ^
 *       |                              |   the grace is over: reset        |
 *       +------------------------------+-----------------------------------+  broken stream
 *
 * Eviction has two phases: what has not begun to leave is dropped, the frame that has is finished, Close 1013
 * follows, and the peer has the grace to take it before it is reset. */
#pragma once

#include "peer/conn.h"
#include "peer/address.h"
#include "hub/hub.h"
#include "hub/ledger.h"
#include "peer/overflow.h"

struct ws;

enum { WS_NOTED_MAX = 256 };

/* What all connections of one server share. The figures may change at any time. */
struct ws_shared {
    struct conn_owner owner;
    struct hub *hub;
    struct ledger ledger; /* queued bytes of every connection */
    struct hub_owner hub_owner;
    struct turn published; /* what waits in the hub is to be handed out */
    struct turn settled;   /* once all flushes of a turn are through: what is queued now is a backlog */
    struct {
        struct ws *ws;
        int32_t outcome;   /* bytes sent, or a negative errno */
    } noted[WS_NOTED_MAX]; /* of a burst's pieces, those given to net/batch */
    unsigned noted_count;
    struct link open; /* connections in OPEN, in the order in which they are looked at next */
    struct link busy; /* likewise: those that have something queued, here or in the kernel */
    uint64_t busy_count;
    struct link closing; /* connections in CLOSING, longest first */
    uint64_t open_count; /* busy ones among them */
    struct overflow_rules overflow;
    bool copy;       /* each subscriber queues its own copy */
    uint64_t budget; /* most bytes in the ledger, 0: none */
    uint64_t evict_grace_ns;
    struct conn_limits limits;
    double message_rate, byte_rate; /* that a client may send a second, 0: any */
    uint64_t message_timeout_ns;    /* from a message's first byte to its last */
    uint64_t idle_timeout_ns;       /* without a message, 0: any time */
    uint64_t deflate_min;           /* smaller messages are not compressed */
    struct address_table *addresses;
    uint64_t slow_after_ns;
    uint64_t ping_interval_ns; /* 0: no pings */
    uint64_t ping_timeout_ns;
    /* Over which clients that are closed with 1012 or 1013 are told to come back; 0: they are told why. */
    uint64_t reconnect_window_ns;
    /* Whether what somebody holds for a connection (ws_hold) lets the cast through; NULL: nobody holds
     * anything. It may let go of the connection meanwhile. */
    bool (*wants)(struct ws_shared *, struct ws *, const struct cast *);
    /* The connection holds it no longer: it does not receive any more. */
    void (*left)(struct ws_shared *, void *held);
    /* A text or binary message of this client. */
    void (*message)(struct ws_shared *, struct ws *, const struct message *);
};

void ws_shared_init(struct ws_shared *shared, struct loop *loop, struct hub *hub);

/* A connection that has just been upgraded. */
struct ws_start {
    struct stream stream;
    struct address *address; /* left with the connection; may be NULL */
    struct slice topic;
    uint64_t key; /* what its own messages conflate by */
    bool may_publish;
    struct deflate_terms deflate;
    uint8_t *rest; /* bytes that came behind the head */
    size_t rest_size;
    void *held;      /* not NULL: as ws_hold, and it joins the topic by ws_join only */
    int turned_away; /* 0, or the ERR_ to close it with before any of that is heard */
};

/* Subscribes it to the topic. It frees itself, at the end of this turn at the earliest. */
struct ws *ws_open(struct ws_shared *shared, const struct ws_start *start);

/* What the owner of the server keeps for this connection, NULL: nothing. */
void ws_hold(struct ws *w, void *held);
void *ws_held(const struct ws *w);
/* Into the topic, while it is OPEN. */
void ws_join(struct ws *w, struct slice topic);
/* Hands it a cast of its own, through the mark as any, after all that was published before. */
void ws_send(struct ws *w, struct cast *cast);
/* Whether with `size` bytes more less than `part` of the mark is queued, or nothing is now; true without a
 * mark. */
bool ws_has_room(const struct ws *w, double part, size_t size);

struct member *ws_member(struct ws *w);
/* What its messages conflate by; it is in a topic. */
uint64_t ws_key(const struct ws *w);

/* Begins to close with err's close code and text. Harmless unless OPEN. */
void ws_close(struct ws *w, int err);
/* Samples as many open connections at most, busy ones and others, those that waited longest first: kernel
 * memory, slowness, pings, deadlines. */
void ws_sample(struct ws_shared *shared, uint64_t busy, uint64_t others);
/* Resets connections in CLOSING whose grace is over. */
void ws_expire(struct ws_shared *shared);
/* One that is open, or NULL when none is. */
struct ws *ws_first_open(struct ws_shared *shared);
/* Nobody is left, neither open nor closing. */
bool ws_none_left(const struct ws_shared *shared);
/* Resets and frees all of them. */
void ws_reset_all(struct ws_shared *shared);
