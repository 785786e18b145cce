/* The client's end of a WebSocket connection. It reads when it is let, and no more than it is let: a client
 * that stops reading, or reads slowly, is what wsb is about.
 *
 *     client_connect -> CONNECTING -> SECURING -> UPGRADING -> OPEN -> CLOSING -> ENDED
 *                            |            |            |         |        |         ^
 *                            +------------+------------+---------+--------+---------+
 *                                                          error, deadline, end of stream
 *
 * Embedded in its owner's object, which must outlive it: after `ended` client_release, then free. */
#pragma once

#include "peer/conn.h"
#include "base/rng.h"
#include "net/sock.h"
#include "wire/url.h"

enum client_state {
    CLIENT_IDLE,
    CLIENT_CONNECTING,
    CLIENT_SECURING,
    CLIENT_UPGRADING,
    CLIENT_OPEN,
    CLIENT_CLOSING,
    CLIENT_ENDED
};

/* Room for what `ask` makes of a URL's target. */
enum { CLIENT_TARGET_SIZE = URL_TARGET_MAX + 1024 };

struct client;
struct http1_head;

/* What the clients of one swarm share. */
struct client_shared {
    struct conn_owner owner;
    struct rng *rng; /* keys and masks */
    struct url url;
    /* Where this client goes, and what it asks for there, NULL: url. Asked when it connects and once more for
     * its request; valid until it is asked again. */
    const struct url *(*aim)(struct client *);
    const char *source;           /* NULL: any */
    const char *origin;           /* NULL: none */
    const char *token;            /* NULL: none */
    const char *subprotocols;     /* to offer, comma-separated; NULL: none */
    struct tls_context *tls;      /* for wss, else NULL */
    struct deflate_terms deflate; /* to offer */
    struct deflaters deflaters;   /* of clients that keep no context */
    struct sock_options sock;
    struct conn_limits limits;
    /* Where clients differ: changes the target of the URL (CLIENT_TARGET_SIZE bytes, terminated) and appends
     * header lines to what this one asks for; sees the answer that lets it in. NULL: all are alike. */
    void (*ask)(struct client *, char *target, struct buf *lines);
    void (*answered)(struct client *, const struct http1_head *);
    void (*opened)(struct client *);
    void (*message)(struct client *, const struct message *);
    /* was_open: it had been upgraded; code: the close code as this end saw it, 1006 for none. Runs at the end
     * of a turn; the client may be released and freed in it. */
    void (*ended)(struct client *, bool was_open, int code);
};

/* What the server's answer or Close said, for who comes back; all 0 where it said nothing. */
struct client_heard {
    int status;              /* of an HTTP answer other than 101 */
    uint64_t retry_after_ns; /* its Retry-After */
    uint64_t window_ns;      /* of a Close: see peer/hint */
};

struct client {
    struct conn conn;
    struct client_shared *shared;
    struct client_handshake *handshake; /* until OPEN */
    union {
        uint64_t began_ns; /* before OPEN: when it began to connect */
        uint64_t heard_ns; /* from then on: when the last bytes came */
    };
    uint64_t pinged_ns; /* when a ping left that nothing has been heard since, else 0 */
    uint64_t allowance; /* bytes it may still read, UINT64_MAX without limit */
    struct client_heard heard;
    enum client_state state;
    int code;
    bool was_open;
    bool refused; /* nobody listened, or it was reset before the upgrade */
};

/* Begins to connect, with nothing left of a connection before. 0, or ERR_SYSTEM when not even a socket is to
 * be had, or nobody listens (errno); c is as it was then, and `ended` is not called. */
int client_connect(struct client *c, struct client_shared *shared);
/* Queues a message; it leaves at the end of the turn. Only while OPEN. */
void client_send(struct client *c, enum frame_opcode opcode, const void *payload, size_t size);
/* From now on reads at most so many bytes: 0 stops, UINT64_MAX sets no limit. */
void client_allow(struct client *c, uint64_t bytes);
/* Sends a Close; the end comes with the answer. Before the upgrade it ends at once. */
void client_close(struct client *c, int code);
/* Looks at the silence: after interval_ns (0: never) it sends a ping, and timeout_ns later it gives up. One
 * that does not read does not hear either: its time counts from when it reads again. */
void client_listen(struct client *c, uint64_t interval_ns, uint64_t timeout_ns);
/* Ends at once, by a plain close: it has waited long enough. */
void client_give_up(struct client *c);
/* Ends at once, with a reset. */
void client_abort(struct client *c);
/* Whether the far end is gone though nobody reads. */
bool client_orphaned(const struct client *c);
void client_release(struct client *c);
