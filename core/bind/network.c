/* What Lua may ask about the network it is in, and to be in one of its own. */
#include "bind/bind.h"
#include "host/netns.h"
#include "host/netstat.h"

#include <lauxlib.h>

#include <errno.h>

enum { WHY_MAX = 256 };

static int netstat(lua_State *L)
{
    struct netstat figures;
    if (netstat_read(&figures) < 0) {
        lua_pushnil(L);
        lua_pushstring(L, strerror(errno));
        return 2;
    }
    lua_createtable(L, 0, NETSTAT_IDS);
    for (int i = 0; i < NETSTAT_IDS; i++) {
        if (figures.value[i] < 0)
            continue;
        lua_pushinteger(L, figures.value[i]);
        lua_setfield(L, -2, netstat_rows[i].name);
    }
    return 1;
}

static int netstat_figures(lua_State *L)
{
    lua_createtable(L, NETSTAT_IDS, 0);
    for (int i = 0; i < NETSTAT_IDS; i++) {
        lua_createtable(L, 0, 3);
        bind_set_text(L, "name", netstat_rows[i].name);
        bind_set_text(L, "kind", netstat_rows[i].kind);
        bind_set_text(L, "help", netstat_rows[i].help);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static int push_kind(lua_State *L, int err, enum netns_kind kind, const char *why)
{
    if (err == 0) {
        lua_pushstring(L, netns_kind_name(kind));
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

static int private_network(lua_State *L)
{
    char why[WHY_MAX];
    enum netns_kind kind = NETNS_NETWORK;
    int err = netns_enter(&kind, why, sizeof why);
    return push_kind(L, err, kind, why);
}

static int probe_network(lua_State *L)
{
    char why[WHY_MAX];
    enum netns_kind kind = NETNS_NETWORK;
    int err = netns_probe(&kind, why, sizeof why);
    return push_kind(L, err, kind, why);
}

static int own_network(lua_State *L)
{
    char why[WHY_MAX];
    int err = netns_leave(why, sizeof why);
    lua_pushboolean(L, err == 0);
    if (err == 0)
        return 1;
    lua_pushstring(L, why);
    return 2;
}

void bind_network(lua_State *L)
{
    static const luaL_Reg functions[] = {{"netstat", netstat},
                                         {"netstat_figures", netstat_figures},
                                         {"private_network", private_network},
                                         {"probe_network", probe_network},
                                         {"own_network", own_network},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
