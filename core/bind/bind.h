/* What the files of this room share: the only code that knows Lua.
 *
 * C never calls Lua and no Lua error can jump over the event loop: callbacks only note what happened, and
 * core.turn hands the notes over when the loop has returned. */
#pragma once

#include "base/hist.h"
#include "role/config.h"

#include <lua.h>

struct ev_loop;
struct memlimit;
struct proc_sample;

/* The module's table: what `require "wsb.core"` returns. home: the directory that holds lua/ and scripts/. */
int bind_open(lua_State *L, const char *home);

/* Each adds its functions to the module's table on top of the stack, and its types to the registry. */
void bind_run(lua_State *L);     /* turn, spawn: run.c */
void bind_dial(lua_State *L);    /* dial, tls: dial.c */
void bind_program(lua_State *L); /* start, sample: program.c */
void bind_hist(lua_State *L);    /* hist: hist.c */
void bind_limit(lua_State *L);   /* memory_limit: limit.c */
void bind_machine(lua_State *L); /* options, metrics, parse, format, now, uname ...: machine.c */
void bind_network(lua_State *L); /* netstat, private_network ...: network.c */

/* The loop that core.turn runs; there from bind_run on. */
struct ev_loop *bind_loop(void);
/* Ends this core.turn, or the next at once: whoever waits for bytes has to look. */
void bind_wake(void);

/* What core.turn is to hand over: that the thing at this address exited, with a status as of waitpid. Its
 * userdata, at `index`, is remembered first; what was noted is forgotten when the thing is closed. */
void bind_remember(lua_State *L, const void *about, int index);
void bind_note_exit(const void *about, int status);
void bind_forget(const void *about);

/* { rss, peak, threads, user, system } on the stack. */
void bind_push_sample(lua_State *L, const struct proc_sample *sample);
/* A copy of `hist` as a wsb.Hist on the stack. */
void bind_push_hist(lua_State *L, const struct hist *hist);
/* The role named at `index`, an argument error for any other text. */
enum role bind_check_role(lua_State *L, int index);
/* The memory limit at `index`, an argument error when it is none or closed. */
struct memlimit *bind_check_limit(lua_State *L, int index);

/* Settings: a table of name = text, number or boolean at `index` becomes "name=value" texts, NULL-terminated
 * and pushed as one userdata that owns them all. A nil is an empty table. */
const char *const *bind_settings(lua_State *L, int index);
void bind_set_text(lua_State *L, const char *field, const char *text);
/* "name=value" texts become a table on the stack. */
void bind_push_settings(lua_State *L, const char *const *settings);
