/* Real redis-servers for a test: started in a directory of their own, ended by pid, and a loop to wait in. */
#pragma once

#include "base/clock.h"
#include "net/sock.h"
#include "peer/redis.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static struct ev_loop *ev;
static struct loop *loop;
static ev_timer ticker; /* lets a loop that waits come round */
static char lab_directory[64];

struct server {
    pid_t pid;
    uint16_t port, bus;
    char directory[80], socket[100];
    const char *extra[8]; /* more of its options */
};

static void on_ticker(EV_P_ ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
}

/* Goes round until it holds, or fails after so many seconds. */
#define WAIT_FOR(condition, seconds)                                                                         \
    do {                                                                                                     \
        uint64_t until_ns = clock_now_ns() + (uint64_t)((seconds)*1e9);                                      \
        while (!(condition)) {                                                                               \
            if (clock_now_ns() > until_ns)                                                                   \
                fail_msg("waited in vain for " #condition);                                                  \
            ev_run(ev, EVRUN_ONCE);                                                                          \
        }                                                                                                    \
    } while (0)
#define WAIT(condition) WAIT_FOR(condition, 20)

static bool lab_has(const char *program)
{
    char path[512];
    for (const char *at = getenv("PATH"); at != NULL && *at != '\0';) {
        size_t size = strcspn(at, ":");
        snprintf(path, sizeof path, "%.*s/%s", (int)size, at, program);
        if (access(path, X_OK) == 0)
            return true;
        at += size + (at[size] == ':');
    }
    return false;
}

static uint16_t lab_free_port(void)
{
    int fd = sock_listen("127.0.0.1", 0, 1, 0);
    uint16_t port = sock_port(fd);
    close(fd);
    return port;
}

static bool lab_answers(uint16_t port)
{
    static const struct sock_options plain;
    struct pollfd end = {.fd = sock_connect("127.0.0.1", port, NULL, &plain), .events = POLLOUT};
    bool answers = end.fd >= 0 && poll(&end, 1, 1000) == 1 && sock_error(end.fd) == 0;
    close(end.fd);
    return answers;
}

/* On the port and in the directory that it has, if it had been started before. */
static void lab_start(struct server *s)
{
    char port[16], bus[16], log[128];
    if (s->port == 0) {
        static int number;
        s->port = lab_free_port();
        s->bus = lab_free_port();
        snprintf(s->directory, sizeof s->directory, "%s/%d", lab_directory, ++number);
        snprintf(s->socket, sizeof s->socket, "%s/sock", s->directory);
        char command[128];
        snprintf(command, sizeof command, "mkdir -p %s", s->directory);
        assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c,concurrency-mt-unsafe) */
    }
    snprintf(port, sizeof port, "%u", s->port);
    snprintf(bus, sizeof bus, "%u", s->bus);
    snprintf(log, sizeof log, "%s/log", s->directory);
    const char *argv[40] = {"redis-server",
                            "--port",
                            port,
                            "--bind",
                            "127.0.0.1",
                            "--unixsocket",
                            s->socket,
                            "--dir",
                            s->directory,
                            "--logfile",
                            log,
                            "--save",
                            "",
                            "--appendonly",
                            "no",
                            "--cluster-port",
                            bus};
    for (size_t i = 0, at = 17; i < sizeof s->extra / sizeof *s->extra && s->extra[i] != NULL; i++)
        argv[at++] = s->extra[i];
    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    uint64_t until_ns = clock_now_ns() + 20 * NS_PER_S;
    while (!lab_answers(s->port)) {
        assert_true(clock_now_ns() < until_ns);
        poll(NULL, 0, 5);
    }
}

static void lab_kill(struct server *s)
{
    if (s->pid <= 0)
        return;
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    s->pid = 0;
}

static int lab_open(void **state)
{
    (void)state;
    snprintf(lab_directory, sizeof lab_directory, "%s/wsb-redis-XXXXXX", "/tmp");
    return mkdtemp(lab_directory) != NULL ? 0 : -1;
}

static int lab_close(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf -- %s", lab_directory);
    return system(command); /* NOLINT(cert-env33-c,concurrency-mt-unsafe) */
}

static void lab_loop(void)
{
    ev = ev_loop_new(EVFLAG_AUTO);
    loop = loop_new(ev);
    ev_timer_init(&ticker, on_ticker, 0.005, 0.005);
    ev_timer_start(ev, &ticker);
}

static void lab_loop_free(void)
{
    ev_timer_stop(ev, &ticker);
    loop_free(loop);
    ev_loop_destroy(ev);
}

/* What the owner of a link has been told. */
struct ear {
    int ups, downs, subscribed, unsubscribed, messages;
    uint64_t down_ns;
    char reason[256], why[256], channel[64], payload[256];
    size_t payload_size;
};

static void on_up(void *owner, uint64_t down_ns)
{
    struct ear *e = owner;
    e->ups++;
    e->down_ns = down_ns;
}

static void on_down(void *owner, const char *reason)
{
    struct ear *e = owner;
    e->downs++;
    snprintf(e->reason, sizeof e->reason, "%s", reason);
}

static void on_message(void *owner, struct slice channel, struct slice payload)
{
    struct ear *e = owner;
    e->messages++;
    snprintf(e->channel, sizeof e->channel, "%.*s", (int)channel.size, channel.at);
    e->payload_size = payload.size;
    memcpy(e->payload, payload.at, least(payload.size, sizeof e->payload));
}

static void on_subscribed(void *owner, struct slice channel, bool sharded)
{
    (void)channel, (void)sharded;
    ((struct ear *)owner)->subscribed++;
}

static void on_unsubscribed(void *owner, struct slice channel, bool sharded, const char *why)
{
    struct ear *e = owner;
    (void)channel, (void)sharded;
    e->unsubscribed++;
    snprintf(e->why, sizeof e->why, "%s", why);
}

static const struct redis_events ear_events = {on_up, on_down, on_message, on_subscribed, on_unsubscribed};

/* The last answer, as text. */
struct answer {
    int count, lost;
    int type;
    long long integer;
    char text[1024];
    size_t size;
};

static void on_answer(void *arg, const redisReply *reply)
{
    struct answer *a = arg;
    a->count++;
    a->lost += reply == NULL;
    if (reply == NULL)
        return;
    a->type = reply->type;
    a->integer = reply->integer;
    a->size = reply->str != NULL ? reply->len : 0;
    memcpy(a->text, reply->str != NULL ? reply->str : "", least(a->size, sizeof a->text - 1));
    a->text[least(a->size, sizeof a->text - 1)] = '\0';
}

#define WORDS(...)                                                                                           \
    (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), ((const char *[]){__VA_ARGS__})

/* Sends the words and waits for the answer. */
static struct answer said(struct redis *r, int argc, const char **argv)
{
    struct answer a = {0};
    assert_int_equal(redis_command(r, on_answer, &a, argc, argv, NULL), 0);
    assert_int_equal(a.count, 0); /* not before the loop goes on */
    WAIT(a.count == 1);
    return a;
}

#define NEEDS_REDIS()                                                                                        \
    do {                                                                                                     \
        if (!lab_has("redis-server"))                                                                        \
            skip();                                                                                          \
    } while (0)
