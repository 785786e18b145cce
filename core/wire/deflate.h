/* permessage-deflate (RFC 7692): its negotiation, and messages through zlib. */
#pragma once

#include "wire/http1.h"
#include "base/buf.h"

#include <stdbool.h>

/* Windows that zlib can make. */
enum { DEFLATE_BITS_MIN = 9, DEFLATE_BITS_MAX = 15 };

/* What an end is willing to do, or what both have agreed on. */
struct deflate_terms {
    bool on;
    bool server_no_context, client_no_context; /* that side begins each message with an empty window */
    uint8_t server_bits, client_bits; /* window of that side's messages, 8 to 15; zlib makes 9 to 15 */
    bool server_bits_named;           /* the offer has the parameter, so the answer has it too */
};

/* Server: agrees to the first offer of the request that `policy` can meet; ret_terms->on is false where there
 * is none. 0, or ERR_HTTP_EXTENSION when the header is not well formed. */
int deflate_accept(const struct http1_head *request, const struct deflate_terms *policy,
                   struct deflate_terms *ret_terms);
/* Appends the header line of the answer; nothing unless terms->on. */
void deflate_answer(const struct deflate_terms *terms, struct buf *out);
/* Client: appends the header line of the request; nothing unless offer->on. */
void deflate_offer(const struct deflate_terms *offer, struct buf *out);
/* Client: 0 with what the response agrees to, or ERR_PROTOCOL when it was not offered or is malformed. */
int deflate_check(const struct http1_head *response, const struct deflate_terms *offer,
                  struct deflate_terms *ret_terms);

/* A compressor with a window of so many bits, 9 to 15. */
struct deflater;
struct deflater *deflater_new(uint8_t bits);
/* Appends a message's payload, without the 00 00 ff ff at its end. keep: the next message goes on with this
 * one's window. */
void deflater_message(struct deflater *d, const void *at, size_t size, bool keep, struct buf *out);
/* NULL is accepted. */
void deflater_free(struct deflater *d);

/* A decompressor for a window of up to so many bits, 8 to 15. */
struct inflater;
struct inflater *inflater_new(uint8_t bits);
/* Takes the next bytes of a message and appends what they say; last: they are its last (possibly none).
 * `most`: what out may hold at most: ERR_TOO_BIG before it is exceeded. ERR_INFLATE: no deflate stream. */
int inflater_take(struct inflater *i, const uint8_t *at, size_t size, bool last, uint64_t most,
                  struct buf *out);
/* NULL is accepted. */
void inflater_free(struct inflater *i);

/* What a connection keeps for its peer's compressed messages. */
struct inflation {
    struct inflater *inflater; /* NULL until the first compressed message, and between messages unless kept */
    uint8_t bits;
    bool keep_context;
};
void inflation_release(struct inflation *i);
