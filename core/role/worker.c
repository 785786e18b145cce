#include "role/worker.h"

#include "role/config.h"
#include "role/ctl.h"
#include "role/spawn.h"
#include "base/bytes.h"
#include "base/count.h"
#include "base/err.h"
#include "base/log.h"
#include "net/loop.h"
#include "wsb.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

enum { EXIT_OPTIONS = 64, EXIT_ALONE = 70 };

/* Bytes of questions about retries that wait for the controller; the channel holds three times as many. */
enum { RETRIES_QUEUED_MAX = 64 * 1024 };

struct worker {
    struct ev_loop *ev;
    ev_io channel;
    ev_signal terminate;
    const struct role_row *role;
    struct wsb_server *server;
    struct wsb_swarm *swarm;
};

/* A command: 0, or an error with the reason in `why`. */
typedef int command(struct worker *w, const char *const *settings, char *why, size_t why_size);

struct verb {
    const char *role, *name;
    command *run;
};

struct role_row {
    const char *name;
    /* Makes the role and says "ready"; false with the reason in `why`. */
    bool (*begin)(struct worker *w, const char *const *settings, char *why, size_t why_size);
    void (*end)(struct worker *w);
    command *stop;
};

static void say(const char *verb, uint64_t seq, const char *const *settings)
{
    if (ctl_send(CHILD_CHANNEL_FD, verb, seq, settings) < 0)
        log_line(LOG_WARN, "the controller does not take %s", verb);
}

static void leave(void *arg)
{
    struct worker *w = arg;
    ev_break(w->ev, EVBREAK_ALL);
}

static int server_set(struct worker *w, const char *const *settings, char *why, size_t why_size)
{
    return wsb_server_set(w->server, settings, why, why_size);
}

static int server_reload(struct worker *w, const char *const *settings, char *why, size_t why_size)
{
    (void)settings;
    return wsb_server_reload(w->server, why, why_size);
}

static int server_drain(struct worker *w, const char *const *settings, char *why, size_t why_size)
{
    int err = wsb_server_set(w->server, settings, why, why_size);
    if (err == 0)
        wsb_server_drain(w->server, leave, w);
    return err;
}

static int server_stop(struct worker *w, const char *const *settings, char *why, size_t why_size)
{
    (void)settings, (void)why, (void)why_size;
    wsb_server_stop(w->server, leave, w);
    return 0;
}

static bool server_begin(struct worker *w, const char *const *settings, char *why, size_t why_size)
{
    char port[16];
    w->server = wsb_server_new(w->ev, settings, why, why_size);
    if (w->server == NULL)
        return false;
    snprintf(port, sizeof port, "port=%u", wsb_server_port(w->server));
    say("ready", 0, (const char *[]){port, NULL});
    return true;
}

static void server_end(struct worker *w)
{
    wsb_server_free(w->server);
}

static int swarm_set(struct worker *w, const char *const *settings, char *why, size_t why_size)
{
    return wsb_swarm_set(w->swarm, settings, why, why_size);
}

static int swarm_retry(struct worker *w, const char *const *settings, char *why, size_t why_size)
{
    return wsb_swarm_retry(w->swarm, settings, why, why_size);
}

static int swarm_start(struct worker *w, const char *const *settings, char *why, size_t why_size)
{
    (void)settings, (void)why, (void)why_size;
    wsb_swarm_start(w->swarm);
    return 0;
}

static int swarm_stop(struct worker *w, const char *const *settings, char *why, size_t why_size)
{
    (void)settings, (void)why, (void)why_size;
    wsb_swarm_stop(w->swarm, leave, w);
    return 0;
}

static void on_connected(void *arg, uint64_t opened, uint64_t failed)
{
    (void)arg;
    char up[32], down[32];
    snprintf(up, sizeof up, "opened=%llu", (unsigned long long)opened);
    snprintf(down, sizeof down, "failed=%llu", (unsigned long long)failed);
    say("connected", 0, (const char *[]){up, down, NULL});
}

static void on_finished(void *arg)
{
    (void)arg;
    say("finished", 0, NULL);
}

/* The swarm asks about many at once, and again about those that are not taken: they must not fill the
 * channel, or replies would find no room in it. */
static bool on_retries(void *arg, const struct wsb_swarm_lost *lost, size_t count)
{
    (void)arg;
    char text[CTL_SETTINGS_MAX][96];
    const char *setting[CTL_SETTINGS_MAX + 1];
    int queued = 0;
    size_t i;
    if (ioctl(CHILD_CHANNEL_FD, SIOCOUTQ, &queued) == 0 && queued > RETRIES_QUEUED_MAX)
        return false;
    for (i = 0; i < count && i < CTL_SETTINGS_MAX; i++) {
        snprintf(text[i], sizeof text[i], "%llu=%llu %llu %d", (unsigned long long)lost[i].client,
                 (unsigned long long)lost[i].attempt, (unsigned long long)lost[i].previous_ms, lost[i].code);
        setting[i] = text[i];
    }
    setting[i] = NULL;
    return ctl_send(CHILD_CHANNEL_FD, "retries", 0, setting) == 0;
}

static bool swarm_begin(struct worker *w, const char *const *settings, char *why, size_t why_size)
{
    struct wsb_swarm_events events = {on_connected, on_finished, w, on_retries};
    w->swarm = wsb_swarm_new(w->ev, settings, &events, why, why_size);
    if (w->swarm == NULL)
        return false;
    say("ready", 0, NULL);
    return true;
}

static void swarm_end(struct worker *w)
{
    wsb_swarm_free(w->swarm);
}

static const struct verb verbs[] = {
#define VERB(role, name, help) {#role, #name, role##_##name},
#define NOTICE(...)
#include "role/ctl.def"
};

static const struct role_row roles[] = {
    [ROLE_SERVER] = {"server", server_begin, server_end, server_stop},
    [ROLE_SWARM] = {"swarm", swarm_begin, swarm_end, swarm_stop},
};

static void obey(struct worker *w, const struct ctl_message *message)
{
    char why[480] = "", error[512];
    int err = ERR_VERB;
    snprintf(why, sizeof why, "%s: no such command of the %s", message->verb, w->role->name);
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(verbs[i].role, w->role->name) == 0 && strcmp(verbs[i].name, message->verb) == 0)
            err = verbs[i].run(w, message->setting, why, sizeof why);
    snprintf(error, sizeof error, "error=%s", why);
    say("reply", message->seq, err < 0 ? (const char *[]){error, NULL} : NULL);
}

static void on_channel(EV_P_ ev_io *io, int events)
{
    (void)events;
    struct worker *w = io->data;
    static struct ctl_message message; /* 64 KiB, used within this call only */
    int got;
    while ((got = ctl_receive(CHILD_CHANNEL_FD, &message)) > 0)
        obey(w, &message);
    if (got < 0)
        ev_break(loop, EVBREAK_ALL); /* the controller is gone */
}

static void on_terminate(EV_P_ ev_signal *watcher, int events)
{
    (void)loop, (void)events;
    struct worker *w = watcher->data;
    w->role->stop(w, NULL, NULL, 0);
}

static void last_word(size_t asked)
{
    count_set(COUNT_memory_refused_bytes, asked);
}

static bool adopt_page(void)
{
    struct page *page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, CHILD_PAGE_FD, 0);
    if (page == MAP_FAILED)
        return false;
    if (page->magic != PAGE_MAGIC)
        return false;
    count_use(page);
    return true;
}

static int run(struct worker *w, const struct ctl_message *configuration)
{
    char why[480], failure[512];
    if (!w->role->begin(w, configuration->setting, why, sizeof why)) {
        snprintf(failure, sizeof failure, "why=%s", why);
        say("failed", 0, (const char *[]){failure, NULL});
        return EXIT_OPTIONS;
    }
    fcntl(CHILD_CHANNEL_FD, F_SETFL, O_NONBLOCK);
    ev_io_init(&w->channel, on_channel, CHILD_CHANNEL_FD, EV_READ);
    ev_signal_init(&w->terminate, on_terminate, SIGTERM);
    w->channel.data = w->terminate.data = w;
    ev_io_start(w->ev, &w->channel);
    ev_signal_start(w->ev, &w->terminate);
    ev_run(w->ev, 0);
    w->role->end(w);
    ev_io_stop(w->ev, &w->channel);
    ev_signal_stop(w->ev, &w->terminate);
    return 0;
}

int worker_main(const char *role_name)
{
    static struct ctl_message configuration;
    enum role role;
    struct worker w = {0};
    if (config_role(role_name, &role) < 0 || !adopt_page())
        return EXIT_ALONE;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    log_setup(config_role_name(role));
    mem_on_exhausted(last_word);
    if (ctl_receive(CHILD_CHANNEL_FD, &configuration) <= 0)
        return EXIT_ALONE;
    w.role = &roles[role];
    w.ev = ev_default_loop(0);
    int code = run(&w, &configuration);
    ev_loop_destroy(w.ev);
    return code;
}
