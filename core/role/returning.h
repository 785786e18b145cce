/* By what a client that comes back is known again: a cookie for the load balancer, an identity in the URL for
 * whoever hashes it and for the server that remembers its session. */
#pragma once

#include "role/config.h"
#include "base/buf.h"
#include "peer/cookie.h"
#include "wire/message.h"
#include "wire/url.h"

/* What returning_ask may add to a target. */
enum { RETURNING_MAX = OPTION_TEXT_MAX + 64 };

/* All zero at the start. */
struct returning {
    struct cookie *cookie; /* NULL until one was set */
    uint64_t visits;       /* times it was open */
    uint64_t began_ns;     /* while its session message is waited for, else 0 */
};

void returning_free(struct returning *r);
/* Appends to the request what the options say. target: URL_TARGET_MAX + RETURNING_MAX bytes, terminated. */
void returning_ask(const struct returning *r, const struct swarm_config *c, uint64_t index, char *target,
                   struct buf *lines);
/* A server's answer that lets it in. */
void returning_hear(struct returning *r, const struct swarm_config *c, const struct http1_head *answer);
/* began_ns: when it began to connect. */
void returning_opened(struct returning *r, uint64_t began_ns);
/* Times the session message, if this is one that was waited for. */
void returning_note(struct returning *r, const struct message *message, uint64_t now_ns);
