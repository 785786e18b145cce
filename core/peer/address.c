#include "peer/address.h"

#include "base/bytes.h"
#include "base/fnv.h"

#include <stdlib.h>

enum { FIRST_BUCKETS = 64 };

struct address {
    struct address *next; /* in its bucket */
    struct in6_addr from;
    uint32_t count;
};

struct address_table {
    struct address **bucket;
    uint32_t buckets; /* a power of two */
    uint32_t held;
};

static struct address **bucket_of(const struct address_table *t, const struct in6_addr *from)
{
    return &t->bucket[fnv_add(FNV_START, from, sizeof *from) & (t->buckets - 1)];
}

struct address_table *address_table_new(void)
{
    struct address_table *t = mem_zero(sizeof *t);
    t->buckets = FIRST_BUCKETS;
    t->bucket = mem_zero(t->buckets * sizeof *t->bucket);
    return t;
}

void address_table_free(struct address_table *t)
{
    if (t == NULL)
        return;
    free(t->bucket);
    free(t);
}

static void grow(struct address_table *t)
{
    struct address_table larger = {.buckets = t->buckets * 2, .held = t->held};
    larger.bucket = mem_zero(larger.buckets * sizeof *larger.bucket);
    for (uint32_t i = 0; i < t->buckets; i++) {
        for (struct address *a = t->bucket[i], *next; a != NULL; a = next) {
            struct address **bucket = bucket_of(&larger, &a->from);
            next = a->next;
            a->next = *bucket;
            *bucket = a;
        }
    }
    free(t->bucket);
    *t = larger;
}

struct address *address_enter(struct address_table *t, const struct in6_addr *from)
{
    for (struct address *a = *bucket_of(t, from); a != NULL; a = a->next) {
        if (memcmp(&a->from, from, sizeof *from) == 0) {
            a->count++;
            return a;
        }
    }
    if (t->held++ == t->buckets)
        grow(t);
    struct address **bucket = bucket_of(t, from);
    struct address *a = mem_alloc(sizeof *a);
    *a = (struct address){.next = *bucket, .from = *from, .count = 1};
    *bucket = a;
    return a;
}

void address_leave(struct address_table *t, struct address *a)
{
    if (--a->count > 0)
        return;
    struct address **at = bucket_of(t, &a->from);
    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    t->held--;
    free(a);
}

uint32_t address_count(const struct address *a)
{
    return a->count;
}
