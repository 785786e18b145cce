#include "base/count.h"

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
