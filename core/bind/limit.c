/* wsb.MemoryLimit: a limit that kills, as host/memlimit makes it. */
#include "bind/bind.h"
#include "host/memlimit.h"

#include <lauxlib.h>

static const char limit_type[] = "wsb.MemoryLimit";

struct bound_limit {
    struct memlimit *limit; /* NULL once closed */
};

struct memlimit *bind_check_limit(lua_State *L, int index)
{
    struct bound_limit *b = luaL_checkudata(L, index, limit_type);
    luaL_argcheck(L, b->limit != NULL, index, "the memory limit is closed");
    return b->limit;
}

static int memory_limit(lua_State *L)
{
    lua_Integer bytes = luaL_checkinteger(L, 1);
    bool allow_cgroup = lua_isnoneornil(L, 2) || lua_toboolean(L, 2);
    char why[512] = "";
    luaL_argcheck(L, bytes > 0, 1, "bytes, 1 or more");
    struct bound_limit *b = lua_newuserdatauv(L, sizeof *b, 0);
    b->limit = NULL;
    luaL_setmetatable(L, limit_type);
    b->limit = memlimit_new((uint64_t)bytes, allow_cgroup, why, sizeof why);
    if (why[0] == '\0')
        return 1;
    lua_pushstring(L, why);
    return 2;
}

static int kind(lua_State *L)
{
    lua_pushstring(L, memlimit_kind_name(memlimit_kind(bind_check_limit(L, 1))));
    return 1;
}

static int path(lua_State *L)
{
    lua_pushstring(L, memlimit_path(bind_check_limit(L, 1)));
    return 1;
}

static int read_state(lua_State *L)
{
    struct memlimit_state s;
    if (memlimit_read(bind_check_limit(L, 1), &s) < 0)
        return 0;
    const struct {
        const char *name;
        uint64_t value;
    } field[] = {{"usage", s.usage_bytes},
                 {"peak", s.peak_bytes},
                 {"sockets", s.socket_bytes},
                 {"oom_kills", s.oom_kills},
                 {"hits", s.limit_hits}};
    lua_createtable(L, 0, 5);
    for (size_t i = 0; i < sizeof field / sizeof *field; i++) {
        lua_pushinteger(L, (lua_Integer)field[i].value);
        lua_setfield(L, -2, field[i].name);
    }
    return 1;
}

static int close_limit(lua_State *L)
{
    struct bound_limit *b = luaL_checkudata(L, 1, limit_type);
    memlimit_free(b->limit);
    b->limit = NULL;
    return 0;
}

void bind_limit(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"kind", kind},           {"path", path},        {"read", read_state}, {"close", close_limit},
        {"__close", close_limit}, {"__gc", close_limit}, {NULL, NULL}};
    luaL_newmetatable(L, limit_type);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_pushcfunction(L, memory_limit);
    lua_setfield(L, -2, "memory_limit");
}
