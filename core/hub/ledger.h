/* All queued bytes of a process, and which connection holds the most: the budget evicts the largest first.
 *
 * Entries stand in one list per power of two of their size, so that a change of size is O(1) and the largest
 * is found by looking through the topmost list only. */
#pragma once

#include "base/list.h"

#include <stdint.h>

enum { LEDGER_BINS = 64 };

struct ledger {
    uint64_t total; /* bytes, all entries */
    struct link bin[LEDGER_BINS];
};

/* Embedded in each connection. */
struct ledger_entry {
    struct link link; /* in a bin while bytes > 0 */
    uint64_t bytes;
};

void ledger_init(struct ledger *l);
void ledger_entry_init(struct ledger_entry *e);
void ledger_update(struct ledger *l, struct ledger_entry *e, uint64_t bytes);
/* The entry with the most bytes, or NULL when nobody has any. */
struct ledger_entry *ledger_largest(struct ledger *l);
