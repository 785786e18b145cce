/* Bytes of a WebSocket connection to whole messages and control frames, and back; both roles.
 *
 * The reader takes every byte it is given, so nobody else keeps leftovers: a partial header stays in `head`,
 * a partial message in `body`, which is allocated only then. A message that arrives in one piece is not
 * copied. */
#pragma once

#include "wire/deflate.h"
#include "wire/frame.h"
#include "base/blob.h"
#include "base/buf.h"

enum message_kind { MESSAGE_NONE, MESSAGE_TEXT, MESSAGE_BINARY, MESSAGE_PING, MESSAGE_PONG, MESSAGE_CLOSE };

struct message {
    enum message_kind kind;
    const uint8_t *at; /* payload, unmasked; valid until the next call on the same reader or buffer */
    size_t size;
    int close_code; /* of MESSAGE_CLOSE: 1000..4999, or 1005 when the frame had none; `at` is then the reason
                     */
};

struct message_reader {
    uint64_t limit; /* most bytes of a message (ERR_TOO_BIG by the announced length, before reading it) */
    uint32_t max_fragments;      /* most frames of a message (ERR_FRAGMENTS), 0: any number */
    struct inflation *inflation; /* of compressed messages; NULL, as after init: not agreed on */
    bool server;                 /* true: frames must be masked; false: they must not be */
    bool closed;                 /* a Close was read: what follows is ignored */
    uint8_t utf8;
    uint8_t opcode;     /* of the message under way, 0 when none */
    bool compressed;    /* it, as `fragments` */
    uint32_t fragments; /* its frames so far */
    uint8_t head_size;  /* bytes held in head */
    uint8_t head[FRAME_HEAD_MAX];
    struct frame_head frame; /* under way while `left` > 0 or in_frame */
    bool in_frame;
    uint64_t left; /* payload bytes of that frame still to come */
    struct buf body;
    uint8_t control_size; /* a control frame may arrive inside a fragmented message */
    uint8_t control[FRAME_CONTROL_MAX];
};

void message_reader_init(struct message_reader *r, bool server, uint64_t limit);
void message_reader_free(struct message_reader *r);
/* Nothing is under way: a reader in this state can be thrown away and a fresh one used for what follows. */
static inline bool message_reader_idle(const struct message_reader *r)
{
    return r->opcode == 0 && !r->in_frame && r->head_size == 0 && !r->closed;
}

/* Consumes from `at` (which it may unmask in place) and returns how many bytes it took, >0; at most one
 * message is delivered a call, in ret_message (kind MESSAGE_NONE when there is none yet): call again with the
 * rest while there is any. size must be > 0. <0: the ERR_ to close with; the reader is then of no further
 * use. Text is checked as it arrives, so bad UTF-8 fails in the middle of a frame.
 *
 * How the bytes are cut decides neither the messages nor the error. Of a compressed message that is wrong in
 * more than one way, the first wrong byte of what it inflates to is told: ERR_UTF8 for one that is no text,
 * ERR_TOO_BIG for the one above the limit, whatever it is, and ERR_INFLATE where there can be no other. */
long message_read(struct message_reader *r, uint8_t *at, size_t size, struct message *ret_message);

/* A whole unfragmented frame as a blob with one reference. mask: NULL for a server, four bytes for a client.
 */
struct blob *message_frame(enum frame_opcode opcode, const void *payload, size_t size, const uint8_t *mask,
                           uint64_t now_ns);
/* The same, compressed (RSV1); keep: the next message goes on with this one's window. Not compressed after
 * all where that gains nothing, unless keep. */
struct blob *message_frame_deflated(enum frame_opcode opcode, const void *payload, size_t size,
                                    struct deflater *deflater, bool keep, const uint8_t *mask,
                                    uint64_t now_ns);
/* A Close frame; code 0 or 1005 sends an empty one; a reason above 123 bytes is cut at a character border. */
struct blob *message_close_frame(int code, const char *reason, const uint8_t *mask, uint64_t now_ns);
/* Whether this code may be sent by an endpoint (RFC 6455 section 7.4, IANA): 1000-1003, 1007-1014, 3000-4999.
 */
bool message_close_code_allowed(int code);
