#include "host/memlimit.h"

#include "host/cgroup.h"
#include "host/file.h"
#include "host/place.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A killed process is reaped a little before its memory, and so its cgroup, is free. */
enum { REMOVE_TRIES = 200, REMOVE_PAUSE_NS = 10 * 1000 * 1000 };

struct memlimit {
    enum memlimit_kind kind;
    uint64_t bytes;
    int parent; /* descriptors of the cgroup above and of ours; -1 for an RLIMIT */
    int dir;
    char name[NAME_MAX]; /* in parent */
    char path[PATH_MAX];
};

/* --- making a cgroup: each step returns NULL, or what was refused, errno saying why */

static const char *make_directory(struct memlimit *m, const char *parent_path)
{
    int number = 0, made;
    do {
        snprintf(m->name, sizeof(m->name), "wsb-%d-%d", (int)getpid(), number++);
        made = mkdirat(m->parent, m->name, 0755);
    } while (made < 0 && errno == EEXIST);
    if (made < 0)
        return "mkdir";
    if (snprintf(m->path, PATH_MAX, "%s/%s", parent_path, m->name) >= PATH_MAX)
        errno = ENAMETOOLONG;
    else
        m->dir = openat(m->parent, m->name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return m->dir < 0 ? "open" : NULL;
}

static const char *make_below(struct memlimit *m, const char *parent_path)
{
    cgroup_sweep(m->parent);
    if (m->kind == MEMLIMIT_CGROUP_V2 && cgroup_delegate(m->parent) < 0)
        return "giving the memory controller to children";
    const char *refused = make_directory(m, parent_path);
    if (!refused && cgroup_set_limit(m->kind, m->dir, m->bytes) < 0)
        refused = "setting the limit";
    return refused;
}

static void close_cgroup(struct memlimit *m)
{
    if (m->dir >= 0)
        close(m->dir);
    if (m->parent >= 0)
        close(m->parent);
    m->dir = m->parent = -1;
    m->name[0] = m->path[0] = '\0';
    m->kind = MEMLIMIT_RLIMIT;
}

static const char *make_in(struct memlimit *m, enum memlimit_kind kind, const char *parent_path)
{
    m->kind = kind;
    m->parent = open(parent_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    const char *refused = m->parent < 0 ? "open" : make_below(m, parent_path);
    if (refused) {
        int why = errno;
        if (m->name[0])
            unlinkat(m->parent, m->name, AT_REMOVEDIR);
        close_cgroup(m);
        errno = why;
    }
    return refused;
}

/* In our own cgroup, or as near above it as the kernel lets us: in v2 a cgroup with processes in it can have
 * no children with limits, but a sibling of ours may do. What our own refused goes to `why`. */
static bool make_upwards(struct memlimit *m, const struct place *place, char *why, size_t size)
{
    char dir[PATH_MAX];
    memcpy(dir, place->own, sizeof(dir));
    const char *refused = make_in(m, place->kind, dir);
    if (refused)
        snprintf(why, size, "%s: %s in %s: %s%s", memlimit_kind_name(place->kind), refused, dir,
                 strerror(errno), strcmp(place->own, place->mount) == 0 ? "" : ", nor in any cgroup above");
    while (refused && strlen(dir) > strlen(place->mount)) {
        *strrchr(dir, '/') = '\0';
        refused = make_in(m, place->kind, dir);
    }
    return !refused;
}

/* The last resort, since it moves this process: leave our own cgroup to its children. */
static bool make_stepping_aside(struct memlimit *m, const struct place *place)
{
    if (place->kind != MEMLIMIT_CGROUP_V2)
        return false;
    int own = open(place->own, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (own < 0)
        return false;
    bool made = cgroup_step_aside(own) == 0 && !make_in(m, place->kind, place->own);
    if (!made)
        cgroup_step_back(own);
    close(own);
    return made;
}

static void make_cgroup(struct memlimit *m, char *why, size_t size)
{
    struct place place;
    if (place_find("", &place) < 0)
        snprintf(why, size, "no cgroup hierarchy with the memory controller is mounted");
    else if (make_upwards(m, &place, why, size) || make_stepping_aside(m, &place))
        snprintf(why, size, "%s", "");
}

struct memlimit *memlimit_new(uint64_t bytes, bool allow_cgroup, char *why, size_t size)
{
    struct memlimit *m = mem_zero(sizeof(*m));
    m->kind = MEMLIMIT_RLIMIT;
    m->bytes = bytes;
    m->parent = m->dir = -1;
    snprintf(why, size, "%s", "");
    if (allow_cgroup)
        make_cgroup(m, why, size);
    return m;
}

/* --- using it */

enum memlimit_kind memlimit_kind(const struct memlimit *m)
{
    return m->kind;
}

const char *memlimit_kind_name(enum memlimit_kind kind)
{
    switch (kind) {
    case MEMLIMIT_CGROUP_V2: return "cgroup v2";
    case MEMLIMIT_CGROUP_V1: return "cgroup v1";
    case MEMLIMIT_RLIMIT: return "RLIMIT_DATA";
    }
    return "?";
}

const char *memlimit_path(const struct memlimit *m)
{
    return m->path;
}

/* Without a core dump: writing out all that memory would be the run's longest part. */
static int enter_rlimit(uint64_t bytes)
{
    struct rlimit data, core = {0, 0};
    if (getrlimit(RLIMIT_DATA, &data) < 0)
        return ERR_SYSTEM;
    if (bytes < data.rlim_max)
        data.rlim_max = bytes;
    data.rlim_cur = data.rlim_max;
    if (setrlimit(RLIMIT_DATA, &data) < 0 || setrlimit(RLIMIT_CORE, &core) < 0)
        return ERR_SYSTEM;
    return 0;
}

int memlimit_enter(const struct memlimit *m)
{
    return m->dir < 0 ? enter_rlimit(m->bytes) : file_write(m->dir, "cgroup.procs", "0");
}

int memlimit_read(const struct memlimit *m, struct memlimit_state *ret_state)
{
    return m->dir < 0 ? ERR_UNSUPPORTED : cgroup_read(m->kind, m->dir, ret_state);
}

static void remove_cgroup(const struct memlimit *m)
{
    const struct timespec pause = {.tv_nsec = REMOVE_PAUSE_NS};
    int removed = unlinkat(m->parent, m->name, AT_REMOVEDIR);
    for (int i = 0; removed < 0 && errno == EBUSY && i < REMOVE_TRIES; i++) {
        nanosleep(&pause, NULL);
        removed = unlinkat(m->parent, m->name, AT_REMOVEDIR);
    }
    if (removed < 0 && errno != ENOENT)
        log_line(LOG_WARN, "cannot remove the cgroup %s: %s", m->path, strerror(errno));
    if (m->kind == MEMLIMIT_CGROUP_V2)
        cgroup_step_back(m->parent);
}

void memlimit_free(struct memlimit *m)
{
    if (!m)
        return;
    if (m->dir >= 0)
        remove_cgroup(m);
    close_cgroup(m);
    free(m);
}
