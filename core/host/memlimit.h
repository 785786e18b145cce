/* A memory limit that really kills: a cgroup of its own (v2 or v1) where that is permitted, otherwise
 * RLIMIT_DATA, which makes the allocator fail instead. Which one it is is never hidden.
 *
 *     memlimit_new -> memlimit_enter (in the child, between fork and exec) -> memlimit_read ... ->
 * memlimit_free */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum memlimit_kind { MEMLIMIT_CGROUP_V2, MEMLIMIT_CGROUP_V1, MEMLIMIT_RLIMIT };

struct memlimit;

struct memlimit_state {
    uint64_t usage_bytes;  /* charged now */
    uint64_t peak_bytes;   /* max_usage / memory.peak; 0 where the kernel does not tell */
    uint64_t socket_bytes; /* charged for sockets: within usage (v2), beside it (v1) */
    uint64_t oom_kills;    /* by the kernel's own counter, since the limit was made */
    uint64_t limit_hits;   /* failcnt / memory.events max */
};

/* Makes the limit. `allow_cgroup` false goes straight to RLIMIT_DATA. A cgroup that cannot be had is not an
 * error: `why` (size bytes) then says what was tried and what was refused, and is empty otherwise.
 * Also removes what a controller that was killed left: cgroups named wsb-PID-N whose PID is gone. */
struct memlimit *memlimit_new(uint64_t bytes, bool allow_cgroup, char *why, size_t size);
enum memlimit_kind memlimit_kind(const struct memlimit *m);
const char *memlimit_kind_name(enum memlimit_kind kind); /* "cgroup v2", "cgroup v1", "RLIMIT_DATA" */
/* The cgroup's directory, or "" for an RLIMIT. */
const char *memlimit_path(const struct memlimit *m);
/* Puts the calling process under the limit. Async-signal-safe. 0 or ERR_SYSTEM with errno. */
int memlimit_enter(const struct memlimit *m);
/* 0, ERR_UNSUPPORTED for an RLIMIT, which keeps no account, or ERR_SYSTEM with errno. */
int memlimit_read(const struct memlimit *m, struct memlimit_state *ret_state);
/* Removes the cgroup; its processes must be gone. NULL is accepted. */
void memlimit_free(struct memlimit *m);
