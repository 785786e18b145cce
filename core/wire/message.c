#include "wire/message.h"

#include "base/count.h"
#include "base/err.h"
#include "base/utf8.h"

#include <string.h>

/* The reader goes round between two states:
 *
 *     between frames --header accepted--> in_frame --payload whole (a message, maybe)--> between frames
 *
 * A frame lies in `frame`; beside it, and longer than it, lives the message under way: opcode, utf8 and body.
 * Control frames pass through in_frame without touching these three. */

enum { CODE_SIZE = 2, CODE_NONE = 1005, RSV1 = 4 };

void message_reader_init(struct message_reader *r, bool server, uint64_t limit)
{
    *r = (struct message_reader){.server = server, .limit = limit};
}

void message_reader_free(struct message_reader *r)
{
    buf_free(&r->body);
}

/* Keeps bytes of a header that did not come whole; in_frame is set when these complete it. */
static int collect_head(struct message_reader *r, const uint8_t *at, size_t size)
{
    size_t held = r->head_size;
    size_t more = least(FRAME_HEAD_MAX - held, size);
    memcpy(r->head + held, at, more);
    int head_size = frame_parse(r->head, held + more, &r->frame);
    if (head_size < 0)
        return head_size;
    r->in_frame = head_size > 0;
    r->head_size = r->in_frame ? 0 : (uint8_t)(held + more);
    return r->in_frame ? head_size - (int)held : (int)more;
}

/* Takes bytes of a header and returns how many; in_frame is set once it is whole. */
static int take_head(struct message_reader *r, const uint8_t *at, size_t size)
{
    int head_size = r->head_size == 0 ? frame_parse(at, size, &r->frame) : 0;
    if (head_size == 0)
        return collect_head(r, at, size);
    r->in_frame = head_size > 0;
    return head_size;
}

/* Whether a data frame may come now, and its message grow so large. */
static int begin_data(struct message_reader *r)
{
    bool starts = r->frame.opcode != FRAME_CONTINUATION;
    if (starts == (r->opcode != 0))
        return ERR_FRAGMENT;
    if (starts) {
        r->opcode = r->frame.opcode; /* utf8 is at its start: no text ends elsewhere */
        r->compressed = r->frame.rsv & RSV1;
        r->fragments = 0;
    }
    if (r->max_fragments > 0 && ++r->fragments > r->max_fragments)
        return ERR_FRAGMENTS;
    uint64_t so_far = r->compressed ? 0 : r->body.size;
    return r->frame.length > r->limit || so_far > r->limit - r->frame.length ? ERR_TOO_BIG : 0;
}

/* RSV1 marks the first frame of a compressed message. */
static bool rsv_allowed(const struct message_reader *r)
{
    bool starts = r->frame.opcode == FRAME_TEXT || r->frame.opcode == FRAME_BINARY;
    return r->frame.rsv == 0 || (r->frame.rsv == RSV1 && starts && r->inflation != NULL);
}

static int begin_frame(struct message_reader *r)
{
    r->left = r->frame.length;
    if (!rsv_allowed(r))
        return ERR_RSV_BITS;
    if (r->frame.masked != r->server)
        return ERR_MASK;
    if (!frame_is_control(r->frame.opcode))
        return begin_data(r);
    r->control_size = 0;
    return 0;
}

/* Whether the payload bytes at hand are the last of their message. */
static bool ends_message(const struct message_reader *r)
{
    return r->frame.fin && r->left == 0;
}

static int check_text(struct message_reader *r, const uint8_t *at, size_t size)
{
    r->utf8 = utf8_check(r->utf8, at, size);
    return r->utf8 == UTF8_INVALID || (ends_message(r) && r->utf8 != UTF8_START) ? ERR_UTF8 : 0;
}

/* Appends what the bytes say to the body. Before an error of the inflater is told, the text in front of it is
 * looked at, as it would have been if the bytes had come one by one. */
static int inflate_data(struct message_reader *r, const uint8_t *at, size_t size)
{
    struct inflation *i = r->inflation;
    size_t before = r->body.size;
    if (i->inflater == NULL)
        i->inflater = inflater_new(i->bits);
    int err = inflater_take(i->inflater, at, size, ends_message(r), r->limit, &r->body);
    if (r->opcode == FRAME_TEXT) {
        int text = check_text(r, r->body.at != NULL ? r->body.at + before : at, r->body.size - before);
        err = err == 0 || r->utf8 == UTF8_INVALID ? text : err;
    }
    if (err < 0 || (ends_message(r) && !i->keep_context))
        inflation_release(i);
    return err;
}

static void deliver(struct message_reader *r, const uint8_t *at, size_t size, struct message *ret_message)
{
    ret_message->kind = r->opcode == FRAME_TEXT ? MESSAGE_TEXT : MESSAGE_BINARY;
    ret_message->at = at;
    ret_message->size = size;
    r->opcode = 0; /* drop_delivered frees the body with the next call */
}

static int take_compressed(struct message_reader *r, const uint8_t *at, size_t size,
                           struct message *ret_message)
{
    int err = inflate_data(r, at, size);
    if (err == 0 && ends_message(r))
        deliver(r, r->body.at, r->body.size, ret_message);
    return err;
}

/* `at` holds the next `size` bytes of a data frame, unmasked; `left` is what comes behind them. */
static int take_data(struct message_reader *r, const uint8_t *at, size_t size, struct message *ret_message)
{
    if (r->compressed)
        return take_compressed(r, at, size, ret_message);
    int err = r->opcode == FRAME_TEXT ? check_text(r, at, size) : 0;
    if (err < 0)
        return err;
    bool in_one_piece = ends_message(r) && r->body.size == 0;
    if (!in_one_piece)
        buf_append(&r->body, at, size);
    if (ends_message(r))
        deliver(r, in_one_piece ? at : r->body.at, in_one_piece ? size : r->body.size, ret_message);
    return 0;
}

static int take_close(struct message_reader *r, struct message *message)
{
    r->closed = true;
    message->close_code = CODE_NONE;
    if (message->size == 0)
        return 0;
    if (message->size < CODE_SIZE)
        return ERR_PROTOCOL;
    message->close_code = get_u16(message->at);
    if (!message_close_code_allowed(message->close_code))
        return ERR_CLOSE_CODE;
    message->at += CODE_SIZE;
    message->size -= CODE_SIZE;
    return utf8_check(UTF8_START, message->at, message->size) == UTF8_START ? 0 : ERR_UTF8;
}

static enum message_kind control_kind(uint8_t opcode)
{
    return opcode == FRAME_CLOSE ? MESSAGE_CLOSE : opcode == FRAME_PING ? MESSAGE_PING : MESSAGE_PONG;
}

/* As take_data, for a control frame. */
static int take_control(struct message_reader *r, const uint8_t *at, size_t size, struct message *ret_message)
{
    bool in_one_piece = r->left == 0 && r->control_size == 0;
    if (!in_one_piece) {
        memcpy(r->control + r->control_size, at, size);
        r->control_size += (uint8_t)size;
    }
    if (r->left > 0)
        return 0;
    ret_message->kind = control_kind(r->frame.opcode);
    ret_message->at = in_one_piece ? at : r->control;
    ret_message->size = in_one_piece ? size : r->control_size;
    return ret_message->kind == MESSAGE_CLOSE ? take_close(r, ret_message) : 0;
}

static int take_payload(struct message_reader *r, uint8_t *at, size_t size, struct message *ret_message)
{
    if (r->frame.masked)
        frame_mask(at, size, r->frame.mask, r->frame.length - r->left);
    r->left -= size;
    r->in_frame = r->left > 0;
    return frame_is_control(r->frame.opcode) ? take_control(r, at, size, ret_message)
                                             : take_data(r, at, size, ret_message);
}

/* The body belongs to a message under way; without one it was handed out by the last call. */
static void drop_delivered(struct message_reader *r)
{
    if (r->opcode == 0 && r->body.at)
        buf_free(&r->body);
}

long message_read(struct message_reader *r, uint8_t *at, size_t size, struct message *ret_message)
{
    struct message message = {.kind = MESSAGE_NONE};
    size_t taken = r->closed ? size : 0;
    drop_delivered(r);
    if (!r->closed && !r->in_frame) {
        int head = take_head(r, at, size);
        int err = r->in_frame ? begin_frame(r) : head;
        if (err < 0)
            return err;
        taken = (size_t)head;
    }
    if (r->in_frame) {
        size_t piece = least(r->left, size - taken);
        int err = take_payload(r, at + taken, piece, &message);
        if (err < 0)
            return err;
        taken += piece;
    }
    *ret_message = message;
    return (long)taken;
}

static struct blob *frame_of(enum frame_opcode opcode, uint8_t rsv, const void *payload, size_t size,
                             const uint8_t *mask, uint64_t now_ns)
{
    struct frame_head frame = {
        .fin = true, .rsv = rsv, .opcode = (uint8_t)opcode, .masked = mask != NULL, .length = size};
    if (mask)
        memcpy(frame.mask, mask, sizeof frame.mask);
    uint8_t head[FRAME_HEAD_MAX];
    size_t head_size = frame_write(&frame, head);
    struct blob *blob = blob_new(head_size + size, now_ns, 0);
    memcpy(blob->bytes, head, head_size);
    if (size > 0)
        memcpy(blob->bytes + head_size, payload, size);
    count_add(COUNT_bytes_copied, size);
    if (mask)
        frame_mask(blob->bytes + head_size, size, mask, 0);
    return blob;
}

struct blob *message_frame(enum frame_opcode opcode, const void *payload, size_t size, const uint8_t *mask,
                           uint64_t now_ns)
{
    return frame_of(opcode, 0, payload, size, mask, now_ns);
}

struct blob *message_frame_deflated(enum frame_opcode opcode, const void *payload, size_t size,
                                    struct deflater *deflater, bool keep, const uint8_t *mask,
                                    uint64_t now_ns)
{
    struct buf small = {0};
    deflater_message(deflater, payload, size, keep, &small);
    bool gains = keep || small.size < size;
    struct blob *frame = gains ? frame_of(opcode, RSV1, small.at, small.size, mask, now_ns)
                               : frame_of(opcode, 0, payload, size, mask, now_ns);
    buf_free(&small);
    return frame;
}

/* The size of a reason that fits behind the code, without half a character at its end. */
static size_t reason_size(const char *reason)
{
    const size_t most = FRAME_CONTROL_MAX - CODE_SIZE;
    size_t size = strnlen(reason, most + 1);
    if (size <= most)
        return size;
    for (size = most; size > 0 && (reason[size] & 0xC0) == 0x80;)
        size--;
    return size;
}

struct blob *message_close_frame(int code, const char *reason, const uint8_t *mask, uint64_t now_ns)
{
    if (code == 0 || code == CODE_NONE)
        return message_frame(FRAME_CLOSE, NULL, 0, mask, now_ns);
    uint8_t payload[FRAME_CONTROL_MAX];
    size_t size = reason ? reason_size(reason) : 0;
    put_u16(payload, (uint16_t)code);
    memcpy(payload + CODE_SIZE, reason ? reason : "", size);
    return message_frame(FRAME_CLOSE, payload, CODE_SIZE + size, mask, now_ns);
}

bool message_close_code_allowed(int code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}
