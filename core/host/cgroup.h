/* The files and directories of memory cgroups: what each version calls its figures, and what wsb makes there,
 * named "wsb-PID-...". A `dir` is a descriptor of a cgroup's directory. Internal to this room. */
#pragma once

#include "host/memlimit.h"

#include <stdint.h>

/* 0 or ERR_SYSTEM with errno. */
int cgroup_set_limit(enum memlimit_kind kind, int dir, uint64_t bytes);
int cgroup_read(enum memlimit_kind kind, int dir, struct memlimit_state *ret_state);

/* v2: lets the children of dir have limits, and makes sure that this process may move its own into them.
 * 0 or ERR_SYSTEM with errno: EBUSY while dir itself has processes. */
int cgroup_delegate(int dir);
/* v2: as cgroup_delegate for our own cgroup, which can be EBUSY because of us: we move into a child of it.
 * Undone when it does not help. */
int cgroup_step_aside(int dir);
/* Undoes cgroup_step_aside once the last other cgroup of this process is gone; harmless without one. */
void cgroup_step_back(int dir);

/* Removes the empty cgroups of wsb processes that are dead. */
void cgroup_sweep(int dir);
