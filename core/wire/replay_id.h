/* What a server with a history writes in front of messages and says about them, for both ends.
 *
 *     1f2e3d4c:17\nPAYLOAD    a message with its id: the epoch of the topic's history and the place in it
 *     -\nPAYLOAD              one that could not be stored
 *
 * There is one way to write each of these, and only that is read. */
#pragma once

#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

/* Room for an id and its terminator; for any notice and its. */
enum { REPLAY_ID_SIZE = 32, REPLAY_NOTICE_SIZE = 128 };

/* As the id of a message, offset counts from 1; as a place in the history it is that of the last message
 * before, so 0 stands before the first. */
struct replay_id {
    char epoch[9]; /* eight lower-case hex digits */
    uint64_t offset;
};

/* {"wsb":"recovered","recovered":true,"epoch":"1f2e3d4c","offset":17} */
struct replay_recovered {
    bool
        recovered; /* all that was missed follows, up to and past the offset; else live messages from there */
    struct replay_id at;
};

/* {"wsb":"ack","n":1,"id":"1f2e3d4c:18"} or {"wsb":"nack","n":2} */
struct replay_ack {
    bool stored;
    uint64_t n;          /* which message of the connection, from 1 */
    struct replay_id id; /* only of one that was stored */
};

/* All of the text is a place, 0 among them: 0, else ERR_PROTOCOL. */
int replay_id_parse(struct slice text, struct replay_id *ret_id);
/* Returns the length. */
size_t replay_id_write(const struct replay_id *id, char text[REPLAY_ID_SIZE]);
bool replay_id_same_epoch(const struct replay_id *a, const struct replay_id *b);
/* Takes the id line off: 1, or 0 for the line of a message without an id (ret_id is left as it is), or
 * ERR_PROTOCOL when the payload begins with neither. */
int replay_split(struct slice payload, struct replay_id *ret_id, struct slice *ret_body);

/* 0, or ERR_PROTOCOL for anything else. */
int replay_recovered_parse(struct slice payload, struct replay_recovered *ret_recovered);
int replay_ack_parse(struct slice payload, struct replay_ack *ret_ack);
/* Return the length. */
size_t replay_recovered_write(const struct replay_recovered *recovered, char text[REPLAY_NOTICE_SIZE]);
size_t replay_ack_write(const struct replay_ack *ack, char text[REPLAY_NOTICE_SIZE]);
