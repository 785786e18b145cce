/* The half of a WebSocket connection that both ends share: bytes in become messages, frames out leave in one
 * write a turn. ws (the server's end) and client embed one.
 *
 *     stream -> message_reader -> got(message)          queue -> gather -> writev -> settle
 *
 * Most connections are idle most of the time, and then this is all there is of them: what they need only
 * while something is under way is their work, which comes and goes. */
#pragma once

#include "hub/cast.h"
#include "hub/ledger.h"
#include "net/loop.h"
#include "net/sendq.h"
#include "net/stream.h"
#include "wire/deflate.h"
#include "wire/message.h"

#include <stdbool.h>

struct conn;

/* What all connections of one server or swarm share. */
struct conn_owner {
    struct loop *loop;
    void (*turn_end)(struct conn *); /* for those who asked, see conn_at_turn_end */
    bool batch;                      /* pieces of a burst leave together, by net/batch, which is open */
};

/* 80 bytes, of which libev has 48. */
struct conn {
    ev_io io; /* its data is the owner */
    struct stream stream;
    struct conn_work *work; /* NULL while there is none */
    bool server;            /* which end this is: servers want masked frames */
    bool reading;
    uint8_t format;       /* of casts: CAST_PLAIN, or what conn_compress has set */
    uint8_t inflate_bits; /* window of the peer's messages; 0: compression is not agreed on */
    bool inflate_keep;    /* they share a context */
};

/* There as long as bytes are queued, the end of the turn is waited for, a message has not come whole, or a
 * compression context has to be kept. From a pool. */
struct conn_work {
    struct turn turn;           /* its owner is the connection */
    struct ledger_entry queued; /* for an owner that has a ledger */
    struct sendq out;
    struct incoming *incoming; /* while a message is under way, else NULL */
    struct inflater *inflater; /* of the peer's messages, when they share a context; else NULL */
    struct deflater *deflater; /* of ours, likewise */
};

/* Compressors that all connections of one process use, message by message: those of connections that keep no
 * context. Made when first asked for. */
struct deflaters {
    struct deflater *of[CAST_FORMATS];
};
struct deflater *deflaters_get(struct deflaters *d, unsigned format);
void deflaters_free(struct deflaters *d);
/* A server's frame of the cast, compressed and counted; keep: the next one goes on with its window. */
struct blob *conn_deflate(const struct cast *cast, struct deflater *deflater, bool keep);

struct conn_limits {
    uint64_t max_message;
    uint32_t max_fragments; /* 0: any number */
};

/* Takes over the stream and begins to read. `ready` runs with c->io when the descriptor is. */
void conn_open(struct conn *c, struct conn_owner *owner, struct stream stream, bool server,
               void (*ready)(EV_P_ ev_io *, int));

/* Its work, made if there is none. */
struct conn_work *conn_work(struct conn *c);
/* The queue, to push to. */
static inline struct sendq *conn_out(struct conn *c)
{
    return &conn_work(c)->out;
}
/* Bytes in it. */
static inline uint64_t conn_queued(const struct conn *c)
{
    return c->work != NULL ? c->work->out.bytes : 0;
}
/* The age of its head, 0 when it is empty. */
static inline uint64_t conn_age_ns(const struct conn *c, uint64_t now_ns)
{
    return c->work != NULL ? sendq_age_ns(&c->work->out, now_ns) : 0;
}
/* The compressor of ours that keeps a context, or NULL. */
static inline struct deflater *conn_deflater(const struct conn *c)
{
    return c->work != NULL ? c->work->deflater : NULL;
}
/* The owner's turn_end is to run for it, once, at the end of this turn. */
void conn_at_turn_end(struct conn *c);
/* Puts the work away if there is none left. The owner calls it; conn_receive does, too. */
void conn_rest(struct conn *c);
/* Called often, it gives back what work has taken and nobody has needed of late. */
void conn_trim(uint64_t now_ns);

/* Both ends have agreed to these terms: from now on messages may be compressed. */
void conn_compress(struct conn *c, const struct deflate_terms *terms);

/* Waits for the descriptor to turn writable and for nothing else: a connect under way. */
void conn_wait_writable(struct conn *c);
/* Stops or goes on reading; the kernel's buffer fills up meanwhile. */
void conn_read_on(struct conn *c, bool on);

/* Reads once, up to `most` bytes, and hands over each message that is complete. got() may queue and may put
 * an object down at the end of the turn, but not free it; it returns false to stop. Returns bytes read (0:
 * none there yet), or the ERR_ that ends the connection: ERR_CLOSED when the stream did. */
long conn_receive(struct conn *c, const struct conn_limits *limits, uint64_t most,
                  bool (*got)(struct conn *, const struct message *));
/* Reads and forgets: 0, or ERR_CLOSED. A close with unread bytes would turn into a reset, which may overtake
 * our Close frame. */
long conn_discard(struct conn *c);
/* The same as conn_receive for bytes that came behind the HTTP head; they may be changed. */
int conn_take(struct conn *c, uint8_t *at, size_t size, const struct conn_limits *limits,
              bool (*got)(struct conn *, const struct message *));

/* Queues a ping or pong before all that has not begun to leave. At most one waits there: the newer replaces
 * it, since only the latest ping wants an answer (RFC 6455 section 5.5.3), and who pings and does not read
 * gains nothing. */
void conn_push_urgent(struct conn *c, struct blob *frame);

/* Whether what comes next may go straight to the stream, past the queue: nothing is to leave before it. */
bool conn_clear(const struct conn *c);
/* The stream has been given what the queue holds, past it, and has taken `written` bytes; waits for the
 * descriptor if that was not all. Returns frames that left whole. */
uint32_t conn_took(struct conn *c, size_t written);

/* Writes what is queued, a fair share at most; waits for the descriptor if that was not all. ret_frames:
 * frames that left whole; ret_bytes: bytes that left. Returns false when the stream is broken. */
bool conn_flush(struct conn *c, uint32_t *ret_frames, size_t *ret_bytes);

/* Whether all that was written has left; TLS may hold a record back. */
bool conn_drained(const struct conn *c);

/* Bytes held of a message that has not come whole, and since when it has been under way (0: none is). */
size_t conn_incoming_bytes(const struct conn *c);
uint64_t conn_incoming_since_ns(const struct conn *c);

/* Closes the descriptor and frees what is held. `reset`: tell the kernel to forget what it has not sent. */
void conn_close(struct conn *c, bool reset);
/* The cast as this connection is to get it, with a reference: shared by all who agreed to the same, unless it
 * has a compression context of its own. Smaller ones than deflate_min are not compressed. */
struct blob *conn_frame(struct conn *c, struct cast *cast, uint64_t deflate_min, bool copy);
