/* A network of this process's own: a fresh network namespace, where nobody else's connections count, the
 * kernel's settings can be pinned, and nothing leads outside.
 *
 *     netns_enter -> sockets, workers ... -> netns_enter (the next run) ... -> netns_leave
 *
 * Sockets and epoll sets that are open stay where they were made. Only for a process with a single thread. */
#pragma once

#include <stddef.h>

enum netns_kind { NETNS_NETWORK, NETNS_USER_AND_NETWORK };

/* Moves this process, and what it starts from now on, into a fresh network namespace with its loopback up.
 * Who may not make one gets a user namespace around it, the first time, and this process stays in that for
 * good: there it is user 0, which is still its own user to everything outside.
 *
 * 0, or ERR_SYSTEM: `why` (size bytes) then says what was refused, and the process is where it was, since
 * what cannot be undone is tried in a child first. */
int netns_enter(enum netns_kind *ret_kind, char *why, size_t size);
/* Whether netns_enter would succeed now, and how; tried in a child, so that nothing changes here. */
int netns_probe(enum netns_kind *ret_kind, char *why, size_t size);
/* Back to the namespace of the first netns_enter; at once when there was none. 0, or ERR_SYSTEM with `why`:
 * the kernel lets nobody out of a user namespace. */
int netns_leave(char *why, size_t size);

const char *netns_kind_name(enum netns_kind kind); /* "network namespace", "user and network namespace" */
