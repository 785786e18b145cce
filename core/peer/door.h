/* Where connections come in: accept, read the HTTP head, upgrade or refuse. A connection is a visitor until
 * it is upgraded; then its descriptor goes to the owner and the visitor is gone.
 *
 *     accept -> READING -> (upgraded: owner->enter, freed) | REFUSED -> the peer ends, or the deadline ->
 * freed */
#pragma once

#include "base/bytes.h"
#include "net/loop.h"
#include "net/sock.h"

struct door;

struct door_owner {
    /* 0, or the ERR_ to refuse this path with. */
    int (*admit)(struct door_owner *, struct slice path);
    /* An upgraded connection; the owner has the descriptor now. `rest` came behind the head and may be
     * changed. */
    void (*enter)(struct door_owner *, int fd, struct slice path, struct slice query, uint8_t *rest,
                  size_t size);
};

/* Read each time it is needed, so the owner may change it at any time. */
struct door_config {
    uint64_t max_head;
    uint64_t handshake_timeout_ns;
    struct sock_options sock;
};

/* Takes over the listening descriptor. */
struct door *door_new(struct loop *l, int listening, struct door_owner *owner,
                      const struct door_config *config);
/* Drops visitors past their deadline, and accepts again after a pause for want of descriptors. */
void door_tick(struct door *d);
/* Stops listening; visitors on their way in are dropped. */
void door_shut(struct door *d);
/* NULL is accepted. */
void door_free(struct door *d);
