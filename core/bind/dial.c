/* core.dial: a connection, plain or TLS, whose every byte is the script's own. */
#include "bind/bind.h"
#include "base/buf.h"
#include "base/err.h"
#include "net/loop.h"
#include "net/sock.h"
#include "net/stream.h"
#include "net/tls.h"

#include <lauxlib.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char dial_type[] = "wsb.Dial", tls_type[] = "wsb.Tls";

/* What nobody has taken yet; above it the rest stays in the kernel. */
enum { UNTAKEN_MAX = 1024 * 1024, READ_SIZE = 64 * 1024 };

enum state { CONNECTING, SECURING, OPEN, ENDED, RESET, FAILED, CLOSED };

struct tls {
    struct tls_context *context;
};

struct dial {
    struct stream stream;
    ev_io readable, writable;
    struct buf in, out;
    enum state state;
    struct tls_context *tls; /* of a wsb.Tls, which is this object's user value; NULL: plain */
    char why[256];           /* of FAILED */
    bool one_way;            /* nothing can be sent any more: an end that follows was a reset */
};

static void stop(struct dial *d)
{
    ev_io_stop(bind_loop(), &d->readable);
    ev_io_stop(bind_loop(), &d->writable);
}

static void over(struct dial *d, enum state state)
{
    stop(d);
    d->state = state;
    buf_free(&d->out);
    bind_wake();
}

/* error: an errno; why: what to say of it. */
static void failed(struct dial *d, int error, const char *why)
{
    snprintf(d->why, sizeof d->why, "%s", why);
    over(d, error == ECONNRESET || error == EPIPE ? RESET : FAILED);
}

static void stream_failed(struct dial *d)
{
    int error = d->one_way ? EPIPE : errno;
    failed(d, error, stream_error(&d->stream));
}

/* TLS may hold bytes for which the descriptor does not turn readable. */
static void receive(struct dial *d)
{
    enum io io;
    do {
        size_t got = 0;
        io = stream_read(&d->stream, buf_reserve(&d->in, READ_SIZE), READ_SIZE, &got);
        d->in.size += got;
    } while (io == IO_DONE && stream_pending(&d->stream) > 0 && d->in.size < UNTAKEN_MAX);
    if (io == IO_CLOSED)
        over(d, d->one_way ? RESET : ENDED);
    else if (io == IO_FAILED)
        stream_failed(d);
    else if (d->in.size >= UNTAKEN_MAX)
        ev_io_stop(bind_loop(), &d->readable);
    bind_wake();
}

/* What has come before a failure to send can still be read, and so can the reason. */
static void flush(struct dial *d)
{
    struct iovec rest = {.iov_base = d->out.at, .iov_len = d->out.size};
    size_t put = 0;
    bool nothing = d->out.size == 0 && !stream_unsent(&d->stream);
    enum io io = nothing ? IO_DONE : stream_writev(&d->stream, &rest, d->out.size > 0, &put);
    if (io == IO_DONE) {
        buf_consume(&d->out, put);
    } else if (io != IO_AGAIN) {
        d->one_way = true;
        buf_free(&d->out);
    }
    if (d->out.size > 0 || stream_unsent(&d->stream))
        ev_io_start(bind_loop(), &d->writable);
    else
        ev_io_stop(bind_loop(), &d->writable);
}

static void opened(struct dial *d)
{
    d->state = OPEN;
    ev_io_start(bind_loop(), &d->readable);
    flush(d);
    receive(d); /* what came with the end of the handshake */
}

static void secure(struct dial *d)
{
    enum io io = stream_handshake(&d->stream);
    switch (io) {
    case IO_DONE: opened(d); break;
    case IO_CLOSED: over(d, ENDED); break;
    case IO_FAILED: stream_failed(d); break;
    case IO_AGAIN:
        stop(d);
        ev_io_start(bind_loop(), stream_wants_write(&d->stream) ? &d->writable : &d->readable);
        break;
    }
}

static void connected(struct dial *d)
{
    int error = sock_error(d->stream.fd);
    if (error != 0) {
        failed(d, error, strerror(error));
    } else if (d->tls == NULL) {
        opened(d);
    } else if (stream_secure(&d->stream, d->tls) < 0) {
        failed(d, 0, err_text(ERR_TLS));
    } else {
        d->state = SECURING;
        secure(d);
    }
}

static void ready(EV_P_ ev_io *watcher, int events)
{
    struct dial *d = watcher->data;
    (void)loop;
    if (d->state == CONNECTING)
        connected(d);
    else if (d->state == SECURING)
        secure(d);
    else if (events & EV_READ)
        receive(d);
    else
        flush(d);
    bind_wake();
}

static int dial(lua_State *L)
{
    static const struct sock_options options = {0};
    const char *host = luaL_checkstring(L, 1);
    bool is_path = host[0] == '/';
    lua_Integer port = is_path ? 0 : luaL_checkinteger(L, 2);
    luaL_argcheck(L, is_path || (port > 0 && port <= UINT16_MAX), 2, "1 to 65535");
    const struct tls *tls = lua_isnoneornil(L, 3) ? NULL : luaL_checkudata(L, 3, tls_type);
    lua_settop(L, 3);
    struct dial *d = lua_newuserdatauv(L, sizeof *d, 1);
    *d = (struct dial){.stream = {.fd = -1}, .state = CLOSED, .tls = tls != NULL ? tls->context : NULL};
    lua_pushvalue(L, 3);
    lua_setiuservalue(L, -2, 1);
    int fd = is_path ? sock_connect_unix(host) : sock_connect(host, (uint16_t)port, NULL, &options);
    if (fd < 0) {
        lua_pushnil(L);
        lua_pushstring(L, fd == ERR_OPTION_VALUE ? "no numeric address, and not localhost" : strerror(errno));
        return 2;
    }
    luaL_setmetatable(L, dial_type);
    d->stream.fd = fd;
    d->state = CONNECTING;
    ev_io_init(&d->readable, ready, fd, EV_READ);
    ev_io_init(&d->writable, ready, fd, EV_WRITE);
    d->readable.data = d->writable.data = d;
    ev_io_start(bind_loop(), &d->writable);
    return 1;
}

static struct dial *check_dial(lua_State *L)
{
    return luaL_checkudata(L, 1, dial_type);
}

static int dial_state(lua_State *L)
{
    static const char *const names[] = {
        [CONNECTING] = "connecting", [SECURING] = "securing", [OPEN] = "open",    [ENDED] = "end",
        [RESET] = "reset",           [FAILED] = "failed",     [CLOSED] = "closed"};
    const struct dial *d = check_dial(L);
    lua_pushstring(L, names[d->state]);
    if (d->state != FAILED)
        return 1;
    lua_pushstring(L, d->why);
    return 2;
}

static int dial_send(lua_State *L)
{
    struct dial *d = check_dial(L);
    size_t size;
    const char *bytes = luaL_checklstring(L, 2, &size);
    bool can = d->state <= OPEN && !d->one_way;
    if (can) {
        buf_append(&d->out, bytes, size);
        if (d->state == OPEN)
            flush(d);
    }
    lua_pushboolean(L, can);
    return 1;
}

static int dial_unsent(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)check_dial(L)->out.size);
    return 1;
}

static int dial_take(lua_State *L)
{
    struct dial *d = check_dial(L);
    lua_pushlstring(L, d->in.at == NULL ? "" : (const char *)d->in.at, d->in.size);
    buf_consume(&d->in, d->in.size);
    if (d->state == OPEN) {
        ev_io_start(bind_loop(), &d->readable);
        if (stream_pending(&d->stream) > 0)
            ev_feed_event(bind_loop(), &d->readable, EV_READ);
    }
    return 1;
}

static int dial_resumed(lua_State *L)
{
    lua_pushboolean(L, stream_resumed(&check_dial(L)->stream));
    return 1;
}

static int dial_close(lua_State *L)
{
    struct dial *d = check_dial(L);
    if (d->state == CLOSED)
        return 0;
    stop(d);
    stream_close(&d->stream);
    buf_free(&d->in);
    buf_free(&d->out);
    d->state = CLOSED;
    return 0;
}

/* Pushes the named field of the table at 1. */
static const char *text_field(lua_State *L, const char *name, const char *fallback)
{
    if (lua_getfield(L, 1, name) == LUA_TNIL)
        return fallback;
    if (lua_type(L, -1) != LUA_TSTRING)
        return luaL_error(L, "%s: a %s is not accepted; give a text", name, luaL_typename(L, -1)), NULL;
    return lua_tostring(L, -1);
}

static bool switch_field(lua_State *L, const char *name)
{
    int type = lua_getfield(L, 1, name);
    if (type != LUA_TNIL && type != LUA_TBOOLEAN)
        return luaL_error(L, "%s: a %s is not accepted; give true or false", name, luaL_typename(L, -1)),
               false;
    return type == LUA_TNIL || lua_toboolean(L, -1);
}

static int tls(lua_State *L)
{
    char why[512];
    luaL_checktype(L, 1, LUA_TTABLE);
    struct tls_options options = {.name = text_field(L, "name", ""),
                                  .ca = text_field(L, "ca", ""),
                                  .verify = switch_field(L, "verify"),
                                  .resume = switch_field(L, "resume")};
    const char *min = text_field(L, "min", "1.2");
    options.only_1_3 = strcmp(min, "1.3") == 0;
    if (!options.only_1_3 && strcmp(min, "1.2") != 0)
        return luaL_error(L, "min: '%s' is not accepted; give 1.2 or 1.3", min);
    struct tls *made = lua_newuserdatauv(L, sizeof *made, 0);
    made->context = tls_context_new(&options, why, sizeof why);
    if (made->context == NULL) {
        lua_pushnil(L);
        lua_pushstring(L, why);
        return 2;
    }
    luaL_setmetatable(L, tls_type);
    return 1;
}

static int tls_gc(lua_State *L)
{
    struct tls *t = luaL_checkudata(L, 1, tls_type);
    tls_context_free(t->context);
    t->context = NULL;
    return 0;
}

void bind_dial(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"state", dial_state},   {"send", dial_send},       {"unsent", dial_unsent},
        {"take", dial_take},     {"resumed", dial_resumed}, {"close", dial_close},
        {"__close", dial_close}, {"__gc", dial_close},      {NULL, NULL}};
    luaL_newmetatable(L, dial_type);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_newmetatable(L, tls_type);
    lua_pushcfunction(L, tls_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_pushcfunction(L, tls);
    lua_setfield(L, -2, "tls");
    lua_pushcfunction(L, dial);
    lua_setfield(L, -2, "dial");
}
