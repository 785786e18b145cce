#include "role/spawn.h"

#include "base/bytes.h"
#include "base/count.h"
#include "base/err.h"
#include "base/list.h"
#include "net/loop.h"
#include "role/program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

struct child {
    struct ev_loop *loop;
    struct child_owner *owner;
    struct program_owner as_program; /* told first of its end */
    struct program *program;
    enum role role;
    int channel;
    struct page *page;
    ev_io io; /* the channel */
};

/* What child_spawn hands over to the worker; -1 where there is none. */
struct handover {
    int channel, page, log;
};

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

static void on_exited(struct program_owner *owner, struct program *program, int status)
{
    struct child *c = LIST_OF(owner, struct child, as_program);
    (void)program;
    on_channel(c->loop, &c->io, EV_READ); /* its last words come before its end */
    c->owner->exited(c->owner, c, status);
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
    h->channel = program_fd(pair[1]);
    c->page = page_new(&h->page);
    if (c->page == NULL)
        return errno;
    h->page = program_fd(h->page);
    if (plan->log_path != NULL)
        h->log = program_log(plan->log_path);
    return h->channel < 0 || h->page < 0 || (plan->log_path != NULL && h->log < 0) ? errno : 0;
}

/* Executes the worker; false: `why` says what failed. */
static bool start(struct child *c, const struct child_plan *plan, const struct handover *h, char *why,
                  size_t size)
{
    const char *argv[] = {"wsb", CHILD_ARGUMENT, config_role_name(plan->role), NULL};
    struct program_plan program = {.file = "/proc/self/exe",
                                   .argv = argv,
                                   .limit = plan->limit,
                                   .fd = {-1, -1, h->log, h->channel, h->page}};
    c->program = program_start(c->loop, &program, &c->as_program, why, size);
    return c->program != NULL;
}

/* Sends what it is to be and listens to it; 0 or an errno. */
static int attach(struct child *c, const struct child_plan *plan)
{
    if (ctl_send(c->channel, "configure", 0, plan->settings) == ERR_OPTION_VALUE)
        return EINVAL; /* otherwise it died already, and its exit will tell */
    fcntl(c->channel, F_SETFL, O_NONBLOCK);
    ev_io_init(&c->io, on_channel, c->channel, EV_READ);
    c->io.data = c;
    ev_io_start(c->loop, &c->io);
    return 0;
}

struct child *child_spawn(struct ev_loop *loop, const struct child_plan *plan, struct child_owner *owner,
                          char *why, size_t why_size)
{
    struct child *c = mem_zero(sizeof *c);
    struct handover h = {-1, -1, -1};
    char trouble[256] = "";
    *c = (struct child){
        .loop = loop, .owner = owner, .as_program = {on_exited}, .role = plan->role, .channel = -1};
    int error = prepare(c, plan, &h);
    bool started = error == 0 && start(c, plan, &h, trouble, sizeof trouble);
    if (started)
        error = attach(c, plan);
    close_some((int[]){h.channel, h.page, h.log}, 3);
    if (started && error == 0)
        return c;
    snprintf(why, why_size, "%s worker: cannot be started: %s", config_role_name(plan->role),
             error != 0 ? strerror(error) : trouble);
    child_free(c);
    return NULL;
}

pid_t child_pid(const struct child *c)
{
    return program_pid(c->program);
}

bool child_alive(const struct child *c)
{
    return program_alive(c->program);
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
    if (program_alive(c->program))
        program_kill(c->program, signal);
}

void child_free(struct child *c)
{
    if (c == NULL)
        return;
    ev_io_stop(c->loop, &c->io);
    program_free(c->program);
    close_some(&c->channel, 1);
    if (c->page != NULL)
        munmap(c->page, sizeof *c->page);
    free(c);
}
