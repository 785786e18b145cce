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
#include <sys/wait.h>

static const char worker_type[] = "wsb.Worker";

/* Something that happened, until core.turn hands it over. */
struct note {
    struct note *next;
    struct bound_worker *worker; /* NULL: of the process itself */
    int status;                  /* of an exit; of a signal: its number */
    struct ctl_message *message; /* NULL: an exit or a signal */
};

/* One loop a process, so one of these. */
static struct {
    struct ev_loop *loop;
    ev_signal interrupt, terminate;
    ev_timer timeout;
    struct note *first, **last;
} run = {.last = &run.first};

struct bound_worker {
    struct child *child; /* NULL once closed */
    struct child_owner owner;
    uint64_t seq;
};

static void note(struct bound_worker *worker, int status, const struct ctl_message *message)
{
    struct note *n = mem_zero(sizeof *n);
    n->worker = worker;
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

static void on_signal(EV_P_ ev_signal *watcher, int events)
{
    (void)loop, (void)events;
    note(NULL, watcher->signum, NULL);
}

static void on_timeout(EV_P_ ev_timer *timer, int events)
{
    (void)timer, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static void set_text(lua_State *L, const char *field, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, field);
}

static void set_integer(lua_State *L, const char *field, lua_Integer value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, field);
}

static void push_exit(lua_State *L, int status)
{
    set_text(L, "kind", "exit");
    if (WIFSIGNALED(status))
        set_integer(L, "signal", WTERMSIG(status));
    else
        set_integer(L, "code", WEXITSTATUS(status));
}

static void push_message(lua_State *L, const struct ctl_message *message)
{
    bool ready = strcmp(message->verb, "ready") == 0;
    bool reply = strcmp(message->verb, "reply") == 0;
    set_text(L, "kind", ready ? "ready" : reply ? "reply" : "notice");
    set_text(L, "name", message->verb);
    set_integer(L, "seq", (lua_Integer)message->seq);
    bind_push_settings(L, message->setting);
    lua_getfield(L, -1, "error");
    lua_setfield(L, -3, "error");
    lua_setfield(L, -2, "values");
}

/* The worker's userdata is found by its address in the registry's weak table of workers. */
static void push_note(lua_State *L, const struct note *n)
{
    lua_newtable(L);
    if (n->worker != NULL) {
        luaL_getsubtable(L, LUA_REGISTRYINDEX, worker_type);
        lua_rawgetp(L, -1, n->worker);
        lua_setfield(L, -3, "worker");
        lua_pop(L, 1);
    }
    if (n->message != NULL) {
        push_message(L, n->message);
    } else if (n->worker != NULL) {
        push_exit(L, n->status);
    } else {
        set_text(L, "kind", "signal");
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
    if (run.first == NULL) {
        ev_now_update(run.loop);
        ev_timer_set(&run.timeout, fmin(timeout_s, 1e6), 0);
        ev_timer_start(run.loop, &run.timeout);
        ev_run(run.loop, 0);
        ev_timer_stop(run.loop, &run.timeout);
    }
    lua_newtable(L);
    struct note *n;
    for (lua_Integer i = 1; (n = take_note()) != NULL; i++) {
        push_note(L, n);
        lua_rawseti(L, -2, i);
        free_note(n);
    }
    return 1;
}

/* What was noted of a worker that is closed concerns nobody any more. */
static void forget_notes(const struct bound_worker *worker)
{
    struct note **at = &run.first;
    while (*at != NULL) {
        struct note *n = *at;
        if (n->worker != worker) {
            at = &n->next;
            continue;
        }
        *at = n->next;
        free_note(n);
    }
    run.last = at;
}

static void remember(lua_State *L, const struct bound_worker *w, int index)
{
    if (luaL_getsubtable(L, LUA_REGISTRYINDEX, worker_type) == 0) {
        lua_newtable(L);
        lua_pushliteral(L, "v");
        lua_setfield(L, -2, "__mode");
        lua_setmetatable(L, -2);
    }
    lua_pushvalue(L, index);
    lua_rawsetp(L, -2, w);
    lua_pop(L, 1);
}

static int spawn(lua_State *L)
{
    struct child_plan plan = {.role = bind_check_role(L, 1)};
    char why[512];
    lua_settop(L, 3);
    if (!lua_isnil(L, 3)) {
        if (lua_getfield(L, 3, "limit") != LUA_TNIL)
            plan.limit = bind_check_limit(L, -1);
        lua_getfield(L, 3, "log");
        plan.log_path = lua_tostring(L, -1);
    }
    plan.settings = bind_settings(L, 2);
    struct bound_worker *w = lua_newuserdatauv(L, sizeof *w, 0);
    int index = lua_gettop(L);
    *w = (struct bound_worker){.owner = {on_said, on_exited}};
    luaL_setmetatable(L, worker_type);
    remember(L, w, index);
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
    child_send(w->child, verb, ++w->seq, bind_settings(L, 3));
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
    static const char *const names[] = {
#define COUNT(role, name, kind, unit, help) #name,
#define HIST(role, name, help)
#include "base/count.def"
#undef COUNT
#undef HIST
    };
    const struct page *page = child_page(check_worker(L)->child);
    lua_createtable(L, 0, COUNT_IDS);
    for (int i = 0; i < COUNT_IDS; i++)
        set_integer(L, names[i], (lua_Integer)page->count[i]);
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
    static const char *const names[] = {
#define COUNT(role, name, kind, unit, help)
#define HIST(role, name, help) #name,
#include "base/count.def"
#undef COUNT
#undef HIST
        NULL,
    };
    const struct page *page = child_page(check_worker(L)->child);
    bind_push_hist(L, &page->hist[luaL_checkoption(L, 2, NULL, names)]);
    return 1;
}

static int worker_sample(lua_State *L)
{
    struct bound_worker *w = check_worker(L);
    struct proc_sample sample;
    if (!child_alive(w->child) || proc_sample(child_pid(w->child), &sample) < 0)
        return 0;
    lua_createtable(L, 0, 5);
    set_integer(L, "rss", (lua_Integer)sample.rss_bytes);
    set_integer(L, "peak", (lua_Integer)sample.peak_bytes);
    set_integer(L, "threads", (lua_Integer)sample.threads);
    lua_pushnumber(L, (double)sample.user_ns / 1e9);
    lua_setfield(L, -2, "user");
    lua_pushnumber(L, (double)sample.system_ns / 1e9);
    lua_setfield(L, -2, "system");
    return 1;
}

static int worker_close(lua_State *L)
{
    struct bound_worker *w = luaL_checkudata(L, 1, worker_type);
    child_free(w->child);
    w->child = NULL;
    forget_notes(w);
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
    run.loop = ev_default_loop(0);
    ev_timer_init(&run.timeout, on_timeout, 0, 0);
    ev_signal_init(&run.interrupt, on_signal, SIGINT);
    ev_signal_init(&run.terminate, on_signal, SIGTERM);
    ev_signal_start(run.loop, &run.interrupt);
    ev_signal_start(run.loop, &run.terminate);
    luaL_setfuncs(L, functions, 0);
}
