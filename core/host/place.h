/* Where the memory cgroups are on this machine. Internal to this room. */
#pragma once

#include "host/memlimit.h"

#include <limits.h>

struct place {
    enum memlimit_kind kind; /* v2 or v1 */
    char mount[PATH_MAX];    /* of the hierarchy that limits memory */
    char own[PATH_MAX];      /* this process's cgroup; the mount when it cannot be seen from here */
};

/* Reads ROOT/proc/self/{cgroup,mountinfo}; `root` stands before every path and is "" except in tests. 0, or
 * ERR_UNSUPPORTED when no hierarchy limits memory. */
int place_find(const char *root, struct place *ret_place);
