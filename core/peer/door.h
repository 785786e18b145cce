/* Where connections come in: accept, TLS, read the HTTP head, look the client up, upgrade or refuse. A
 * connection is a visitor until it is upgraded; then its stream goes to the owner and the visitor is gone.
 *
 *     accept -> SECURING -> READING -> VERIFYING -> (upgraded: owner->enter, freed) | REFUSED -> freed
 *                  |           |           |                                             |
 *                  |           |           +-- the client has left -> freed              +-- the peer ends,
 * or
 *                  +-----------+-- deadline, error, or a newer one needs the room -> freed   the deadline
 *
 * VERIFYING has no deadline: a server does not know how long its look-ups take, and the client leaves when it
 * has had enough. Nobody reads meanwhile, so that this is noticed only where the look-up begins or ends. */
#pragma once

#include "base/bytes.h"
#include "net/loop.h"
#include "net/stream.h"
#include "peer/address.h"
#include "peer/gate.h"
#include "peer/lookup.h"
#include "wire/deflate.h"
#include "wire/http1.h"

struct door;

/* One that asks to come in. What it has sent dies with the callback that it is handed to. */
struct arrival {
    struct stream stream;
    struct address *address; /* whoever has the stream leaves it in the end (address_leave) */
    const struct http1_head *request;
    struct slice path, query;
    struct deflate_terms deflate; /* as agreed */
    uint8_t *rest;                /* what came behind the head; may be changed */
    size_t rest_size;
    int turned_away; /* 0, or the ERR_ with which the owner closes it at once */
};

/* What an upgrade meets that finds the queue for a look-up full. The order is that of the choices of
 * auth_overflow in role/config.def. */
enum door_overflow {
    DOOR_WAIT,   /* it stays in the kernel: no more are accepted than the queue has room for */
    DOOR_REFUSE, /* it is refused */
    DOOR_CLOSE   /* it is let in, to be turned away */
};

struct door_owner {
    /* 0, or the ERR_ to refuse it with. Asked before a look-up, and again after it. */
    int (*admit)(struct door_owner *, const struct arrival *);
    /* It has been answered 101; stream and address are the owner's. */
    void (*enter)(struct door_owner *, const struct arrival *);
};

/* Read each time it is needed, so the owner may change it at any time. */
struct door_config {
    struct http1_limits head;
    uint64_t max_handshakes;       /* those that wait for a look-up do not count */
    uint64_t tls_timeout_ns;       /* from accept to the end of the TLS handshake */
    uint64_t handshake_timeout_ns; /* from then to the end of the request, or of a refusal */
    struct gate_config gate;
    struct lookup_terms lookup; /* time_ns 0: no look-up */
    uint64_t lookup_queue;      /* most that wait for one */
    enum door_overflow lookup_overflow;
    bool skip_abandoned;          /* no look-up for a client that has left before it */
    uint64_t reconnect_window_ns; /* over which refused clients are told to come back; 0: all alike */
    struct tls_context *tls;      /* NULL: plain */
    struct address_table *addresses;
    struct deflate_terms deflate; /* what may be agreed to */
    const char *subprotocols;     /* likewise, comma-separated */
};

/* Takes over the listening descriptor. NULL, with errno, when the system has no timer left. */
struct door *door_new(struct loop *l, int listening, struct door_owner *owner,
                      const struct door_config *config);
/* Drops visitors past their deadline, shows what is in the accept queue, and follows a change of the config.
 */
void door_tick(struct door *d);
/* Gives back the descriptors that the door keeps for others when there are none left, or takes them again. */
void door_reserve(struct door *d, bool keep);
/* Stops listening. Visitors on their way in, and those in the accept queue, are refused with err once they
 * have asked; those that wait for a look-up at once. A second call changes err. */
void door_shut(struct door *d, int err);
/* Nobody is on the way in, nor waits to be accepted: door_tick finds nothing to do, the next one that comes
 * included, until its deadline. */
bool door_calm(const struct door *d);
/* No visitor is left. */
bool door_empty(const struct door *d);
/* Drops the visitors. NULL is accepted. */
void door_free(struct door *d);
