/* A listening socket, and when it is read. What is not accepted stays in the kernel's accept queue, which is
 * where a server that is behind lets others wait.
 *
 * It is shut while there are no descriptors, while accept_rate is spent, or while its owner is full, and open
 * again at once when that is over. */
#pragma once

#include "base/meter.h"
#include "net/loop.h"
#include "net/sock.h"

struct gate_owner {
    /* One more has come; the descriptor is the owner's. */
    void (*accepted)(struct gate_owner *, int fd, const struct in6_addr *from);
    /* Whether the owner has no room for one more; when that is over it calls gate_check. */
    bool (*full)(struct gate_owner *);
};

/* Read each time it is needed. */
struct gate_config {
    struct sock_options sock;
    double
        rate; /* connections accepted a second, 0: any; a tenth of a second's worth at once, at least one */
};

struct gate {
    struct loop *loop;
    struct gate_owner *owner;
    const struct gate_config *config;
    int listening; /* -1 once closed */
    ev_io io;
    ev_timer later; /* nothing is accepted before it fires */
    struct meter spent;
};

/* Takes over the listening descriptor. */
void gate_open(struct gate *g, struct loop *loop, int listening, struct gate_owner *owner,
               const struct gate_config *config);
/* Whether somebody who comes is accepted at once. */
bool gate_is_open(const struct gate *g);
/* What kept it shut may be over. */
void gate_check(struct gate *g);
/* Shows how long the kernel's accept queue is, and how long it may be. */
void gate_sample(const struct gate *g);
/* Accepts all that waits, full or not, since the kernel would reset it; then stops listening. Harmless when
 * done before. */
void gate_close(struct gate *g);
