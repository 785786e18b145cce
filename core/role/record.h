/* The file that a swarm writes about what it sent and saw, for who checks afterwards that nothing was lost,
 * made up or turned around. One event a line, times in ns of CLOCK_MONOTONIC, clients as COHORT/NUMBER:
 *
 *     S COHORT/0 SEQ TIME                 published: in the queue of the connection
 *     A COHORT/0 SEQ EPOCH:OFFSET TIME    acknowledged
 *     N COHORT/0 SEQ TIME                 not, or nobody will ever know
 *     O COHORT/7 TIME                     open
 *     L COHORT/7 CODE TIME                lost, or closed
 *     R COHORT/7 1|0 EPOCH:OFFSET TIME    the server's `recovered`
 *     D COHORT/7 EPOCH:OFFSET|- PUBLISHER SEQ TIME    handed on
 *     K COHORT/7 STATE TIME               cut by the swarm, in that state
 *
 * It is buffered, and whole after record_flush. NULL is a record that is not kept: all but open take it. */
#pragma once

#include "wire/replay_id.h"
#include "wire/stamp.h"

struct record;

/* Begins the file anew. NULL with errno. */
struct record *record_open(const char *path, const char *cohort);
void record_flush(struct record *r);
void record_close(struct record *r);

void record_sent(struct record *r, uint64_t client, uint64_t sequence, uint64_t now_ns);
/* id: NULL for one that was not stored, or may not have been. */
void record_answered(struct record *r, uint64_t client, uint64_t sequence, const struct replay_id *id,
                     uint64_t now_ns);
void record_opened(struct record *r, uint64_t client, uint64_t now_ns);
void record_lost(struct record *r, uint64_t client, int code, uint64_t now_ns);
void record_recovered(struct record *r, uint64_t client, const struct replay_recovered *recovered,
                      uint64_t now_ns);
/* id: NULL for a message without one. */
void record_delivered(struct record *r, uint64_t client, const struct replay_id *id,
                      const struct stamp *stamp, uint64_t now_ns);
void record_cut(struct record *r, uint64_t client, const char *state, uint64_t now_ns);
