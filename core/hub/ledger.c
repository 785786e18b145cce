#include "hub/ledger.h"

/* bytes > 0. Bin b holds 2^b up to below 2^(b+1). */
static struct link *bin_of(struct ledger *l, uint64_t bytes)
{
    return &l->bin[LEDGER_BINS - 1 - __builtin_clzll(bytes)];
}

void ledger_init(struct ledger *l)
{
    l->total = 0;
    l->ranked = false;
    for (int i = 0; i < LEDGER_BINS; i++)
        link_init(&l->bin[i]);
}

void ledger_entry_init(struct ledger_entry *e)
{
    link_init(&e->link);
    e->bytes = 0;
}

static void move(struct ledger *l, struct ledger_entry *e, uint64_t was)
{
    struct link *from = was ? bin_of(l, was) : NULL;
    struct link *into = e->bytes ? bin_of(l, e->bytes) : NULL;
    if (!into)
        link_remove(&e->link);
    else if (into != from || list_empty(&e->link))
        list_append(into, &e->link);
}

void ledger_update(struct ledger *l, struct ledger_entry *e, uint64_t bytes)
{
    uint64_t was = e->bytes;
    l->total += bytes - was;
    e->bytes = bytes;
    if (l->ranked)
        move(l, e, was);
}

void ledger_rank(struct ledger *l)
{
    l->ranked = true;
}

static struct ledger_entry *largest_in(const struct link *bin)
{
    struct ledger_entry *largest = NULL;
    for (struct link *at = bin->next; at != bin; at = at->next) {
        struct ledger_entry *e = LIST_OF(at, struct ledger_entry, link);
        if (!largest || e->bytes > largest->bytes)
            largest = e;
    }
    return largest;
}

struct ledger_entry *ledger_largest(struct ledger *l)
{
    for (int i = LEDGER_BINS - 1; i >= 0; i--)
        if (!list_empty(&l->bin[i]))
            return largest_in(&l->bin[i]);
    return NULL;
}
