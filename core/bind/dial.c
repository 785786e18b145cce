/* core.dial: a connection whose every byte is the script's own. */
#include "bind/bind.h"
#include "base/buf.h"
#include "base/err.h"
#include "net/loop.h"
#include "net/sock.h"
#include "net/stream.h"

#include <lauxlib.h>

#include <errno.h>
#include <string.h>

static const char dial_type[] = "wsb.Dial";

/* What nobody has taken yet; above it the rest stays in the kernel. */
enum { UNTAKEN_MAX = 1024 * 1024, READ_SIZE = 64 * 1024 };

enum state { CONNECTING, OPEN, ENDED, RESET, FAILED, CLOSED };

struct dial {
    struct stream stream;
    ev_io readable, writable;
    struct buf in, out;
    enum state state;
    int why;      /* errno of FAILED */
    bool one_way; /* nothing can be sent any more: an end that follows was a reset */
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

static void failed(struct dial *d, int why)
{
    d->why = why;
    over(d, why == ECONNRESET || why == EPIPE ? RESET : FAILED);
}

static void on_readable(EV_P_ ev_io *watcher, int events)
{
    struct dial *d = watcher->data;
    size_t got = 0;
    (void)loop, (void)events;
    switch (stream_read(&d->stream, buf_reserve(&d->in, READ_SIZE), READ_SIZE, &got)) {
    case IO_DONE:
        d->in.size += got;
        if (d->in.size >= UNTAKEN_MAX)
            ev_io_stop(EV_A_ watcher);
        bind_wake();
        break;
    case IO_CLOSED: over(d, d->one_way ? RESET : ENDED); break;
    case IO_FAILED: failed(d, errno); break;
    case IO_AGAIN: break;
    }
}

/* What has come before a failure to send can still be read, and so can the reason. */
static void flush(struct dial *d)
{
    struct iovec rest = {.iov_base = d->out.at, .iov_len = d->out.size};
    size_t put = 0;
    enum io io = d->out.size == 0 ? IO_DONE : stream_writev(&d->stream, &rest, 1, &put);
    if (io == IO_DONE) {
        buf_consume(&d->out, put);
    } else if (io != IO_AGAIN) {
        d->one_way = true;
        buf_free(&d->out);
    }
    if (d->out.size > 0)
        ev_io_start(bind_loop(), &d->writable);
    else
        ev_io_stop(bind_loop(), &d->writable);
}

static void on_writable(EV_P_ ev_io *watcher, int events)
{
    struct dial *d = watcher->data;
    (void)events;
    if (d->state == CONNECTING) {
        int why = sock_error(d->stream.fd);
        if (why != 0) {
            failed(d, why);
            return;
        }
        d->state = OPEN;
        ev_io_start(EV_A_ & d->readable);
    }
    flush(d);
    bind_wake();
}

static int dial(lua_State *L)
{
    static const struct sock_options options = {0};
    const char *host = luaL_checkstring(L, 1);
    lua_Integer port = luaL_checkinteger(L, 2);
    luaL_argcheck(L, port > 0 && port <= UINT16_MAX, 2, "1 to 65535");
    struct dial *d = lua_newuserdatauv(L, sizeof *d, 0);
    *d = (struct dial){.stream = {.fd = -1}, .state = CLOSED};
    int fd = sock_connect(host, (uint16_t)port, NULL, &options);
    if (fd < 0) {
        lua_pushnil(L);
        lua_pushstring(L, fd == ERR_OPTION_VALUE ? "no numeric address, and not localhost" : strerror(errno));
        return 2;
    }
    luaL_setmetatable(L, dial_type);
    d->stream.fd = fd;
    d->state = CONNECTING;
    ev_io_init(&d->readable, on_readable, fd, EV_READ);
    ev_io_init(&d->writable, on_writable, fd, EV_WRITE);
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
        [CONNECTING] = "connecting", [OPEN] = "open",     [ENDED] = "end",
        [RESET] = "reset",           [FAILED] = "failed", [CLOSED] = "closed"};
    const struct dial *d = check_dial(L);
    lua_pushstring(L, names[d->state]);
    if (d->state != FAILED)
        return 1;
    lua_pushstring(L, strerror(d->why));
    return 2;
}

static int dial_send(lua_State *L)
{
    struct dial *d = check_dial(L);
    size_t size;
    const char *bytes = luaL_checklstring(L, 2, &size);
    bool can = (d->state == CONNECTING || d->state == OPEN) && !d->one_way;
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
    if (d->state == OPEN)
        ev_io_start(bind_loop(), &d->readable);
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

void bind_dial(lua_State *L)
{
    static const luaL_Reg methods[] = {{"state", dial_state}, {"send", dial_send},   {"unsent", dial_unsent},
                                       {"take", dial_take},   {"close", dial_close}, {"__close", dial_close},
                                       {"__gc", dial_close},  {NULL, NULL}};
    luaL_newmetatable(L, dial_type);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_pushcfunction(L, dial);
    lua_setfield(L, -2, "dial");
}
