/* Where connections come in: accept, TLS, read the HTTP head, upgrade or refuse. A connection is a visitor
 * until it is upgraded; then its stream goes to the owner and the visitor is gone.
 *
 *     accept -> SECURING -> READING -> (upgraded: owner->enter, freed) | REFUSED -> the peer ends, or the
 *                  |           |                                                    deadline -> freed
 *                  +-----------+---- deadline, error, or a newer one needs the room -> freed */
#pragma once

#include "base/bytes.h"
#include "net/loop.h"
#include "net/sock.h"
#include "net/stream.h"
#include "peer/address.h"
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
};

struct door_owner {
    /* 0, or the ERR_ to refuse it with. */
    int (*admit)(struct door_owner *, const struct arrival *);
    /* It has been answered 101; stream and address are the owner's now. */
    void (*enter)(struct door_owner *, const struct arrival *);
};

/* Read each time it is needed, so the owner may change it at any time. */
struct door_config {
    struct http1_limits head;
    uint64_t max_handshakes;
    uint64_t tls_timeout_ns;       /* from accept to the end of the TLS handshake */
    uint64_t handshake_timeout_ns; /* from then to the end of the upgrade */
    struct sock_options sock;
    struct tls_context *tls; /* NULL: plain */
    struct address_table *addresses;
    struct deflate_terms deflate; /* what may be agreed to */
    const char *subprotocols;     /* likewise, comma-separated */
};

/* Takes over the listening descriptor. */
struct door *door_new(struct loop *l, int listening, struct door_owner *owner,
                      const struct door_config *config);
/* Drops visitors past their deadline, and accepts again after a pause for want of descriptors. */
void door_tick(struct door *d);
/* Gives back the descriptors that the door keeps for others when there are none left, or takes them again. */
void door_reserve(struct door *d, bool keep);
/* Stops listening; visitors on their way in are dropped. */
void door_shut(struct door *d);
/* NULL is accepted. */
void door_free(struct door *d);
