#include "base/count.h"

#define COUNTER "counter"
#define GAUGE   "gauge"

const struct count_row count_rows[COUNT_IDS] = {
#define COUNT(role, name, kind, unit, help) {#role, #name, kind, unit, help},
#define HIST(role, name, help)
#include "base/count.def"
#undef COUNT
#undef HIST
};

const struct count_row count_hist_rows[HIST_IDS] = {
#define COUNT(role, name, kind, unit, help)
#define HIST(role, name, help) {#role, #name, "histogram", "seconds", help},
#include "base/count.def"
#undef COUNT
#undef HIST
};

static struct page own_page = {.magic = PAGE_MAGIC};

struct page *count_page = &own_page;

void count_use(struct page *page)
{
    count_page = page;
    __atomic_store_n(&page->magic, PAGE_MAGIC, __ATOMIC_RELAXED);
}

/* The row of that code, a free one made its own, or the last. */
static struct close_row *row_of(int code)
{
    struct close_row *last = &count_page->close[CLOSE_ROWS - 1];
    if (code <= 0)
        return last;
    for (struct close_row *row = count_page->close; row < last; row++) {
        if (row->code == 0)
            __atomic_store_n(&row->code, (uint64_t)code, __ATOMIC_RELAXED);
        if (row->code == (uint64_t)code)
            return row;
    }
    return last;
}

void count_close_sent(int code)
{
    struct close_row *row = row_of(code);
    __atomic_store_n(&row->sent, row->sent + 1, __ATOMIC_RELAXED);
}

void count_close_seen(int code)
{
    struct close_row *row = row_of(code);
    __atomic_store_n(&row->seen, row->seen + 1, __ATOMIC_RELAXED);
}
