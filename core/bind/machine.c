/* What Lua may ask about options, figures, units and the machine. */
#include "bind/bind.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/count.h"
#include "host/proc.h"
#include "net/sock.h"
#include "role/config.h"

#include <lauxlib.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

static void push_choices(lua_State *L, const char *choices)
{
    lua_newtable(L);
    for (lua_Integer i = 1; *choices != '\0'; i++) {
        size_t size = strcspn(choices, "|");
        lua_pushlstring(L, choices, size);
        lua_rawseti(L, -2, i);
        choices += size + (choices[size] == '|');
    }
}

static int options(lua_State *L)
{
    size_t count;
    const struct option *o = config_options(bind_check_role(L, 1), &count);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++, o++) {
        lua_createtable(L, 0, 6);
        bind_set_text(L, "name", o->name);
        bind_set_text(L, "type", config_type_name(o->type));
        bind_set_text(L, "default", o->fallback);
        bind_set_text(L, "help", o->help);
        lua_pushboolean(L, o->live);
        lua_setfield(L, -2, "live");
        if (o->type == OPTION_CHOICE) {
            push_choices(L, o->choices);
            lua_setfield(L, -2, "choices");
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static void push_rows(lua_State *L, const struct count_row *row, int count)
{
    for (int i = 0; i < count; i++, row++) {
        lua_createtable(L, 0, 5);
        bind_set_text(L, "role", row->role);
        bind_set_text(L, "name", row->name);
        bind_set_text(L, "kind", row->kind);
        bind_set_text(L, "unit", row->unit);
        bind_set_text(L, "help", row->help);
        lua_rawseti(L, -2, luaL_len(L, -2) + 1);
    }
}

static int metrics(lua_State *L)
{
    lua_newtable(L);
    push_rows(L, count_rows, COUNT_IDS);
    push_rows(L, count_hist_rows, HIST_IDS);
    return 1;
}

/* Durations are seconds in Lua, nanoseconds in C. */
static double scale(enum unit_kind kind)
{
    return kind == UNIT_DURATION ? 1e9 : 1;
}

static enum unit_kind check_kind(lua_State *L, int index)
{
    static const char *const names[] = {"count", "size", "duration", "rate", "byte_rate", "ratio", NULL};
    return (enum unit_kind)luaL_checkoption(L, index, NULL, names);
}

static int parse(lua_State *L)
{
    enum unit_kind kind = check_kind(L, 1);
    double value;
    if (units_parse(kind, luaL_checkstring(L, 2), &value) < 0) {
        lua_pushnil(L);
        lua_pushstring(L, units_accepted(kind));
        return 2;
    }
    value /= scale(kind);
    if (kind == UNIT_COUNT || kind == UNIT_SIZE)
        lua_pushinteger(L, (lua_Integer)value);
    else
        lua_pushnumber(L, value);
    return 1;
}

static int format(lua_State *L)
{
    enum unit_kind kind = check_kind(L, 1);
    char text[64];
    lua_pushstring(L, units_format(kind, luaL_checknumber(L, 2) * scale(kind), text, sizeof text));
    return 1;
}

static int now(lua_State *L)
{
    lua_pushnumber(L, (double)clock_now_ns() / 1e9);
    return 1;
}

static int is_terminal(lua_State *L)
{
    lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
    return 1;
}

static int columns(lua_State *L)
{
    struct winsize size = {0};
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    lua_pushinteger(L, known ? size.ws_col : 80);
    return 1;
}

static int descriptor_limit(lua_State *L)
{
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, (lua_Integer)limit.rlim_cur);
    lua_setfield(L, -2, "soft");
    lua_pushinteger(L, (lua_Integer)limit.rlim_max);
    lua_setfield(L, -2, "hard");
    return 1;
}

/* Who started us: in a user namespace of our own everybody is user 0. */
static uid_t started_by;

static int user_id(lua_State *L)
{
    lua_pushinteger(L, started_by);
    return 1;
}

static int system_name(lua_State *L)
{
    struct utsname name = {0};
    uname(&name);
    lua_createtable(L, 0, 5);
    bind_set_text(L, "sysname", name.sysname);
    bind_set_text(L, "release", name.release);
    bind_set_text(L, "version", name.version);
    bind_set_text(L, "machine", name.machine);
    bind_set_text(L, "nodename", name.nodename);
    return 1;
}

static int tcp_memory(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)proc_tcp_memory());
    return 1;
}

static int listen_error(lua_State *L)
{
    lua_Integer port = luaL_checkinteger(L, 2);
    luaL_argcheck(L, port >= 0 && port <= UINT16_MAX, 2, "0 to 65535");
    int fd = sock_listen(luaL_checkstring(L, 1), (uint16_t)port, 1, 0);
    if (fd >= 0) {
        close(fd);
        return 0;
    }
    lua_pushstring(L, strerror(errno));
    return 1;
}

void bind_machine(lua_State *L)
{
    static const luaL_Reg functions[] = {{"options", options},
                                         {"metrics", metrics},
                                         {"parse", parse},
                                         {"format", format},
                                         {"now", now},
                                         {"isatty", is_terminal},
                                         {"columns", columns},
                                         {"descriptor_limit", descriptor_limit},
                                         {"getuid", user_id},
                                         {"uname", system_name},
                                         {"tcp_memory", tcp_memory},
                                         {"listen_error", listen_error},
                                         {NULL, NULL}};
    started_by = getuid();
    luaL_setfuncs(L, functions, 0);
}
