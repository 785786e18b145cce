/* The kernel's TCP counters of the network namespace this process is in. */
#pragma once

#include <stdint.h>

enum netstat_id {
#define NETSTAT(line, name, kind, help) NETSTAT_##name,
#include "host/netstat.def"
#undef NETSTAT
    NETSTAT_IDS
};

/* A row of netstat.def. */
struct netstat_row {
    const char *line, *name, *kind, *help; /* kind: "counter" or "gauge" */
};

extern const struct netstat_row netstat_rows[NETSTAT_IDS];

struct netstat {
    int64_t value[NETSTAT_IDS]; /* -1: this kernel does not tell */
};

/* From the texts of /proc/net/snmp and /proc/net/netstat: a line of names, then one of values. Columns are
 * found by name, wherever they stand. Whatever is missing or cut off is -1. */
void netstat_parse(const char *snmp, const char *netstat, struct netstat *ret_figures);
/* Now, in about 0.1 ms. 0, or ERR_SYSTEM with errno. */
int netstat_read(struct netstat *ret_figures);
