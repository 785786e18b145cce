/* core.turn and core.spawn: the event loop, and the workers it watches. */
#include "bind/bind.h"
#include "base/bytes.h"
#include "base/count.h"
#include "base/list.h"
#include "host/proc.h"
#include "net/loop.h"
#include "role/spawn.h"

#include <lauxlib.h>

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static const char worker_type[] = "wsb.Worker";

/* Registry key of what can be noted about, by its address, weak: who drops a worker ends it. */
static const char noted_key[] = "wsb.noted";

/* Something that happened, until core.turn hands it over. */
struct note {
    struct note *next;
    const void *about;           /* a worker or a program; NULL: of the process itself */
    int status;                  /* of an exit; of a signal: its number */
    struct ctl_message *message; /* NULL: an exit or a signal */
};

/* One loop a process, so one of these. */
static struct {
    struct ev_loop *loop;
    ev_signal interrupt, terminate, hang_up;
    ev_timer timeout;
    struct note *first, **last;
    bool woken; /* by a dialled connection */
} run = {.last = &run.first};

struct ev_loop *bind_loop(void)
{
    return run.loop;
}

void bind_wake(void)
{
    run.woken = true;
    ev_break(run.loop, EVBREAK_ALL);
}

struct bound_worker {
    struct child *child; /* NULL once closed */
    struct child_owner owner;
    uint64_t seq;
};

static void note(const void *about, int status, const struct ctl_message *message)
{
    struct note *n = mem_zero(sizeof *n);
    n->about = about;
    n->status = status;
    if (message != NULL) {
        /* The pointers go along: both ends lie in the same struct. */
        n->message = mem_alloc(sizeof *message);
        *n->message = *message;
        ptrdiff_t moved = n->message->text - message->text;
        n->message->verb += moved;
        for (const char **s = n->message->setting; *s != NULL; s++)
            *s += moved;
    }
    *run.last = n;
    run.last = &n->next;
    ev_break(run.loop, EVBREAK_ALL);
}

static void on_said(struct child_owner *owner, struct child *child, const struct ctl_message *message)
{
    (void)child;
    note(LIST_OF(owner, struct bound_worker, owner), 0, message);
}

static void on_exited(struct child_owner *owner, struct child *child, int status)
{
    (void)child;
    note(LIST_OF(owner, struct bound_worker, owner), status, NULL);
}

void bind_note_exit(const void *about, int status)
{
    note(about, status, NULL);
}

static void on_signal(EV_P_ ev_signal *watcher, int events)
{
    (void)loop, (void)events;
    note(NULL, watcher->signum, NULL);
}

static void watch_signal(ev_signal *watcher, int number)
{
    struct sigaction now;
    if (number == SIGHUP && sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_IGN)
        return; /* nohup asked for it */
    ev_signal_init(watcher, on_signal, number);
    ev_signal_start(run.loop, watcher);
}

static void on_timeout(EV_P_ ev_timer *timer, int events)
{
    (void)timer, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static void set_integer(lua_State *L, const char *field, lua_Integer value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, field);
}

static void push_exit(lua_State *L, int status)
{
    bind_set_text(L, "kind", "exit");
    if (WIFSIGNALED(status))
        set_integer(L, "signal", WTERMSIG(status));
    else
        set_integer(L, "code", WEXITSTATUS(status));
}

static void push_message(lua_State *L, const struct ctl_message *message)
{
    bool ready = strcmp(message->verb, "ready") == 0;
    bool reply = strcmp(message->verb, "reply") == 0;
    bind_set_text(L, "kind", ready ? "ready" : reply ? "reply" : "notice");
    bind_set_text(L, "name", message->verb);
    set_integer(L, "seq", (lua_Integer)message->seq);
    bind_push_settings(L, message->setting);
    lua_getfield(L, -1, "error");
    lua_setfield(L, -3, "error");
    lua_setfield(L, -2, "values");
}

static void push_note(lua_State *L, const struct note *n)
{
    lua_newtable(L);
    if (n->about != NULL) {
        luaL_getsubtable(L, LUA_REGISTRYINDEX, noted_key);
        lua_rawgetp(L, -1, n->about);
        lua_setfield(L, -3, luaL_testudata(L, -1, worker_type) != NULL ? "worker" : "program");
        lua_pop(L, 1);
    }
    if (n->message != NULL) {
        push_message(L, n->message);
    } else if (n->about != NULL) {
        push_exit(L, n->status);
    } else {
        bind_set_text(L, "kind", "signal");
        set_integer(L, "signal", n->status);
    }
}

static struct note *take_note(void)
{
    struct note *n = run.first;
    if (n != NULL && (run.first = n->next) == NULL)
        run.last = &run.first;
    return n;
}

static void free_note(struct note *n)
{
    free(n->message);
    free(n);
}

static int turn(lua_State *L)
{
    double timeout_s = luaL_checknumber(L, 1);
    luaL_argcheck(L, timeout_s >= 0, 1, "seconds, 0 or more");
    if (run.first == NULL && !run.woken) {
        ev_now_update(run.loop);
        ev_timer_set(&run.timeout, fmin(timeout_s, 1e6), 0);
        ev_timer_start(run.loop, &run.timeout);
        ev_run(run.loop, 0);
        ev_timer_stop(run.loop, &run.timeout);
    }
    lua_newtable(L);
    struct note *n;
    lua_Integer i = 1;
    for (; (n = take_note()) != NULL; i++) {
        push_note(L, n);
        lua_rawseti(L, -2, i);
        free_note(n);
    }
    if (run.woken) {
        lua_createtable(L, 0, 1);
        bind_set_text(L, "kind", "dial");
        lua_rawseti(L, -2, i);
        run.woken = false;
    }
    return 1;
}

void bind_forget(const void *about)
{
    struct note **at = &run.first;
    while (*at != NULL) {
        struct note *n = *at;
        if (n->about != about) {
            at = &n->next;
            continue;
        }
        *at = n->next;
        free_note(n);
    }
    run.last = at;
}

void bind_remember(lua_State *L, const void *about, int index)
{
    if (luaL_getsubtable(L, LUA_REGISTRYINDEX, noted_key) == 0) {
        lua_newtable(L);
        lua_pushliteral(L, "v");
        lua_setfield(L, -2, "__mode");
        lua_setmetatable(L, -2);
    }
    lua_pushvalue(L, index);
    lua_rawsetp(L, -2, about);
    lua_pop(L, 1);
}

static int spawn(lua_State *L)
{
    struct child_plan plan = {.role = bind_check_role(L, 1)};
    char why[512];
    lua_settop(L, 3);
    if (lua_isnil(L, 3)) {
        lua_newtable(L);
        lua_replace(L, 3);
    }
    if (lua_getfield(L, 3, "limit") != LUA_TNIL)
        plan.limit = bind_check_limit(L, -1);
    lua_getfield(L, 3, "log");
    plan.log_path = lua_tostring(L, -1);
    plan.settings = bind_settings(L, 2);
    struct bound_worker *w = lua_newuserdatauv(L, sizeof *w, 1);
    int index = lua_gettop(L);
    lua_pushvalue(L, 3); /* the limit lives as long as what it limits */
    lua_setiuservalue(L, index, 1);
    *w = (struct bound_worker){.owner = {on_said, on_exited}};
    luaL_setmetatable(L, worker_type);
    bind_remember(L, w, index);
    w->child = child_spawn(run.loop, &plan, &w->owner, why, sizeof why);
    if (w->child == NULL) {
        lua_pushnil(L);
        lua_pushstring(L, why);
        return 2;
    }
    lua_pushvalue(L, index);
    return 1;
}

static struct bound_worker *check_worker(lua_State *L)
{
    struct bound_worker *w = luaL_checkudata(L, 1, worker_type);
    luaL_argcheck(L, w->child != NULL, 1, "the worker is closed");
    return w;
}

static int worker_pid(lua_State *L)
{
    lua_pushinteger(L, child_pid(check_worker(L)->child));
    return 1;
}

static int worker_alive(lua_State *L)
{
    lua_pushboolean(L, child_alive(check_worker(L)->child));
    return 1;
}

static int worker_send(lua_State *L)
{
    struct bound_worker *w = check_worker(L);
    const char *verb = luaL_checkstring(L, 2);
    lua_settop(L, 3);
    if (child_send(w->child, verb, ++w->seq, bind_settings(L, 3)) < 0)
        return luaL_error(L, "%s cannot be sent: too long, a line break in a value, or nobody listens", verb);
    lua_pushinteger(L, (lua_Integer)w->seq);
    return 1;
}

static int worker_kill(lua_State *L)
{
    child_kill(check_worker(L)->child, (int)luaL_checkinteger(L, 2));
    return 0;
}

static int worker_counts(lua_State *L)
{
    const struct page *page = child_page(check_worker(L)->child);
    lua_createtable(L, 0, COUNT_IDS);
    for (int i = 0; i < COUNT_IDS; i++)
        set_integer(L, count_rows[i].name, (lua_Integer)page->count[i]);
    return 1;
}

static int worker_closes(lua_State *L)
{
    const struct page *page = child_page(check_worker(L)->child);
    lua_newtable(L);
    for (int i = 0; i < CLOSE_ROWS; i++) {
        const struct close_row *row = &page->close[i];
        if (row->sent == 0 && row->seen == 0)
            continue;
        lua_createtable(L, 0, 2);
        set_integer(L, "sent", (lua_Integer)row->sent);
        set_integer(L, "seen", (lua_Integer)row->seen);
        lua_rawseti(L, -2, (lua_Integer)row->code);
    }
    return 1;
}

static int worker_hist(lua_State *L)
{
    const struct page *page = child_page(check_worker(L)->child);
    const char *name = luaL_checkstring(L, 2);
    for (int i = 0; i < HIST_IDS; i++) {
        if (strcmp(name, count_hist_rows[i].name) == 0) {
            bind_push_hist(L, &page->hist[i]);
            return 1;
        }
    }
    return luaL_argerror(L, 2, "no such histogram");
}

void bind_push_sample(lua_State *L, const struct proc_sample *sample)
{
    lua_createtable(L, 0, 5);
    set_integer(L, "rss", (lua_Integer)sample->rss_bytes);
    set_integer(L, "peak", (lua_Integer)sample->peak_bytes);
    set_integer(L, "threads", (lua_Integer)sample->threads);
    lua_pushnumber(L, (double)sample->user_ns / 1e9);
    lua_setfield(L, -2, "user");
    lua_pushnumber(L, (double)sample->system_ns / 1e9);
    lua_setfield(L, -2, "system");
}

static int worker_sample(lua_State *L)
{
    struct bound_worker *w = check_worker(L);
    struct proc_sample sample;
    if (!child_alive(w->child) || proc_sample(child_pid(w->child), &sample) < 0)
        return 0;
    bind_push_sample(L, &sample);
    return 1;
}

static int worker_close(lua_State *L)
{
    struct bound_worker *w = luaL_checkudata(L, 1, worker_type);
    child_free(w->child);
    w->child = NULL;
    bind_forget(w);
    return 0;
}

static int worker_tostring(lua_State *L)
{
    struct bound_worker *w = luaL_checkudata(L, 1, worker_type);
    if (w->child == NULL)
        lua_pushliteral(L, "wsb.Worker (closed)");
    else
        lua_pushfstring(L, "wsb.Worker (%s, pid %d)", config_role_name(child_role(w->child)),
                        (int)child_pid(w->child));
    return 1;
}

void bind_run(lua_State *L)
{
    static const luaL_Reg functions[] = {{"turn", turn}, {"spawn", spawn}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"pid", worker_pid},
                                       {"alive", worker_alive},
                                       {"send", worker_send},
                                       {"kill", worker_kill},
                                       {"counts", worker_counts},
                                       {"closes", worker_closes},
                                       {"hist", worker_hist},
                                       {"sample", worker_sample},
                                       {"close", worker_close},
                                       {"__close", worker_close},
                                       {"__gc", worker_close},
                                       {"__tostring", worker_tostring},
                                       {NULL, NULL}};
    luaL_newmetatable(L, worker_type);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    signal(SIGCHLD, SIG_DFL);  /* inherited as ignored, it would leave no exit status to wait for */
    run.loop = ev_loop_new(0); /* the default loop would reap the children that a script starts by io.popen */
    ev_timer_init(&run.timeout, on_timeout, 0, 0);
    watch_signal(&run.interrupt, SIGINT);
    watch_signal(&run.terminate, SIGTERM);
    watch_signal(&run.hang_up, SIGHUP);
    luaL_setfuncs(L, functions, 0);
}
