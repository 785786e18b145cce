#include "role/spawn.h"

#include "base/bytes.h"
#include "base/count.h"
#include "base/err.h"
#include "host/memlimit.h"
#include "net/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct child {
    struct ev_loop *loop;
    struct child_owner *owner;
    enum role role;
    pid_t pid;
    bool alive;
    int channel;
    struct page *page;
    int pidfd;
    ev_io io;   /* the channel */
    ev_io exit; /* the pidfd */
};

/* What child_spawn hands to the process between fork and exec; -1 where there is none. */
struct handover {
    int channel, page, log, failure; /* failure: where the errno goes if it comes to no exec */
};

static bool place(int fd, int target)
{
    return fd < 0 || dup2(fd, target) >= 0;
}

static _Noreturn void become_worker(const struct child_plan *plan, const struct handover *h)
{
    char program[] = "/proc/self/exe", name[] = "wsb", flag[] = CHILD_ARGUMENT, role[16];
    char *arguments[] = {name, flag, role, NULL};
    snprintf(role, sizeof role, "%s", config_role_name(plan->role));
    setpgid(0, 0); /* ^C on the terminal is for the controller, which knows in what order to end things */
    /* The limit first: its descriptors may have the numbers that the worker expects. */
    if ((plan->limit == NULL || memlimit_enter(plan->limit) == 0) && place(h->log, STDERR_FILENO) &&
        place(h->channel, CHILD_CHANNEL_FD) && place(h->page, CHILD_PAGE_FD))
        execv(program, arguments);
    int error = errno;
    if (write(h->failure, &error, sizeof error) < 0)
        _exit(126);
    _exit(127);
}

/* Out of the way of the numbers that the worker expects, so that placing one never overwrites another. */
static int high(int fd)
{
    int moved = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, CHILD_PAGE_FD + 1);
    if (fd >= 0)
        close(fd);
    return moved;
}

static struct page *page_new(int *ret_fd)
{
    int fd = memfd_create("wsb-page", MFD_CLOEXEC);
    if (fd < 0)
        return NULL;
    struct page *page = MAP_FAILED;
    if (ftruncate(fd, sizeof *page) == 0)
        page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        close(fd);
        return NULL;
    }
    page->magic = PAGE_MAGIC;
    *ret_fd = fd;
    return page;
}

/* 0 once the worker's program runs, else the errno that kept it from doing so. */
static int await_exec(int pipe_fd)
{
    int error = 0;
    ssize_t size;
    do
        size = read(pipe_fd, &error, sizeof error);
    while (size < 0 && errno == EINTR);
    return size == sizeof error ? error : 0;
}

static int start(struct child *c, const struct child_plan *plan, struct handover *h)
{
    int failure[2];
    if (pipe2(failure, O_CLOEXEC) < 0)
        return errno;
    h->failure = high(failure[1]);
    c->pid = fork();
    if (c->pid == 0)
        become_worker(plan, h);
    int error = c->pid < 0 ? errno : 0;
    close(h->failure);
    if (error == 0 && (error = await_exec(failure[0])) != 0)
        waitpid(c->pid, NULL, 0);
    close(failure[0]);
    return error;
}

static void on_channel(EV_P_ ev_io *io, int events)
{
    (void)events;
    struct child *c = io->data;
    static struct ctl_message message; /* 64 KiB, used within this call only */
    int got;
    while ((got = ctl_receive(c->channel, &message)) > 0)
        c->owner->said(c->owner, c, &message);
    if (got < 0)
        ev_io_stop(loop, io);
}

static void on_exit_status(EV_P_ ev_io *watcher, int events)
{
    struct child *c = watcher->data;
    int status = 0;
    if (waitpid(c->pid, &status, WNOHANG) != c->pid)
        return;
    ev_io_stop(loop, watcher);
    on_channel(loop, &c->io, events); /* its last words come before its end */
    c->alive = false;
    c->owner->exited(c->owner, c, status);
}

static void watch(struct child *c)
{
    ev_io_init(&c->io, on_channel, c->channel, EV_READ);
    ev_io_init(&c->exit, on_exit_status, c->pidfd, EV_READ);
    c->io.data = c->exit.data = c;
    ev_io_start(c->loop, &c->io);
    ev_io_start(c->loop, &c->exit);
}

static void close_some(const int *fd, int count)
{
    for (int i = 0; i < count; i++)
        if (fd[i] >= 0)
            close(fd[i]);
}

/* Everything the worker needs; 0 or an errno. */
static int prepare(struct child *c, const struct child_plan *plan, struct handover *h)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return errno;
    c->channel = pair[0];
    h->channel = high(pair[1]);
    c->page = page_new(&h->page);
    if (c->page == NULL)
        return errno;
    h->page = high(h->page);
    if (plan->log_path != NULL)
        h->log = high(open(plan->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    return h->channel < 0 || h->page < 0 || (plan->log_path != NULL && h->log < 0) ? errno : 0;
}

/* Sends what it is to be and watches it; 0 or an errno. */
static int attach(struct child *c, const struct child_plan *plan)
{
    c->alive = true;
    c->pidfd = pidfd_open(c->pid, 0);
    if (c->pidfd < 0)
        return errno;
    if (ctl_send(c->channel, "configure", 0, plan->settings) == ERR_OPTION_VALUE)
        return EINVAL; /* otherwise it died already, and its exit will tell */
    fcntl(c->channel, F_SETFL, O_NONBLOCK);
    watch(c);
    return 0;
}

struct child *child_spawn(struct ev_loop *loop, const struct child_plan *plan, struct child_owner *owner,
                          char *why, size_t why_size)
{
    struct child *c = mem_zero(sizeof *c);
    struct handover h = {-1, -1, -1, -1};
    *c = (struct child){.loop = loop, .owner = owner, .role = plan->role, .channel = -1, .pidfd = -1};
    int error = prepare(c, plan, &h);
    if (error == 0)
        error = start(c, plan, &h);
    if (error == 0)
        error = attach(c, plan);
    close_some((int[]){h.channel, h.page, h.log}, 3);
    if (error == 0)
        return c;
    snprintf(why, why_size, "%s worker: cannot be started: %s", config_role_name(plan->role),
             strerror(error));
    child_free(c);
    return NULL;
}

pid_t child_pid(const struct child *c)
{
    return c->pid;
}

bool child_alive(const struct child *c)
{
    return c->alive;
}

enum role child_role(const struct child *c)
{
    return c->role;
}

const struct page *child_page(const struct child *c)
{
    return c->page;
}

int child_send(struct child *c, const char *verb, uint64_t seq, const char *const *settings)
{
    return ctl_send(c->channel, verb, seq, settings);
}

void child_kill(struct child *c, int signal)
{
    if (c->alive)
        kill(c->pid, signal);
}

void child_free(struct child *c)
{
    if (c == NULL)
        return;
    ev_io_stop(c->loop, &c->io);
    ev_io_stop(c->loop, &c->exit);
    if (c->alive) {
        kill(c->pid, SIGKILL);
        waitpid(c->pid, NULL, 0);
    }
    close_some((int[]){c->channel, c->pidfd}, 2);
    if (c->page != NULL)
        munmap(c->page, sizeof *c->page);
    free(c);
}
