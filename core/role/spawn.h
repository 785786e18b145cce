/* The controller's side of a worker: this program executed again, so that its memory and CPU are its own.
 *
 *     fd 3  the channel (ctl)      fd 4  the stats page, shared memory that outlives the worker
 *
 *     child_spawn -> READY or FAILED -> NOTICE, REPLY ... -> EXIT -> child_free */
#pragma once

#include "role/config.h"
#include "role/ctl.h"

#include <stdbool.h>
#include <sys/types.h>

struct ev_loop;
struct child;
struct memlimit;
struct page;

enum { CHILD_CHANNEL_FD = 3, CHILD_PAGE_FD = 4 };

/* The first argument that makes the program a worker; the role's name follows. */
#define CHILD_ARGUMENT "--worker"

struct child_owner {
    /* ready, reply or a notice, as in ctl.def. */
    void (*said)(struct child_owner *, struct child *, const struct ctl_message *);
    /* status: as waitpid tells it. The child may be freed afterwards, not in here. */
    void (*exited)(struct child_owner *, struct child *, int status);
};

struct child_plan {
    enum role role;
    const char *const *settings;  /* as wsb_server_new and wsb_swarm_new take them */
    const struct memlimit *limit; /* NULL: none */
    const char *log_path;         /* its stderr is appended there; NULL: this process's */
};

/* NULL when it could not even be executed: `why` says. Whether its
 * settings are accepted comes later: "ready", or "failed" with why=... and then its exit. */
struct child *child_spawn(struct ev_loop *loop, const struct child_plan *plan, struct child_owner *owner,
                          char *why, size_t why_size);
pid_t child_pid(const struct child *c);
bool child_alive(const struct child *c);
enum role child_role(const struct child *c);
const struct page *child_page(const struct child *c);
/* 0, or what ctl_send returns. */
int child_send(struct child *c, const char *verb, uint64_t seq, const char *const *settings);
/* To its process group. Nothing happens when it has exited. */
void child_kill(struct child *c, int signal);
/* Kills what is alive, reaps it, unmaps the page. NULL is accepted. */
void child_free(struct child *c);
