#include "host/proc.h"

#include "host/file.h"
#include "base/clock.h"
#include "base/err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PROC_TEXT_MAX = 4096 };

static int read_about(pid_t pid, const char *name, char text[PROC_TEXT_MAX])
{
    char path[64];
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

static int read_times(pid_t pid, struct proc_sample *s)
{
    char text[PROC_TEXT_MAX];
    uint64_t user, system, threads;
    if (read_about(pid, "stat", text) < 0)
        return ERR_SYSTEM;
    /* The name in brackets may hold anything, brackets too. */
    const char *behind_name = strrchr(text, ')');
    if (!behind_name || sscanf(behind_name,
                               ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64
                               " %*d %*d %*d %*d %" SCNu64,
                               &user, &system, &threads) != 3)
        return no_memory_to_read();
    uint64_t tick_ns = NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
    s->user_ns = user * tick_ns;
    s->system_ns = system * tick_ns;
    s->threads = threads;
    return 0;
}

int proc_sample(pid_t pid, struct proc_sample *ret_sample)
{
    struct proc_sample s;
    if (read_memory(pid, &s) < 0 || read_times(pid, &s) < 0)
        return ERR_SYSTEM;
    *ret_sample = s;
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
