/* wsb.Hist: a snapshot of a histogram, in seconds to the outside. */
#include "bind/bind.h"

#include <lauxlib.h>

#include <math.h>

static const char hist_type[] = "wsb.Hist";

static struct hist *push_new(lua_State *L)
{
    struct hist *h = lua_newuserdatauv(L, sizeof *h, 0);
    *h = (struct hist){0};
    luaL_setmetatable(L, hist_type);
    return h;
}

static struct hist *check(lua_State *L, int index)
{
    return luaL_checkudata(L, index, hist_type);
}

void bind_push_hist(lua_State *L, const struct hist *hist)
{
    *push_new(L) = *hist;
}

static int new (lua_State *L)
{
    push_new(L);
    return 1;
}

static int merge(lua_State *L)
{
    const struct hist *a = check(L, 1), *b = check(L, 2);
    struct hist *sum = push_new(L);
    *sum = *a;
    hist_merge(sum, b);
    return 1;
}

static int subtract(lua_State *L)
{
    const struct hist *a = check(L, 1), *earlier = check(L, 2);
    struct hist *since = push_new(L);
    *since = *a;
    hist_subtract(since, earlier);
    return 1;
}

static int count(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)check(L, 1)->count);
    return 1;
}

static int max(lua_State *L)
{
    lua_pushnumber(L, (double)check(L, 1)->max_ns / 1e9);
    return 1;
}

static int mean(lua_State *L)
{
    const struct hist *h = check(L, 1);
    lua_pushnumber(L, h->count > 0 ? (double)h->sum_ns / 1e9 / (double)h->count : 0);
    return 1;
}

static int percentile(lua_State *L)
{
    const struct hist *h = check(L, 1);
    double percent = luaL_checknumber(L, 2);
    lua_Integer missing = luaL_optinteger(L, 3, 0);
    luaL_argcheck(L, percent >= 0 && percent <= 100, 2, "0 to 100");
    luaL_argcheck(L, missing >= 0, 3, "0 or more");
    if (h->count == 0 && missing == 0) {
        lua_pushnil(L);
        return 1;
    }
    uint64_t value_ns = hist_percentile(h, percent, (uint64_t)missing);
    lua_pushnumber(L, value_ns == UINT64_MAX ? (double)INFINITY : (double)value_ns / 1e9);
    return 1;
}

void bind_hist(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"count", count},           {"max", max},        {"mean", mean}, {"__add", merge},
        {"percentile", percentile}, {"__sub", subtract}, {NULL, NULL}};
    luaL_newmetatable(L, hist_type);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_pushcfunction(L, new);
    lua_setfield(L, -2, "hist");
}
