/* What the files of a server's WebSocket connection share: ws.c is its life, ws_fan.c what it is sent,
 * ws_watch.c what is looked at now and then. */
#pragma once

#include "peer/ws.h"

#include "base/log.h"
#include "base/meter.h"
#include "net/sock.h"

enum ws_state { WS_OPEN, WS_CLOSING, WS_DEAD };

/* What is made of the bytes that come in: IGNORED after a breach of the protocol, which leaves no frames to
 * tell. */
enum ws_input { INPUT_READ, INPUT_CLOSED, INPUT_IGNORED };

/* Every byte counts ten thousand times: what a connection can do without is elsewhere. From a pool. */
struct ws {
    struct conn conn;
    uint8_t state; /* enum ws_state */
    uint8_t input; /* enum ws_input */
    bool may_publish : 1;
    bool evicted : 1; /* closing because of the mark or the budget */
    bool reset : 1;   /* to be closed with a reset */
    bool slow : 1;
    bool wrote : 1;         /* since the kernel was last asked and had sent all */
    bool busy : 1;          /* in shared->busy */
    bool pinged : 1;        /* a ping is out since it was last heard */
    uint32_t heard;         /* tick when anything was last received */
    struct ws_extra *extra; /* NULL without a need */
    struct member member;   /* a delivery looks at nothing behind it */
    struct link link;       /* in shared->open, busy or closing */
    struct address *address;
    union {
        uint32_t spoke;   /* OPEN: tick when a message was last received */
        uint32_t closing; /* later: tick when CLOSING began */
    };
    uint32_t out_queue, kernel; /* of struct sock_memory, as last sampled */
};
_Static_assert(sizeof(struct ws) <= 160, "with its place in the loop and in the topic, 200 bytes");

/* Of a client whose rate is limited, or that has named a key of its own. */
struct ws_extra {
    uint64_t key; /* 0: that of the topic */
    void *held;   /* see ws_hold */
    struct meter messages, bytes;
};

static inline struct ws *ws_of(struct conn *c)
{
    return LIST_OF(c, struct ws, conn);
}

static inline struct ws_shared *shared_of(const struct ws *w)
{
    return LIST_OF(w->conn.io.data, struct ws_shared, owner);
}

static inline struct loop *loop_of(const struct ws *w)
{
    return shared_of(w)->owner.loop;
}

static inline void ws_flush_later(struct ws *w)
{
    conn_at_turn_end(&w->conn);
}

/* ws.c */
void ws_log(const struct ws *w, enum log_level level, const char *what, int err);
/* What has not begun to leave will not be delivered. */
void ws_abandon(struct ws *w);
/* As ws_close, but without what waits for it in the hub. */
void ws_close_for(struct ws *w, int err);
void ws_evict(struct ws *w, int err);
/* At once, and so that the kernel forgets what it has not sent. */
void ws_reset(struct ws *w, int err);
/* For a client that has taken a liberty, or too long. */
void ws_break_off(struct ws *w, int err);
void ws_push_urgent(struct ws *w, enum frame_opcode opcode, const void *payload, size_t size);
/* The stream is broken, or the peer has left it. */
void ws_ended(struct ws *w);
/* Its memory is given back at once, the object itself at the end of the turn. */
void ws_die(struct ws *w, bool reset);
/* Called often, it gives back the memory of those that are gone. */
void ws_trim(uint64_t now_ns);

/* ws_fan.c */
void ws_fan_init(struct ws_shared *shared);
void ws_deliver(struct member *m, struct burst *b);
/* The queue has grown, or what it holds is not counted yet. */
void ws_account(struct ws *w);
void ws_flush(struct ws *w);

/* ws_watch.c */
void ws_set_kernel(struct ws *w, struct sock_memory now);
void ws_set_slow(struct ws *w, bool slow);
/* To be looked at often: something is queued. */
void ws_set_busy(struct ws *w, bool busy);
