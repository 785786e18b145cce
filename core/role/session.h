/* What a server keeps in its own memory of each client (?client=ID), and what it costs when it has it not:
 * the state is read from Redis, kept, and sent to the client as its first message.
 *
 *     session_enter -> held: it was here last -> owner.enter at once
 *                   -> else GET PREFIX:session:ID -> (absent: made up, and SET) -> owner.enter
 *
 * &visit=N counts a client's visits anywhere: who comes with another than the next one was elsewhere
 * meanwhile, so that what is held here is old and is read again. Without it what is held is taken for good.
 * The first message of a client is
 *
 *     {"wsb":"session","held":true}     or     {"wsb":"session","held":false,"state":"..."}
 *
 * without the state where Redis was away (one that it has yet to meet is waited for). The sessions used last
 * are kept. */
#pragma once

#include "base/bytes.h"
#include "net/loop.h"
#include "peer/ws.h"
#include "wire/message.h"

#include <stdbool.h>

struct session_table;

enum { SESSION_ID_MAX = 128 };

struct session_options {
    const char *redis;  /* its URL */
    const char *prefix; /* of the keys */
    uint64_t size;      /* bytes of a session that is made up */
    uint64_t most;      /* sessions kept */
    struct address_table *addresses;
};

struct session_owner {
    /* The client comes in now; text is its first message. What start points to dies with the call. */
    void (*enter)(struct session_owner *, const struct ws_start *start, struct slice text);
};

/* NULL with `why`: what is wrong with the URL. The texts are copied. */
struct session_table *session_table_new(struct loop *loop, struct session_owner *owner,
                                        const struct session_options *options, char *why, size_t why_size);
/* Closes the streams of those that wait. NULL is accepted. */
void session_table_free(struct session_table *t);

/* Takes over one that comes in; owner.enter is called in this call or later. False when it is nobody that
 * says who it is (SESSION_ID_MAX at most): then it is still the caller's. */
bool session_enter(struct session_table *t, const struct ws_start *start, struct slice query);
/* Those that wait are told `err` as they come in (ws_start.turned_away). */
void session_turn_away(struct session_table *t, int err);
/* Nobody waits. NULL is accepted. */
bool session_none_waiting(const struct session_table *t);

/* Whether a message is such a first one. */
bool session_told(const struct message *message);
