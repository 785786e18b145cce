/* Any program, executed in a process group of its own and watched. Workers are such programs too (spawn).
 *
 *     program_start -> exited -> program_free
 *
 * Its process stays a zombie until program_free, so that neither its number nor its group's can be somebody
 * else's while it is signalled. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct ev_loop;
struct memlimit;
struct program;

enum { PROGRAM_FDS = 5 };

struct program_owner {
    /* status: as waitpid tells it. The program may be freed afterwards, not in here. */
    void (*exited)(struct program_owner *, struct program *, int status);
};

struct program_plan {
    const char *file;             /* looked for on PATH unless it has a slash */
    const char *const *argv;      /* the name first, then NULL-terminated arguments */
    const char *const *env;       /* "NAME=value" beside this process's, NULL-terminated; NULL: none */
    const char *cwd;              /* NULL: this process's */
    const struct memlimit *limit; /* entered before anything of the program runs; NULL: none */
    int fd[PROGRAM_FDS]; /* what becomes its descriptors 0 to 4, from program_fd; -1: as it is here */
};

/* NULL when it could not be executed: `why` (size bytes) then says what failed. It dies with this process. */
struct program *program_start(struct ev_loop *loop, const struct program_plan *plan,
                              struct program_owner *owner, char *why, size_t size);
/* Moves `fd` out of the way of the numbers 0 to 4 (closing the old one) and closes it on exec. -1, with
 * errno, when that cannot be or `fd` is -1. */
int program_fd(int fd);
/* Opens a file to append to, for a plan's fd; -1 with errno. */
int program_log(const char *path);
pid_t program_pid(const struct program *p);
bool program_alive(const struct program *p);
/* To the whole group, also when what led it has exited. */
void program_kill(const struct program *p, int signal);
/* Kills what is left of the group and reaps the process. NULL is accepted. */
void program_free(struct program *p);
