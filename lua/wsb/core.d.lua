---@meta wsb.core
-- Types of the C module `wsb.core` (core/bind): what Lua may ask of the engine. Nothing here blocks except
-- core.turn, and C never calls Lua: everything that happens comes back from core.turn as a list of events.

---@class wsb.core
local core = {}

---@alias wsb.Role "server"|"swarm"
---@alias wsb.UnitKind "count"|"size"|"duration"|"rate"|"byte_rate"|"ratio"

---@class wsb.Event
---@field kind "ready"|"notice"|"reply"|"exit"|"signal"|"dial"  -- dial: one of them has something new
---@field worker wsb.Worker?     -- all but "signal" and "dial"
---@field program wsb.Program?   -- "exit" of a program: there is no worker then
---@field seq integer?           -- "reply": the number that worker:send returned
---@field error string?          -- "reply": why the command failed
---@field values table<string,string>?  -- "ready" (port), "notice" and "reply": key = value
---@field name string?           -- "notice": which (connected, finished, retries)
---@field signal integer?        -- "signal": received by this process; "exit": that killed it
---@field code integer?          -- "exit": exit code when it ended by itself

---Runs the event loop until something happened or `timeout` seconds passed; returns what happened, oldest
---first.
---@param timeout number  seconds, >= 0
---@return wsb.Event[]
function core.turn(timeout) end

---Starts a worker process. Errors (position included) when options are wrong or it cannot be started.
---@param role wsb.Role
---@param options table<string, string|number|boolean>  by the names of core.options(role)
---@param how? {limit: wsb.MemoryLimit?, log: string?}  log: path its stderr is appended to (else inherited)
---@return wsb.Worker? worker
---@return string? error
function core.spawn(role, options, how) end

---@class wsb.Worker  -- closing or collecting it kills the process (SIGKILL) and reaps it
local Worker = {}
---@return integer pid
function Worker:pid() end
---@return boolean  -- false once its exit was reported
function Worker:alive() end
---Sends a command of ctl.def: set, start, stop, drain, retry. The answer is a "reply" event of the same
---number.
---@param verb string
---@param values? table<string, string|number|boolean>
---@return integer seq
function Worker:send(verb, values) end
---@param signal integer
function Worker:kill(signal) end
---All counters of count.def by name; readable also after the process is dead.
---@return table<string, integer>
function Worker:counts() end
---@return table<integer, {sent: integer, seen: integer}>  -- by close code
function Worker:closes() end
---A copy of one of its histograms.
---@param name string  of count.def: fanout_lag, publish_lateness, connect_time
---@return wsb.Hist
function Worker:hist(name) end
---What /proc says, or nil when the process is gone.
---@return {rss: integer, peak: integer, user: number, system: number, threads: integer}?  -- bytes, seconds
function Worker:sample() end
---Kills (if alive), reaps and frees. Idempotent; also __close and __gc.
function Worker:close() end

---Starts any program, in a process group of its own, with nothing on its stdin. It is killed when wsb dies.
---@param argv string[]  the program, found on PATH unless it has a slash, and its arguments
---@param how? {log: string|false|nil, limit: wsb.MemoryLimit?, cwd: string?, env: table<string, string>?}
---log: path its stdout and stderr are appended to, false for nowhere; else both go to the stderr of wsb.
---limit: entered before it runs. env: beside what wsb has.
---@return wsb.Program? program
---@return string? error  -- "node: No such file or directory"
function core.start(argv, how) end

---@class wsb.Program  -- closing or collecting it kills its process group (SIGKILL) and reaps it
local Program = {}
---@return integer pid
function Program:pid() end
---@return boolean  -- false once its exit was reported
function Program:alive() end
---To the whole process group, also when the program itself has exited.
---@param signal integer
function Program:kill(signal) end
---What /proc says of the program and its descendants together, or nil when it is gone. Memory that they share
---counts for each; the times include those of descendants that have ended.
---@return {rss: integer, peak: integer, user: number, system: number, threads: integer}?  -- bytes, seconds
function Program:sample() end
---Kills what is left of its process group, reaps and frees. Idempotent; also __close and __gc.
function Program:close() end

---The same of any process and its descendants.
---@param pid integer
---@return {rss: integer, peak: integer, user: number, system: number, threads: integer}?
function core.sample(pid) end

---Begins to connect to a numeric address, localhost, or the path of a unix socket (without a port), and to
---shake hands when `tls` is given. Each change
---brings a "dial" event.
---@param host string
---@param port? integer
---@param tls? wsb.Tls
---@return wsb.Dial? dial
---@return string? error
function core.dial(host, port, tls) end

---@class wsb.TlsOptions
---@field name string?      the host that is asked for (SNI; not for an address) and has to be certified; ""
---@field ca string?        PEM file of certificates to trust; "" is the system's store
---@field verify boolean?   refuse a wrong certificate or name; true
---@field resume boolean?   offer the newest ticket that a connection of this wsb.Tls was given; true
---@field min "1.2"|"1.3"|nil   lowest version that is offered; 1.2

---How connections speak TLS; those made with the same one resume each other's session.
---@param options wsb.TlsOptions
---@return wsb.Tls? tls
---@return string? error  that names the file
function core.tls(options) end

---@class wsb.Tls

---@class wsb.Dial  -- a connection, TCP or TLS on it, that sends what it is told and keeps what comes
local Dial = {}
---end and reset are how the far end left; what came before can still be taken.
---@return "connecting"|"securing"|"open"|"end"|"reset"|"failed"|"closed"
---@return string? why  -- of "failed": the system's reason, or TLS's ("certificate verify failed: ...")
function Dial:state() end
---Queues the bytes; they leave when they can, also after the connection is made.
---@param bytes string
---@return boolean  -- false when nothing can be sent any more
function Dial:send(bytes) end
---@return integer bytes  -- queued and not yet taken by the kernel
function Dial:unsent() end
---All that has come since the last time. Who takes nothing reads nothing: above 1 MiB it stays in the kernel.
---@return string bytes
function Dial:take() end
---@return boolean  -- whether its handshake resumed a session
function Dial:resumed() end
---Idempotent; also __close and __gc.
function Dial:close() end

---@class wsb.Hist  -- a snapshot, in seconds to the outside; supports h1 + h2 (merge) and h1 - h2 (since)
local Hist = {}
---@return integer
function Hist:count() end
---@return number seconds  -- 0 when empty
function Hist:max() end
---@return number seconds  -- 0 when empty
function Hist:mean() end
---The undelivered are infinitely late: with enough of them the answer is math.huge.
---@param percent number   0..100
---@param missing? integer
---@return number seconds  -- nil when there are neither values nor missing ones
function Hist:percentile(percent, missing) end

---An empty histogram.
---@return wsb.Hist
function core.hist() end

---@class wsb.MemoryLimit
local MemoryLimit = {}
---@return "cgroup v2"|"cgroup v1"|"RLIMIT_DATA"
function MemoryLimit:kind() end
---@return string  -- the cgroup's directory, "" for RLIMIT_DATA
function MemoryLimit:path() end
---nil for RLIMIT_DATA, which keeps no account.
---@return {usage: integer, peak: integer, sockets: integer, oom_kills: integer, hits: integer}?
function MemoryLimit:read() end
---Removes the cgroup. Idempotent; also __close and __gc.
function MemoryLimit:close() end

---@param bytes integer
---@param allow_cgroup? boolean  -- default true
---@return wsb.MemoryLimit
---@return string? why  -- why no cgroup could be had, when it is an RLIMIT_DATA
function core.memory_limit(bytes, allow_cgroup) end

---Options of a role, as config.def declares them.
---@param role wsb.Role
---@return {name: string, type: string, default: string, choices: string[]?, live: boolean, help: string}[]
---type is a wsb.UnitKind, "boolean", "text" or "choice"
function core.options(role) end

---@return {role: string, name: string, kind: "counter"|"gauge"|"histogram", unit: string, help: string}[]
function core.metrics() end

---@param kind wsb.UnitKind
---@param text string|number
---@return number? value   -- base unit (bytes, seconds, per second); nil when not accepted
---@return string? accepted -- what would be
function core.parse(kind, text) end
---@param kind wsb.UnitKind
---@param value number  -- base unit (seconds for durations)
---@return string
function core.format(kind, value) end

---@return number seconds  -- CLOCK_MONOTONIC
function core.now() end
---@param fd integer
---@return boolean
function core.isatty(fd) end
---@return integer columns  -- of the terminal on stderr, 80 when unknown
function core.columns() end
---@return {soft: integer, hard: integer}
function core.descriptor_limit() end
---@return integer
function core.getuid() end
---@return {sysname: string, release: string, version: string, machine: string, nodename: string}
function core.uname() end
---Kernel memory of all TCP sockets of this network namespace, bytes.
---@return integer
function core.tcp_memory() end
---Whether one can listen there now: nil, or the system's reason.
---@param host string
---@param port integer
---@return string? error
function core.listen_error(host, port) end
---The kernel's TCP counters of this network namespace, by the names of netstat.def (the kernel's own); one
---that this kernel does not tell is nil. About 0.1 ms.
---@return table<string, integer>? figures
---@return string? error
function core.netstat() end
---@return {name: string, kind: "counter"|"gauge", help: string}[]  -- netstat.def
function core.netstat_figures() end
---Moves this process, and what it starts from now on, into a fresh network namespace with its loopback up.
---Sockets that are open stay where they are. Through a user namespace it is for good: see core.own_network.
---@return "network namespace"|"user and network namespace"|nil kind  -- nil: nothing has changed
---@return string? why
function core.private_network() end
---Whether core.private_network would succeed now; nothing changes.
---@return "network namespace"|"user and network namespace"|nil kind
---@return string? why
function core.probe_network() end
---Back to the network that the program was started in.
---@return boolean  -- false: still in the private one, since a user namespace cannot be left
---@return string? why
function core.own_network() end
---@type string  -- absolute directory that holds lua/, scripts/, runbook/
core.home = ""
---@type string
core.version = ""

return core
