#include "host/netns.h"

#include "host/file.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where this process is. */
static struct {
    int first; /* the namespace before the first of ours, -1 until then */
    bool in_user;
} here = {.first = -1};

const char *netns_kind_name(enum netns_kind kind)
{
    return kind == NETNS_NETWORK ? "network namespace" : "user and network namespace";
}

/* --- steps: each returns NULL, or what was refused, errno saying why */

static const char *bring_up_loopback(void)
{
    struct ifreq lo = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return "a socket";
    bool up = ioctl(fd, SIOCGIFFLAGS, &lo) == 0;
    lo.ifr_flags |= IFF_UP;
    up = up && ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
    int why = errno;
    close(fd);
    errno = why;
    return up ? NULL : "bringing its loopback up";
}

static const char *map_ids(uid_t uid, gid_t gid)
{
    char users[32], groups[32];
    snprintf(users, sizeof(users), "0 %u 1", (unsigned)uid);
    snprintf(groups, sizeof(groups), "0 %u 1", (unsigned)gid);
    /* Without it no group could be mapped; kernels before 3.19 neither have nor want it. */
    if (file_write(AT_FDCWD, "/proc/self/setgroups", "deny") < 0 && errno != ENOENT)
        return "writing /proc/self/setgroups";
    if (file_write(AT_FDCWD, "/proc/self/uid_map", users) < 0)
        return "writing /proc/self/uid_map";
    if (file_write(AT_FDCWD, "/proc/self/gid_map", groups) < 0)
        return "writing /proc/self/gid_map";
    return NULL;
}

static const char *enter_user(void)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return "unshare(CLONE_NEWUSER | CLONE_NEWNET)";
    here.in_user = true;
    const char *refused = map_ids(uid, gid);
    return refused ? refused : bring_up_loopback();
}

static int fail(const char *refused, char *why, size_t size)
{
    snprintf(why, size, "%s: %s", refused, strerror(errno));
    return ERR_SYSTEM;
}

/* --- coming and going */

static int open_current(void)
{
    return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

/* A network namespace alone. 0, ERR_UNSUPPORTED when a user namespace around it might help, or ERR_SYSTEM. */
static int enter_network(int before, char *why, size_t size)
{
    if (unshare(CLONE_NEWNET) < 0) {
        bool may_help = errno == EPERM && !here.in_user;
        fail("unshare(CLONE_NEWNET)", why, size);
        return may_help ? ERR_UNSUPPORTED : ERR_SYSTEM;
    }
    const char *refused = bring_up_loopback();
    if (!refused)
        return 0;
    fail(refused, why, size);
    setns(before, CLONE_NEWNET);
    return ERR_SYSTEM;
}

struct trial {
    int err;
    enum netns_kind kind;
    char why[256];
};

static enum netns_kind current_kind(void)
{
    return here.in_user ? NETNS_USER_AND_NETWORK : NETNS_NETWORK;
}

static void try_all(struct trial *trial)
{
    int before = open_current();
    trial->err = enter_network(before, trial->why, sizeof(trial->why));
    const char *refused = trial->err == ERR_UNSUPPORTED ? enter_user() : NULL;
    if (refused)
        fail(refused, trial->why, sizeof(trial->why));
    else if (trial->err == ERR_UNSUPPORTED)
        trial->err = 0;
    trial->kind = current_kind();
}

/* What a child says that has tried. */
static int run_trial(struct trial *ret_trial)
{
    int ends[2];
    struct trial trial = {0};
    if (pipe2(ends, O_CLOEXEC) < 0)
        return ERR_SYSTEM;
    pid_t pid = fork();
    if (pid == 0) {
        try_all(&trial);
        _exit(write(ends[1], &trial, sizeof(trial)) < 0);
    }
    int why = errno;
    close(ends[1]);
    ssize_t got = pid < 0 ? -1 : read(ends[0], &trial, sizeof(trial));
    close(ends[0]);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    errno = pid < 0 ? why : ECHILD;
    if (got != (ssize_t)sizeof(trial))
        return ERR_SYSTEM;
    *ret_trial = trial;
    return 0;
}

int netns_probe(enum netns_kind *ret_kind, char *why, size_t size)
{
    struct trial trial;
    if (run_trial(&trial) < 0)
        return fail("a child to try it in", why, size);
    if (trial.err == 0)
        *ret_kind = trial.kind;
    else
        snprintf(why, size, "%s", trial.why);
    return trial.err == 0 ? 0 : ERR_SYSTEM;
}

/* The way into a user namespace is the one that cannot be gone back. */
static int enter(int before, char *why, size_t size)
{
    enum netns_kind kind;
    int err = enter_network(before, why, size);
    if (err == ERR_UNSUPPORTED)
        err = netns_probe(&kind, why, size);
    else
        return err;
    const char *refused = err == 0 ? enter_user() : NULL;
    return refused ? fail(refused, why, size) : err;
}

int netns_enter(enum netns_kind *ret_kind, char *why, size_t size)
{
    int before = open_current();
    if (before < 0)
        return fail("/proc/self/ns/net", why, size);
    int err = enter(before, why, size);
    if (err == 0)
        *ret_kind = current_kind();
    if (err == 0 && here.first < 0)
        here.first = before;
    else
        close(before);
    return err;
}

int netns_leave(char *why, size_t size)
{
    if (here.first < 0 || setns(here.first, CLONE_NEWNET) == 0)
        return 0;
    return fail("setns", why, size);
}
