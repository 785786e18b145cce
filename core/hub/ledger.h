/* All queued bytes of a process, and which connection holds the most: the budget evicts the largest first.
 *
 * Only a ledger that is ranked tells the largest: without a budget nobody asks, and two moves between lists
 * for each message are saved. Entries then stand in one list per power of two of their size, so that a change
 * of size is O(1) and the largest is found by looking through the topmost list only. */
#pragma once

#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

enum { LEDGER_BINS = 64 };

struct ledger {
    uint64_t total; /* bytes, all entries */
    bool ranked;    /* true once somebody asks for the largest; never false again */
    struct link bin[LEDGER_BINS];
};

/* Embedded in each connection. */
struct ledger_entry {
    struct link link; /* in a bin while bytes > 0, when the ledger is ranked */
    uint64_t bytes;
};

void ledger_init(struct ledger *l);
void ledger_entry_init(struct ledger_entry *e);
void ledger_update(struct ledger *l, struct ledger_entry *e, uint64_t bytes);
/* From now on the ledger is ranked; each entry that holds bytes has to be updated once, if only to what it
 * has. */
void ledger_rank(struct ledger *l);
/* The entry with the most bytes, or NULL when nobody has any. Of a ranked ledger. */
struct ledger_entry *ledger_largest(struct ledger *l);
