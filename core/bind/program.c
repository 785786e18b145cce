/* core.start: programs that are not wsb's. */
#include "bind/bind.h"
#include "base/list.h"
#include "host/proc.h"
#include "net/loop.h"
#include "role/program.h"

#include <lauxlib.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const char program_type[] = "wsb.Program";

struct bound_program {
    struct program *program; /* NULL once closed */
    struct program_owner owner;
};

static void on_exited(struct program_owner *owner, struct program *program, int status)
{
    (void)program;
    bind_note_exit(LIST_OF(owner, struct bound_program, owner), status);
}

/* The list of texts at `index` as argv, in a userdata that is pushed; its texts stay the table's. */
static const char *const *check_argv(lua_State *L, int index)
{
    luaL_checktype(L, index, LUA_TTABLE);
    lua_Integer count = luaL_len(L, index);
    luaL_argcheck(L, count > 0, index, "the program's name first");
    const char **argv = lua_newuserdatauv(L, ((size_t)count + 1) * sizeof *argv, 0);
    for (lua_Integer i = 0; i < count; i++) {
        luaL_argcheck(L, lua_rawgeti(L, index, i + 1) == LUA_TSTRING, index, "a list of texts");
        argv[i] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    argv[count] = NULL;
    return argv;
}

/* Where stdout and stderr go: the log, nowhere (false), or to this process's stderr. -1 with errno. */
static int open_output(lua_State *L, int how)
{
    int type = lua_getfield(L, how, "log"), fd;
    if (type == LUA_TNIL)
        fd = program_fd(dup(STDERR_FILENO));
    else
        fd = program_log(lua_isstring(L, -1) ? lua_tostring(L, -1) : "/dev/null");
    lua_pop(L, 1);
    return fd;
}

static const char *get_text(lua_State *L, int how, const char *field)
{
    lua_getfield(L, how, field);
    return lua_tostring(L, -1);
}

static int failed(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

static int start(lua_State *L)
{
    char why[512] = "";
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_newtable(L);
        lua_replace(L, 2);
    }
    struct program_plan plan = {.argv = check_argv(L, 1)};
    plan.file = plan.argv[0];
    plan.cwd = get_text(L, 2, "cwd");
    if (lua_getfield(L, 2, "limit") != LUA_TNIL)
        plan.limit = bind_check_limit(L, -1);
    lua_getfield(L, 2, "env");
    plan.env = bind_settings(L, -1);
    struct bound_program *p = lua_newuserdatauv(L, sizeof *p, 1);
    int index = lua_gettop(L);
    lua_pushvalue(L, 2); /* the limit lives as long as what it limits */
    lua_setiuservalue(L, index, 1);
    *p = (struct bound_program){.owner = {on_exited}};
    luaL_setmetatable(L, program_type);
    bind_remember(L, p, index);
    int in = program_fd(open("/dev/null", O_RDONLY | O_CLOEXEC)), out = open_output(L, 2);
    if (in < 0 || out < 0) {
        int error = errno;
        close(in);
        return failed(L, lua_pushfstring(L, "%s: %s", get_text(L, 2, "log"), strerror(error)));
    }
    memcpy(plan.fd, (int[PROGRAM_FDS]){in, out, out, -1, -1}, sizeof plan.fd);
    p->program = program_start(bind_loop(), &plan, &p->owner, why, sizeof why);
    close(in);
    close(out);
    if (p->program == NULL)
        return failed(L, why);
    lua_pushvalue(L, index);
    return 1;
}

static int sample_of(lua_State *L, pid_t pid)
{
    struct proc_sample sample;
    if (proc_sample_family(pid, &sample) < 0)
        return 0;
    bind_push_sample(L, &sample);
    return 1;
}

static int sample(lua_State *L)
{
    return sample_of(L, (pid_t)luaL_checkinteger(L, 1));
}

static const struct program *check_program(lua_State *L)
{
    struct bound_program *p = luaL_checkudata(L, 1, program_type);
    luaL_argcheck(L, p->program != NULL, 1, "the program is closed");
    return p->program;
}

static int program_method_pid(lua_State *L)
{
    lua_pushinteger(L, program_pid(check_program(L)));
    return 1;
}

static int program_method_alive(lua_State *L)
{
    lua_pushboolean(L, program_alive(check_program(L)));
    return 1;
}

static int program_method_kill(lua_State *L)
{
    program_kill(check_program(L), (int)luaL_checkinteger(L, 2));
    return 0;
}

static int program_method_sample(lua_State *L)
{
    const struct program *p = check_program(L);
    return program_alive(p) ? sample_of(L, program_pid(p)) : 0;
}

static int program_method_close(lua_State *L)
{
    struct bound_program *p = luaL_checkudata(L, 1, program_type);
    program_free(p->program);
    p->program = NULL;
    bind_forget(p);
    return 0;
}

static int program_method_tostring(lua_State *L)
{
    struct bound_program *p = luaL_checkudata(L, 1, program_type);
    if (p->program == NULL)
        lua_pushliteral(L, "wsb.Program (closed)");
    else
        lua_pushfstring(L, "wsb.Program (pid %d)", (int)program_pid(p->program));
    return 1;
}

void bind_program(lua_State *L)
{
    static const luaL_Reg functions[] = {{"start", start}, {"sample", sample}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"pid", program_method_pid},
                                       {"alive", program_method_alive},
                                       {"kill", program_method_kill},
                                       {"sample", program_method_sample},
                                       {"close", program_method_close},
                                       {"__close", program_method_close},
                                       {"__gc", program_method_close},
                                       {"__tostring", program_method_tostring},
                                       {NULL, NULL}};
    luaL_newmetatable(L, program_type);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_setfuncs(L, functions, 0);
}
