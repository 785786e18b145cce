/* The figures of count.def as an enum, and the stats page they live in: plain memory, shared, one writer.
 *
 * A worker maps the page read-write; the controller maps the same memory and reads whenever it likes, also
 * after the worker is dead. Each cell is written with a single aligned store, so no reading is ever torn. */
#pragma once

#include "base/hist.h"

#include <stdint.h>

enum count_id {
#define COUNT(role, name, kind, unit, help) COUNT_##name,
#define HIST(role, name, help)
#include "base/count.def"
#undef COUNT
#undef HIST
    COUNT_IDS
};

enum hist_id {
#define COUNT(role, name, kind, unit, help)
#define HIST(role, name, help) HIST_##name,
#include "base/count.def"
#undef COUNT
#undef HIST
    HIST_IDS
};

/* A row of count.def, for whoever shows figures. */
struct count_row {
    const char *role, *name, *kind, *unit, *help;
};

extern const struct count_row count_rows[COUNT_IDS];
extern const struct count_row count_hist_rows[HIST_IDS];

enum { CLOSE_ROWS = 32 };

/* How often a close code was seen or sent. The last row gathers what found no row of its own, as code 0. */
struct close_row {
    uint64_t code;
    uint64_t sent;
    uint64_t seen;
};

struct page {
    uint64_t magic; /* PAGE_MAGIC: size and layout agree */
    uint64_t count[COUNT_IDS];
    struct close_row close[CLOSE_ROWS];
    struct hist hist[HIST_IDS];
};

#define PAGE_MAGIC (0x7773620000000000ULL ^ sizeof(struct page))

/* The page this process writes. A private one until count_use, which signs the new one with PAGE_MAGIC; never
 * NULL. */
extern struct page *count_page;
void count_use(struct page *page);

static inline void count_set(enum count_id id, uint64_t value)
{
    __atomic_store_n(&count_page->count[id], value, __ATOMIC_RELAXED);
}

static inline uint64_t count_get(enum count_id id)
{
    return count_page->count[id];
}

static inline void count_add(enum count_id id, uint64_t more)
{
    count_set(id, count_page->count[id] + more);
}

static inline void count_sub(enum count_id id, uint64_t less)
{
    count_set(id, count_page->count[id] - less);
}

/* Raises a peak to `value` where it is lower. */
static inline void count_peak(enum count_id id, uint64_t value)
{
    if (value > count_page->count[id])
        count_set(id, value);
}

void count_close_sent(int code);
void count_close_seen(int code);
static inline void count_time(enum hist_id id, uint64_t value_ns)
{
    hist_record(&count_page->hist[id], value_ns);
}
