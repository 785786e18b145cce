/* Clients that remember where they were: what the next attempt asks for, what of that has come, and what had
 * been seen before. Also the other half of the same contract, the publisher whose messages are answered.
 *
 * One struct for a swarm; what belongs to a client is kept only where the options ask for it. */
#pragma once

#include "role/config.h"
#include "role/record.h"
#include "wire/message.h"
#include "wire/replay_id.h"

/* Where one client is in the history. */
struct resume_place {
    struct replay_id last;   /* seen, or where it began; without an epoch while it knows of none */
    struct replay_id before; /* likewise, of the epoch before: some servers may be there still */
    uint64_t until;          /* what it missed ends with this offset; 0: it missed nothing */
};

bool resume_knows(const struct resume_place *p);
/* Whether it waits for more of what it missed. */
bool resume_behind(const struct resume_place *p);
/* The server's word on where it is now; true when it goes on from where it was. */
bool resume_recovered(struct resume_place *p, const struct replay_recovered *r);
enum resume_arrival { RESUME_NEW, RESUME_MISSED, RESUME_SEEN };
/* MISSED: as NEW, but sent before it came back. SEEN: an earlier one, which does not move it. */
enum resume_arrival resume_note(struct resume_place *p, const struct replay_id *id);

struct resume {
    struct resume_place *place; /* of each client; NULL without `resume` */
    uint64_t overlap;           /* messages before the last that are asked for once more */
    bool hands_on_all;          /* also what was seen before: testing_bug=no-dedup */
    bool acks;                  /* the first client asks for them */
    struct record *record;      /* NULL: none is kept */
    uint64_t *sent;             /* sequence numbers that wait for an answer: a ring */
    size_t capacity;            /* a power of two, or 0 */
    uint64_t answered, asked;   /* messages of this connection, counted from 1 */
};

/* What a message says, behind its id. */
struct resume_message {
    struct slice body;
    struct replay_id id; /* where it has_id */
    struct stamp stamp;  /* where it is_stamped */
    bool has_id;
    bool is_stamped;
};

/* ERR_SYSTEM with errno when the record cannot be written. */
int resume_start(struct resume *r, const struct swarm_config *c);
void resume_stop(struct resume *r);
/* Parameters of the client's next request, "since=ID&acks=1", or "". */
enum { RESUME_QUERY_SIZE = 64 };
void resume_query(const struct resume *r, uint64_t client, char query[RESUME_QUERY_SIZE]);
void resume_opened(struct resume *r, uint64_t client, uint64_t now_ns);
/* Also what was not answered is now known to be unknown. */
void resume_lost(struct resume *r, uint64_t client, int code, uint64_t now_ns);
/* Counts and records; false: it is not for the application, being a notice or having been seen before. */
bool resume_take(struct resume *r, uint64_t client, const struct message *message, uint64_t now_ns,
                 struct resume_message *ret_message);
/* The first client has queued one. */
void resume_sent(struct resume *r, uint64_t sequence, uint64_t now_ns);
