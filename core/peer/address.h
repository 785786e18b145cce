/* How many connections each client address has: a hash table of those that have any. */
#pragma once

#include <netinet/in.h>
#include <stdint.h>

struct address_table;

/* One address; it lives as long as somebody holds it. */
struct address;

struct address_table *address_table_new(void);
/* NULL is accepted. Nobody may hold an address any more. */
void address_table_free(struct address_table *t);

/* One more connection of this address; returns what address_leave takes. */
struct address *address_enter(struct address_table *t, const struct in6_addr *from);
void address_leave(struct address_table *t, struct address *a);
/* Its connections now. */
uint32_t address_count(const struct address *a);
