#include "host/cgroup.h"

#include "host/file.h"
#include "base/err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Not every kernel has every file: swap accounting, above all, is often off. */
static bool is_absent(int why)
{
    return why == ENOENT || why == EOPNOTSUPP;
}

static int write_bytes(int dir, const char *name, uint64_t bytes)
{
    char text[32];
    snprintf(text, sizeof(text), "%" PRIu64, bytes);
    return file_write(dir, name, text);
}

static int set_limit_v1(int dir, uint64_t bytes)
{
    if (write_bytes(dir, "memory.limit_in_bytes", bytes) < 0)
        return ERR_SYSTEM;
    /* Memory and swap together. A page more, or this limit would be hit first, and the kernel (6.18) counts
     * in failcnt only the hits of the other. */
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (write_bytes(dir, "memory.memsw.limit_in_bytes", bytes + page) < 0 && !is_absent(errno))
        return ERR_SYSTEM;
    /* v1 keeps no account of socket memory until it has a limit, so it gets one that is never reached. */
    if (write_bytes(dir, "memory.kmem.tcp.limit_in_bytes", INT64_MAX) < 0 && !is_absent(errno))
        return ERR_SYSTEM;
    return 0;
}

static int set_limit_v2(int dir, uint64_t bytes)
{
    if (write_bytes(dir, "memory.max", bytes) < 0 ||
        (write_bytes(dir, "memory.swap.max", 0) < 0 && !is_absent(errno)) ||
        (write_bytes(dir, "memory.oom.group", 0) < 0 && !is_absent(errno)))
        return ERR_SYSTEM;
    return 0;
}

int cgroup_set_limit(enum memlimit_kind kind, int dir, uint64_t bytes)
{
    return kind == MEMLIMIT_CGROUP_V2 ? set_limit_v2(dir, bytes) : set_limit_v1(dir, bytes);
}

static int read_v1(int dir, struct memlimit_state *s)
{
    char oom[256];
    if (file_read_u64(dir, "memory.usage_in_bytes", &s->usage_bytes) < 0 ||
        file_read_u64(dir, "memory.max_usage_in_bytes", &s->peak_bytes) < 0 ||
        file_read_u64(dir, "memory.failcnt", &s->limit_hits) < 0 ||
        file_read(dir, "memory.oom_control", oom, sizeof(oom)) < 0)
        return ERR_SYSTEM;
    text_figure(oom, "oom_kill", &s->oom_kills);
    file_read_u64(dir, "memory.kmem.tcp.usage_in_bytes", &s->socket_bytes);
    return 0;
}

static int read_v2(int dir, struct memlimit_state *s)
{
    char events[512], stat[8192];
    if (file_read_u64(dir, "memory.current", &s->usage_bytes) < 0 ||
        file_read(dir, "memory.events", events, sizeof(events)) < 0 ||
        file_read(dir, "memory.stat", stat, sizeof(stat)) < 0)
        return ERR_SYSTEM;
    text_figure(events, "oom_kill", &s->oom_kills);
    text_figure(events, "max", &s->limit_hits);
    text_figure(stat, "sock", &s->socket_bytes);
    file_read_u64(dir, "memory.peak", &s->peak_bytes);
    return 0;
}

int cgroup_read(enum memlimit_kind kind, int dir, struct memlimit_state *ret_state)
{
    struct memlimit_state s = {0};
    if ((kind == MEMLIMIT_CGROUP_V2 ? read_v2(dir, &s) : read_v1(dir, &s)) < 0)
        return ERR_SYSTEM;
    *ret_state = s;
    return 0;
}

/* --- v2: either processes or children with limits */

int cgroup_delegate(int dir)
{
    char enabled[1024];
    if (faccessat(dir, "cgroup.procs", W_OK, 0) < 0 ||
        file_read(dir, "cgroup.subtree_control", enabled, sizeof(enabled)) < 0)
        return ERR_SYSTEM;
    return text_has_word(enabled, "memory") ? 0 : file_write(dir, "cgroup.subtree_control", "+memory");
}

static void aside_name(char name[NAME_MAX])
{
    snprintf(name, NAME_MAX, "wsb-%d-ctl", (int)getpid());
}

static int open_aside(int dir, const char *name)
{
    return openat(dir, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* This process, and the workers it has started meanwhile. */
static void move_everybody(int from, int into)
{
    char pids[4096];
    if (file_read(from, "cgroup.procs", pids, sizeof(pids)) < 0)
        return;
    char *rest = NULL;
    for (char *pid = strtok_r(pids, "\n", &rest); pid; pid = strtok_r(NULL, "\n", &rest))
        file_write(into, "cgroup.procs", pid);
}

int cgroup_step_aside(int dir)
{
    char name[NAME_MAX];
    aside_name(name);
    if (mkdirat(dir, name, 0755) < 0)
        return ERR_SYSTEM;
    int aside = open_aside(dir, name);
    int err = aside < 0 ? ERR_SYSTEM : file_write(aside, "cgroup.procs", "0");
    if (err == 0)
        err = cgroup_delegate(dir);
    if (err < 0) {
        int why = errno;
        file_write(dir, "cgroup.procs", "0");
        unlinkat(dir, name, AT_REMOVEDIR);
        errno = why;
    }
    if (aside >= 0)
        close(aside);
    return err;
}

/* The PID in "wsb-PID-...", 0 for any other name. */
static pid_t maker_of(const char *name)
{
    int pid = 0, end = 0;
    return sscanf(name, "wsb-%d-%n", &pid, &end) == 1 && end > 0 && pid > 0 ? pid : 0;
}

static DIR *open_list(int dir)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? NULL : fdopendir(fd);
}

static bool has_others_of_ours(int dir, const char *aside)
{
    bool found = false;
    DIR *list = open_list(dir);
    if (!list)
        return false;
    for (const struct dirent *entry = readdir(list); entry && !found; entry = readdir(list))
        found = maker_of(entry->d_name) == getpid() && strcmp(entry->d_name, aside) != 0;
    closedir(list);
    return found;
}

void cgroup_step_back(int dir)
{
    char name[NAME_MAX];
    aside_name(name);
    int aside = open_aside(dir, name);
    if (aside < 0)
        return;
    if (!has_others_of_ours(dir, name)) {
        file_write(dir, "cgroup.subtree_control", "-memory");
        move_everybody(aside, dir);
        unlinkat(dir, name, AT_REMOVEDIR);
    }
    close(aside);
}

void cgroup_sweep(int dir)
{
    DIR *list = open_list(dir);
    if (!list)
        return;
    for (const struct dirent *entry = readdir(list); entry; entry = readdir(list)) {
        pid_t maker = maker_of(entry->d_name);
        if (maker > 0 && kill(maker, 0) < 0 && errno == ESRCH)
            unlinkat(dir, entry->d_name, AT_REMOVEDIR);
    }
    closedir(list);
}
