#include "host/proc.h"

#include "host/file.h"
#include "base/clock.h"
#include "base/err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROC_TEXT_MAX = 4096, FAMILY_MAX = 1024 };

static int read_about(pid_t pid, const char *name, char text[PROC_TEXT_MAX])
{
    char path[96];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    return file_read(AT_FDCWD, path, text, PROC_TEXT_MAX);
}

static int no_memory_to_read(void)
{
    errno = ESRCH;
    return ERR_SYSTEM;
}

static int read_memory(pid_t pid, struct proc_sample *s)
{
    char text[PROC_TEXT_MAX];
    uint64_t pages, peak_kib;
    if (read_about(pid, "statm", text) < 0)
        return ERR_SYSTEM;
    if (sscanf(text, "%*u %" SCNu64, &pages) != 1)
        return no_memory_to_read();
    if (read_about(pid, "status", text) < 0)
        return ERR_SYSTEM;
    if (!text_figure(text, "VmHWM:", &peak_kib))
        return no_memory_to_read();
    s->rss_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
    s->peak_bytes = peak_kib * 1024;
    return 0;
}

/* reaped: with the times of children that have ended and were waited for. */
static int read_times(pid_t pid, bool reaped, struct proc_sample *s)
{
    char text[PROC_TEXT_MAX];
    uint64_t user, system, threads;
    int64_t child_user, child_system;
    if (read_about(pid, "stat", text) < 0)
        return ERR_SYSTEM;
    /* The name in brackets may hold anything, brackets too. */
    const char *behind_name = strrchr(text, ')');
    if (!behind_name || sscanf(behind_name,
                               ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64
                               " %" SCNd64 " %" SCNd64 " %*d %*d %" SCNu64,
                               &user, &system, &child_user, &child_system, &threads) != 5)
        return no_memory_to_read();
    if (reaped) {
        user += (uint64_t)child_user;
        system += (uint64_t)child_system;
    }
    uint64_t tick_ns = NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
    s->user_ns = user * tick_ns;
    s->system_ns = system * tick_ns;
    s->threads = threads;
    return 0;
}

int proc_sample(pid_t pid, struct proc_sample *ret_sample)
{
    struct proc_sample s;
    if (read_memory(pid, &s) < 0 || read_times(pid, false, &s) < 0)
        return ERR_SYSTEM;
    *ret_sample = s;
    return 0;
}

struct family {
    pid_t pid[FAMILY_MAX];
    int size;
};

/* Children are listed by the thread that made them. */
static void add_children(struct family *family, pid_t pid, const char *thread)
{
    char name[64], text[PROC_TEXT_MAX], *at = text, *end = text;
    snprintf(name, sizeof(name), "task/%.20s/children", thread);
    if (read_about(pid, name, text) < 0)
        return;
    for (long child = strtol(at, &end, 10); end != at; child = strtol(at, &end, 10)) {
        at = end;
        if (*end != '\0' && family->size < FAMILY_MAX) /* at the end the number may be cut off */
            family->pid[family->size++] = (pid_t)child;
    }
}

static void add_all_children(struct family *family, pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        if (entry->d_name[0] != '.')
            add_children(family, pid, entry->d_name);
    closedir(dir);
}

int proc_sample_family(pid_t pid, struct proc_sample *ret_sample)
{
    struct proc_sample sum = {0}, s;
    struct family family = {.pid = {pid}, .size = 1};
    for (int i = 0; i < family.size; i++) {
        if (read_memory(family.pid[i], &s) < 0 || read_times(family.pid[i], true, &s) < 0)
            continue;
        sum.rss_bytes += s.rss_bytes;
        sum.peak_bytes += s.peak_bytes;
        sum.user_ns += s.user_ns;
        sum.system_ns += s.system_ns;
        sum.threads += s.threads;
        add_all_children(&family, family.pid[i]);
    }
    if (sum.threads == 0)
        return no_memory_to_read();
    *ret_sample = sum;
    return 0;
}

long proc_descriptors(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    if (!dir)
        return ERR_SYSTEM;
    /* Reading one's own directory takes a descriptor that is not to be counted. */
    long count = pid == getpid() ? -1 : 0;
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

uint64_t proc_tcp_memory(void)
{
    char text[PROC_TEXT_MAX];
    if (file_read(AT_FDCWD, "/proc/net/sockstat", text, sizeof(text)) < 0)
        return 0;
    const char *tcp = strstr(text, "TCP: ");
    const char *mem = tcp ? strstr(tcp, " mem ") : NULL;
    uint64_t pages;
    if (!mem || sscanf(mem, " mem %" SCNu64, &pages) != 1)
        return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
