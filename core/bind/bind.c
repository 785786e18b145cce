#include "bind/bind.h"

#include "version.h"

#include <lauxlib.h>

#include <stdio.h>
#include <string.h>

int bind_open(lua_State *L, const char *home)
{
    lua_newtable(L);
    bind_run(L);
    bind_program(L);
    bind_dial(L);
    bind_hist(L);
    bind_limit(L);
    bind_machine(L);
    bind_network(L);
    lua_pushstring(L, home);
    lua_setfield(L, -2, "home");
    lua_pushstring(L, WSB_VERSION);
    lua_setfield(L, -2, "version");
    return 1;
}

void bind_set_text(lua_State *L, const char *field, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, field);
}

enum role bind_check_role(lua_State *L, int index)
{
    enum role role = ROLE_SERVER;
    if (config_role(luaL_checkstring(L, index), &role) < 0)
        luaL_argerror(L, index, "server or swarm");
    return role;
}

static size_t count_pairs(lua_State *L, int table)
{
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1))
        count++;
    return count;
}

/* Pushes "name=value" for the pair at the top of the stack (name below value), which stays. */
static const char *push_setting(lua_State *L)
{
    const char *name, *value;
    if (lua_type(L, -2) != LUA_TSTRING)
        luaL_error(L, "option names are texts, not %s", luaL_typename(L, -2));
    name = lua_tostring(L, -2);
    if (lua_isboolean(L, -1))
        value = lua_toboolean(L, -1) ? "true" : "false";
    else if (lua_isstring(L, -1))
        value = luaL_tolstring(L, -1, NULL);
    else
        return luaL_error(L, "%s: a %s is not accepted; give a text, a number, true or false", name,
                          luaL_typename(L, -1)),
               NULL;
    return lua_pushfstring(L, "%s=%s", name, value);
}

const char *const *bind_settings(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    if (lua_isnoneornil(L, index)) {
        lua_newtable(L);
        lua_replace(L, index);
    }
    luaL_checktype(L, index, LUA_TTABLE);
    size_t count = count_pairs(L, index), i = 0;
    const char **settings = lua_newuserdatauv(L, (count + 1) * sizeof *settings, 1);
    int owner = lua_gettop(L);
    lua_newtable(L); /* keeps the texts alive */
    int texts = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_settop(L, texts + 1)) {
        settings[i++] = push_setting(L);
        lua_rawseti(L, texts, (lua_Integer)i);
    }
    settings[count] = NULL;
    lua_setiuservalue(L, owner, 1);
    return settings;
}

void bind_push_settings(lua_State *L, const char *const *settings)
{
    lua_newtable(L);
    for (; *settings != NULL; settings++) {
        const char *equals = strchr(*settings, '=');
        if (equals == NULL)
            continue;
        lua_pushlstring(L, *settings, (size_t)(equals - *settings));
        lua_pushstring(L, equals + 1);
        lua_rawset(L, -3);
    }
}
