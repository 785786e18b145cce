-- require "wsb": what scripts may use, and all that a script may hold.
--
-- A script is a Lua file that returns a table: a wsb.Command, which does one thing (scripts/serve.lua), a
-- wsb.Experiment, which proves one (scripts/backpressure.lua), a wsb.Checks, which asks many and judges each
-- answer (scripts/guards.lua), or a wsb.Sweep, which measures the same thing at many points
-- (scripts/backoff.lua). `wsb check FILE` says what is wrong with it.
-- The tables behind this page are printed by `wsb help metrics` and `wsb help options`.
--
-- How an experiment runs. The first arm is the base, the one that is expected to fail; every other arm is a
-- treatment, expected to pass. For every arm, --repeat times, the arms alternating:
--
--   1. setup(ctx) starts the server with ctx:serve. The arm's own server options come on top.
--   2. Every step of steady_state is asked whether the system is healthy before it is hurt.
--   3. workload(ctx) connects clients and publishes. The load begins with the first ctx:publish, or when
--      workload returns; from then on everything is sampled ten times a second.
--   4. The run goes on until every schedule is over, whatever becomes of the server, and up to 3 s longer for
--      what is still on its way.
--   5. The rollbacks run, also after an error or ^C; then wsb ends all that it started.
--
-- An arm fails when one of its thresholds does not hold, or when its server dies of its memory limit. PROVEN:
-- the base failed and every treatment passed, in every run. REFUTED: a treatment failed. INCONCLUSIVE: the
-- base did not fail, or there is a doubt: an unmet steady state, a threshold without a value, a load that
-- differed, a server that ended for another reason, a generator that was late.
--
-- Every value with a unit is text as people write it ("64KiB", "250ms", "100/s"), or a number in the base
-- unit (bytes, seconds, per second). In the script's tables "$name" stands for the value of the option
-- `name`.

local core = require "wsb.core"
local errors = require "wsb.base.errors"
local history = require "wsb.judge.history"
local options = require "wsb.command.options"
local policies = require "wsb.load.policies"
local raw = require "wsb.load.raw"
local units = require "wsb.base.units"

local wsb = {}

---{ "what it does", default }; the type (count, size, duration, rate, byte_rate, ratio, boolean, text,
---choice) is taken from the default when it is not given.
---@alias wsb.OptionSpec {[1]: string, [2]: string|number|boolean, type: string?, choices: string[]?}

---@class wsb.Command  -- a script that does one thing
---@field name string
---@field description string
---@field categories string[]?                     labels for people: "safe", "self-hosted"
---@field options table<string, wsb.OptionSpec>?   become flags: stall_after is --stall-after
---@field run fun(ctx: wsb.Context): integer?      returns the exit status, 0 when nothing

---A script whose rows are asked one after the other. What ctx:dial connected in a row is closed after it; the
---server, the cohorts and publishers of setup stay. Exit status: 0 when every row held or did not apply, 1
---when one failed, 2 when none applied. The table is printed, and left in runs/NAME/ as a report.
---@class wsb.Checks
---@field name string
---@field description string
---@field categories string[]?
---@field options table<string, wsb.OptionSpec>?
---@field setup fun(ctx: wsb.Context)?   calls ctx:serve, or sets ctx.target to somebody's ws://host:port/path
---@field checks wsb.Check[]

---@class wsb.Check
---@field name string       the guard
---@field sent string       what is done to the server, in words
---@field expected string|string[]|fun(ctx: wsb.Context): string|string[]   what has to come back: any of them
---@field unless (fun(ctx: wsb.Context): string?)?   why the row does not apply; nil when it does
---@field run fun(ctx: wsb.Context): string          does it, and returns what came back

---@class wsb.Arm
---@field name string
---@field server table?    server options of this arm only (`wsb help options`)
---@field clients table?   options of every ctx:clients of this arm only, for a fix on the client's side
---@field optional boolean?  runs only when --arms names it
---An option's value may be a function of ctx, called when the part is started: what depends on a measurement.

---@class wsb.Experiment  -- a script that proves something
---@field name string
---@field description string
---@field categories string[]?
---@field options table<string, wsb.OptionSpec>?
---@field arms wsb.Arm[]                     two or more; the first is the base, which is to fail
---@field setup fun(ctx: wsb.Context)        calls ctx:serve
---@field steady_state wsb.Condition[]?      what has to be true before the load; unmet: INCONCLUSIVE
---@field workload fun(ctx: wsb.Context)     the same for every arm: what differs stands in the arms
---@field network table<string, string|integer>?   for every run a network of its own, where one can be
---had, with these kernel settings: somaxconn, tcp_max_syn_backlog, tcp_syncookies, tcp_abort_on_overflow,
---ip_local_port_range, tcp_tw_reuse, tcp_syn_linear_timeouts. The kernel's counters are then the run's alone.
---@field rollbacks wsb.Step[]?              undo what the script did outside of wsb; run whatever happened
---@field thresholds table<string, wsb.Thresholds>   by arm; every treatment has at least one
---@field target string?                     the arm whose thresholds somebody else's server has to hold: with
---                                          it come --command, --target and the like, to aim the load at one
---@field compare string[]?                  selectors: compared between the arms, with p when repeated
---@field columns string[]?                  selectors of the first table; those of compare when missing
---@field charts wsb.Chart[]?                memory, queue, lag and slow clients when missing
---@field claim string?                      the sentence that PROVEN stands for
---@field max_lateness string?               generator lateness (p99) that voids the verdict; 50ms
---@field writeup wsb.Writeup?               why this fix and not another, printed in the report

---A script that measures how something grows. For every point and every arm, --repeat times, `measure` is
---called with a fresh ctx (and a network of its own, where one is asked for); it starts servers and clients,
---which are ended after it. Repetitions stand outermost and arms innermost. PROVEN: every expectation held.
---REFUTED: one did not. INCONCLUSIVE: one could not be told, or a run is in doubt (clients that could not
---connect). It leaves a table for each column, charts along what is swept, and result.json (wsb.sweep/1).
---@class wsb.Sweep
---@field name string
---@field description string
---@field categories string[]?
---@field options table<string, wsb.OptionSpec>?
---@field over wsb.Over
---@field arms wsb.Arm[]                     one or more; the first always runs
---@field network table<string, string|integer>?   as of an experiment
---@field measure fun(ctx: wsb.Context, point: number): table<string, number>   by column; one that could not
---                                          be measured is left out, math.huge is "never"
---@field columns wsb.SweepColumn[]          what is measured
---@field charts wsb.SweepChart[]?
---@field expect fun(results: wsb.Results): wsb.Expectation[]   what should have come out: { text =, held = },
---                                          held being true, false, or nil when it cannot be told
---@field claim string?                      the sentence that PROVEN stands for
---@field writeup wsb.Writeup?

---@class wsb.Over
---@field name string      column of samples.csv
---@field label string?    for people, as after a number: "clients"; the name when missing
---@field values (string|number)[]|string   the points; "$name" of an option whose text is "10,20,50"
---@field unit ("count"|"bytes"|"seconds"|"ratio")?   count when missing
---@field log boolean?     the axis is logarithmic

---@class wsb.SweepColumn
---@field name string      as in what `measure` returns
---@field label string?    for people; the name when missing
---@field unit ("count"|"bytes"|"seconds"|"ratio")?   count when missing
---@field better ("lower"|"higher")?

---@class wsb.SweepChart
---@field title string
---@field column string    what is drawn: a line an arm, of the medians
---@field log boolean?     logarithmic: for what is never zero

-- What `expect` asks of its results (judge/expected.lua), where an arm that did not run has no values:
--
--   results.points, results.least, results.most   all of them, the first, the last; results.arms, results.opt
--   results:median(arm, point, column)            nil when it was not measured; results:values are those of
--                                                 every repetition
--   results:format(arm, point, column)            the median for people
--   results:less(column, a, b, point, factor)     an expectation: that arm a has less of it than b, by
--                                                 medians, at the last point; less than half with factor 2

---{ "what is true", whether it is, and why not }
---@alias wsb.Condition {[1]: string, [2]: fun(ctx: wsb.Context): boolean, string?}
---{ "what is done", how }
---@alias wsb.Step {[1]: string, [2]: fun(ctx: wsb.Context)}

---Per metric a list of "AGGREGATE OPERATOR VALUE", the metric as in `wsb help metrics` with its tags:
---
---    after = {
---      expect = "pass",
---      server_memory = { "max<64MiB", "flatness<10%" },
---      evictions_mark = { "<1" },                           a counter: no aggregate
---      ["fanout_lag{cohort:healthy}"] = { "p(99)<100ms" },  the undelivered are infinitely late
---      ["delivered{cohort:healthy}"] = { "ratio>=99%" },
---      ["closes{code:1013}"] = { "sent==50" },
---    }
---
---Operators: < <= > >= == !=. `expect` is "fail" for the base and "pass" for the others unless it is given:
---an arm that is to fail does so when one threshold does not hold, an arm that is to pass has to hold all,
---and of one with expect = "any" nothing is expected: it is there to be seen beside the others.
---flatness is how far a series spreads over the second half of the run: cut into ten spans, the largest
---median divided by the smallest, minus 1. A server that died was not flat.
---@alias wsb.Thresholds table<string, string[]|"pass"|"fail"|"any">

---@class wsb.Chart
---@field title string
---@field series string      what is sampled, see `wsb help metrics`
---@field unit ("bytes"|"seconds"|"count"|"ratio")?   count when missing
---@field log boolean?       logarithmic: for what is never zero
---@field lines (wsb.Line[]|fun(opt: table<string, any>): wsb.Line[])?   across the chart, as from ctx.opt
---@alias wsb.Line {value: string|number, label: string}

---@class wsb.Writeup
---@field lever string                                      the one change
---@field why string                                        why it is the one
---@field alternatives {name: string, effect: string}[]?    what else was thought of, and what it would do

-- What a script's functions are given; ctx is a wsb.Context (load/context.lua).
--
--   ctx.opt                    the options: ctx.opt.mark is 262144, durations are seconds
--   ctx.arm, ctx.seed          name of the arm; seed of this run
--   ctx.given                  for a command: which options its command line named
--   ctx:serve { ... }          starts a server (wsb.Serve); the first is ctx.server, all are ctx.servers
--   ctx:clients { ... }        connects a cohort (wsb.Clients), waits until all are up, and returns it
--   ctx:haproxy { ... }        starts a HAProxy in front of the servers (wsb.Balance), and returns it
--   ctx:publish { ... }        connects a publisher (wsb.Publish), begins the load, and returns at once
--   ctx:dial()                 a connection that sends what it is told (wsb.Raw), to ctx.server or to a URL
--   ctx:sleep "2s"             pauses; the load goes on
--   ctx:wait(ready, "5s")      waits until ready() returns something true and returns that; nil, "timeout"
--   ctx:probe "2s"             whether a message published now reaches a subscriber; false and why
--   ctx:fault("label", inflict)   runs inflict(): shaded in the charts, and {since:fault} counts from then on
--   ctx:cut(during)            runs during() while every packet to and from ctx.server is lost
--   ctx:await_open(cohort, 0.95, "20s")   waits until so many of its clients are open; whether they were
--   ctx:record("name", 12)     a figure of the script's own: recorded{name:NAME} in thresholds and tables
--   ctx:measure_capacity(500)  handshakes a second that the server takes when so many come at once
--   ctx:redis { ... }          starts a Redis of the run's own (wsb.RedisOptions), or takes ctx.opt.redis
--   ctx:say "text"             a line of progress
--   ctx:until_signal()         for a command: waits for ^C
--
--   ctx.server:set { high_water_mark = "256KiB" }   changes live options while it runs
--   ctx.server:drain "5s"      closes every connection with 1012, spread over that time, then it ends
--   ctx.server:stop()          closes every connection with 1001, then it ends
--   ctx.server:kill()          as a crash would
--   ctx.server:restart()       after kill, stop or drain: again on the same port; its counters go on
--   ctx.server:alive()         whether it runs; :pid(), :counts() (every server counter by name), .url, .port
--
-- What ctx:redis returns has .url and .prefix for the server's options, :command("INFO"), its answer or nil
-- and why, :info() by name, :subscribers(channel), :memory() in bytes, :cpu() in seconds; .nodes are those of
-- a cluster. A private one can be hurt: :kill(), :restart(), :pause() and :resume() (it stands still, its
-- connections open). One that the option `redis` names is only used: hurting it, or asking more than INFO,
-- PING and PUBSUB, ends with status 69.
--
-- A HAProxy has .url, where clients go to reach the servers through it; names of servers are their `name`.
--
--   balancer:stats()               by server: status (UP, DOWN, DRAIN, MAINT), connections, most, total, ...
--   balancer:cut(server)           cuts every connection to it; the server lives on
--   balancer:lose(0.3)             cuts that share of all connections, at random; how many those were
--   balancer:drain(server)         nobody new goes there, but those whose cookie names it
--   balancer:disable(server), balancer:enable(server)   nobody goes there; everybody may again
--   balancer:command "show info"   what it answers on its socket
--   balancer:alive(), balancer:pid(), balancer:close()
--
-- What ctx:dial returns raises nothing; its waits take seconds (3) and return nil and why: "timeout", "end",
-- "reset". `changes` are headers by name, false leaves one out.
--
--   client:request(changes)            upgrades: status, head; client:upgrade(changes) is its bytes
--   client:send(bytes)                 as they are; client:read(size) and client:read_head() read such
--   client:send_frame(opcode, payload, how)   see wsb.frame
--   client:read_frame()                { fin =, rsv =, opcode =, masked =, payload = }
--   client:expect(opcode)              the payload of the next frame of that kind
--   client:expect_close()              code, reason
--   client:expect_end(), client:close()
--
-- A cohort or publisher has :counts(), the swarm counters by name, and :finished(), whether its schedule is
-- over. A cohort's connect_s is the time from its first attempt until the last of its clients was in.

---Takes every server option beside these.
---@class wsb.Serve
---@field name string?                    of a second server, and all after it
---@field memory_limit (string|number)?   the server is killed above it: a cgroup where one can be had

---A Redis 7 on a free port of this machine, which writes nothing outside of a directory that ends with it.
---@class wsb.RedisOptions
---@field cluster integer?       so many nodes that are a cluster; 3 or more
---@field persistent boolean?    keeps its data over kill and restart
---@field output_buffer string?  its client-output-buffer-limit, such as "pubsub 1mb 512kb 5"

---Takes every swarm option beside these. Clients come back when `reconnect` says how: a policy of config.def,
---one of wsb.policies, or a function(attempt, previous, code) that returns the seconds to wait, nil to give
---up. attempt counts from 1 after each loss, previous is the last delay in seconds, code the close code (1006
---for a connection that failed).
---@class wsb.Clients
---@field cohort string         name, for {cohort:NAME} and the report
---@field n integer             how many
---@field faults wsb.Fault[]?   what they suffer from the start of the load on

---Takes every swarm option beside these.
---@class wsb.Publish
---@field rate string|number        messages, such as "100/s"
---@field duration string|number    length of the schedule
---@field size (string|number)?     payload of each, at least 48 bytes; 1KiB
---@field arrival ("constant"|"poisson")?   spacing of the messages; constant

---stall: stops reading `after` (0) for `duration` (to the end). slow: reads `rate` bytes a second.
---@alias wsb.Fault
---| {type: "stall", after: (string|number)?, duration: (string|number)?}
---| {type: "slow", rate: string|number}

---@type string
wsb.version = core.version

---@type string  where scripts/ and runbook/ are
wsb.home = core.home

---Reads text with a unit: wsb.parse("size", "64KiB") is 65536.
---@param kind wsb.UnitKind
---@param text string|number
---@return number? value      bytes, seconds, per second
---@return string? accepted   what would be, when it is not
wsb.parse = units.read

---Writes a value for people: wsb.format("size", 65536) is "64 KiB".
---@param kind wsb.UnitKind
---@param value number
---@return string
wsb.format = core.format

---How well-known client libraries come back, as options for ctx:clients or an arm's `clients`: phoenix,
---signalr, socketio, centrifuge, livekit, grpc, rfc6455.
---@type table<string, table>
wsb.policies = policies

---A client's frame as bytes. how: fin (true), rsv (0), mask (true), length (the one announced).
---@type fun(opcode: integer, payload: string?, how: table?): string
wsb.frame = raw.frame

---Opcodes of frames by name.
wsb.opcode = { CONTINUATION = raw.CONTINUATION, TEXT = raw.TEXT, BINARY = raw.BINARY, CLOSE = raw.CLOSE,
  PING = raw.PING, PONG = raw.PONG }

---The parts of ws://HOST:PORT/PATH; nil when it is none.
---@type fun(url: string): string?, integer?, string?
wsb.parse_url = raw.parse

---Judges what swarms with `record` wrote down: whether every acknowledged message came, once and in order.
---@type fun(sources: wsb.HistorySource[]): wsb.HistoryReport
wsb.check_history = history.check

---The value that so many per cent of an ascending list are at most; nil of none.
---@type fun(ascending: number[], percent: number): number?
wsb.percentile = history.percentile

---Ends the script because of how it was called: `option: 'value' is not accepted: remedy`, status 64.
---@param format string
---@param ... any
function wsb.usage(format, ...)
  errors.raise(errors.USAGE, format, ...)
end

---Ends the script because something beside it is not as it has to be: status 69.
---@param format string
---@param ... any
function wsb.unavailable(format, ...)
  errors.raise(errors.ENVIRONMENT, format, ...)
end

---The server's options as options of a script.
---@param how? {rename: table<string, string>?, except: string[]?}
---@return table<string, wsb.OptionSpec>
wsb.server_options = options.of_server

---What the script's flags chose, for ctx:serve.
---@param specs table<string, wsb.OptionSpec>  made by wsb.server_options
---@param opt table<string, any>               ctx.opt
---@return table<string, string|number|boolean>
wsb.server_values = options.for_server

return wsb
