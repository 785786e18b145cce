/* wsb: the controller, which runs Lua, or the same program executed again as one of its workers. */
#include "bind/bind.h"
#include "role/spawn.h"
#include "role/worker.h"

#include <lauxlib.h>
#include <lualib.h>

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

enum { EXIT_SOFTWARE = 70 };

/* Without this, a closed stdin, stdout or stderr would become one of our sockets, and take what is printed.
 */
static void fill_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

/* As many descriptors as this user may have: the soft limit is for programs that use select(2). */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* The directory that holds lua/ and scripts/: the checkout around build/, or share/wsb beside the installed
 * bin/. */
static bool find_home(char home[PATH_MAX])
{
    static const char *const places[] = {"/../share/wsb", "/..", "/../.."};
    char program[PATH_MAX], probe[PATH_MAX + 64];
    ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
    if (size < 0)
        return false;
    program[size] = '\0';
    *strrchr(program, '/') = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(probe, sizeof probe, "%s%s/lua/wsb/init.lua", program, places[i]);
        if (access(probe, R_OK) != 0)
            continue;
        snprintf(probe, sizeof probe, "%s%s", program, places[i]);
        return realpath(probe, home) != NULL;
    }
    return false;
}

static int open_core(lua_State *L)
{
    return bind_open(L, lua_tostring(L, lua_upvalueindex(1)));
}

static void set_search_path(lua_State *L, const char *home)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "path");
    lua_pushfstring(L, "%s/lua/?.lua;%s/lua/?/init.lua;%s", home, home, lua_tostring(L, -1));
    lua_setfield(L, -3, "path");
    lua_pop(L, 1);
    lua_getfield(L, -1, "preload");
    lua_pushstring(L, home);
    lua_pushcclosure(L, open_core, 1);
    lua_setfield(L, -2, "wsb.core");
    lua_pop(L, 2);
}

static int with_traceback(lua_State *L)
{
    luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
    return 1;
}

/* require("wsb.command.cli").main(arguments) -> exit code. */
static int protected_main(lua_State *L)
{
    char **argv = lua_touserdata(L, 1);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "wsb.command.cli");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "main");
    lua_newtable(L);
    for (lua_Integer i = 0; argv[i] != NULL; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i);
    }
    lua_call(L, 1, 1);
    return 1;
}

/* Lua's own seed is the time in seconds and addresses, which are the same in each process under
 * AddressSanitizer: two that start together would choose the same ports. */
static void seed_random(lua_State *L)
{
    lua_Integer seed[2] = {0, 0};
    if (getrandom(seed, sizeof seed, 0) != sizeof seed)
        return;
    lua_getglobal(L, "math");
    lua_getfield(L, -1, "randomseed");
    lua_pushinteger(L, seed[0]);
    lua_pushinteger(L, seed[1]);
    lua_call(L, 2, 0);
    lua_pop(L, 1);
}

static int controller_main(char **argv)
{
    char home[PATH_MAX];
    if (!find_home(home)) {
        fprintf(stderr,
                "wsb: lua/wsb is neither beside this program's directory nor in ../share/wsb: reinstall\n");
        return EXIT_SOFTWARE;
    }
    lua_State *L = luaL_newstate();
    if (L == NULL)
        return EXIT_SOFTWARE;
    luaL_openlibs(L);
    seed_random(L);
    set_search_path(L, home);
    lua_pushcfunction(L, with_traceback);
    lua_pushcfunction(L, protected_main);
    lua_pushlightuserdata(L, argv);
    int code = EXIT_SOFTWARE;
    if (lua_pcall(L, 1, 1, 1) == LUA_OK)
        code = (int)luaL_optinteger(L, -1, 0);
    else
        fprintf(stderr, "wsb: %s\n", lua_tostring(L, -1));
    lua_close(L);
    return code;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    fill_standard_descriptors();
    raise_descriptor_limit();
    if (argc == 3 && strcmp(argv[1], CHILD_ARGUMENT) == 0)
        return worker_main(argv[2]);
    return controller_main(argv);
}
