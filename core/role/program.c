#include "role/program.h"

#include "base/bytes.h"
#include "host/memlimit.h"
#include "net/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct program {
    struct ev_loop *loop;
    struct program_owner *owner;
    pid_t pid;
    bool alive;
    int pidfd;
    ev_io exit; /* the pidfd */
};

/* What kept the program from being executed. Before its exec the child is a copy of this process, so a
 * pointer means the same in both. */
struct failure {
    int error; /* errno; 0: none */
    const char *what;
};

static bool place(const int *fd)
{
    for (int i = 0; i < PROGRAM_FDS; i++)
        if (fd[i] >= 0 && dup2(fd[i], i) < 0)
            return false;
    return true;
}

static void set_environment(const char *const *env)
{
    for (; env != NULL && *env != NULL; env++) {
        char *copy = strdup(*env); /* for the life of the child */
        if (copy != NULL)
            putenv(copy);
    }
}

/* Returns only when it failed; what did. */
static const char *execute(const struct program_plan *plan)
{
    union {
        const char *const *given;
        char *const *wanted; /* by execvp, which changes nothing */
    } argv = {.given = plan->argv};
    /* The limit first: its descriptors may have the numbers that the program expects. */
    if (plan->limit != NULL && memlimit_enter(plan->limit) < 0)
        return "memory limit";
    if (!place(plan->fd))
        return "descriptors";
    if (plan->cwd != NULL && chdir(plan->cwd) < 0)
        return plan->cwd;
    set_environment(plan->env);
    execvp(plan->file, argv.wanted);
    return plan->file;
}

static _Noreturn void become(const struct program_plan *plan, int failure_fd)
{
    setpgid(0, 0); /* ^C on the terminal is for this process, which knows in what order to end things */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL); /* what is ignored stays so over exec, and few programs expect it */
    struct failure f = {.what = execute(plan)};
    f.error = errno;
    if (write(failure_fd, &f, sizeof f) < 0)
        _exit(126);
    _exit(127);
}

int program_fd(int fd)
{
    int moved = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, PROGRAM_FDS);
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return moved;
}

int program_log(const char *path)
{
    return program_fd(open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
}

/* No error once the program runs. */
static struct failure await_exec(int pipe_fd)
{
    struct failure f;
    ssize_t size;
    do
        size = read(pipe_fd, &f, sizeof f);
    while (size < 0 && errno == EINTR);
    return size == sizeof f ? f : (struct failure){0};
}

static struct failure start(struct program *p, const struct program_plan *plan)
{
    int pipe_fd[2];
    if (pipe2(pipe_fd, O_CLOEXEC) < 0)
        return (struct failure){errno, "pipe"};
    int failure_fd = program_fd(pipe_fd[1]);
    p->pid = fork();
    if (p->pid == 0)
        become(plan, failure_fd);
    struct failure f = {.error = p->pid < 0 ? errno : 0, .what = "fork"};
    close(failure_fd);
    if (f.error == 0 && (f = await_exec(pipe_fd[0])).error != 0)
        waitpid(p->pid, NULL, 0);
    close(pipe_fd[0]);
    return f;
}

static void on_exit_status(EV_P_ ev_io *watcher, int events)
{
    struct program *p = watcher->data;
    siginfo_t info = {0};
    (void)events;
    if (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid != p->pid)
        return;
    ev_io_stop(EV_A_ watcher);
    p->alive = false;
    bool by_itself = info.si_code == CLD_EXITED;
    p->owner->exited(p->owner, p, by_itself ? W_EXITCODE(info.si_status, 0) : W_EXITCODE(0, info.si_status));
}

static struct failure watch(struct program *p)
{
    p->pidfd = pidfd_open(p->pid, 0);
    if (p->pidfd < 0)
        return (struct failure){errno, "pidfd"};
    ev_io_init(&p->exit, on_exit_status, p->pidfd, EV_READ);
    p->exit.data = p;
    ev_io_start(p->loop, &p->exit);
    return (struct failure){0};
}

struct program *program_start(struct ev_loop *loop, const struct program_plan *plan,
                              struct program_owner *owner, char *why, size_t size)
{
    struct program *p = mem_zero(sizeof *p);
    *p = (struct program){.loop = loop, .owner = owner, .pidfd = -1};
    struct failure f = start(p, plan);
    if (f.error == 0) {
        p->alive = true;
        f = watch(p);
        if (f.error == 0)
            return p;
    } else {
        p->pid = 0;
    }
    snprintf(why, size, "%s: %s", f.what, strerror(f.error));
    program_free(p);
    return NULL;
}

pid_t program_pid(const struct program *p)
{
    return p->pid;
}

bool program_alive(const struct program *p)
{
    return p->alive;
}

void program_kill(const struct program *p, int signal)
{
    kill(-p->pid, signal);
}

void program_free(struct program *p)
{
    if (p == NULL)
        return;
    if (p->pidfd >= 0) {
        ev_io_stop(p->loop, &p->exit);
        close(p->pidfd);
    }
    if (p->pid > 0) {
        program_kill(p, SIGKILL);
        waitpid(p->pid, NULL, 0);
    }
    free(p);
}
