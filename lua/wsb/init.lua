-- require "wsb": what scripts may use. A script returns a table of one of the two classes below.

local core = require "wsb.core"
local options = require "wsb.command.options"
local units = require "wsb.base.units"

local wsb = {}

---@alias wsb.OptionSpec {[1]: string, [2]: string|number|boolean, type: string?, choices: string[]?}
---{ "what it does", default }; the type (count, size, duration, rate, byte_rate, boolean, text) is taken from
---the default when it is not given

---@class wsb.Command  -- a script that does one thing
---@field name string
---@field description string
---@field categories string[]?
---@field options table<string, wsb.OptionSpec>?   become flags: stall_after is --stall-after
---@field run fun(ctx: wsb.Context): integer?      returns the exit status, 0 when nothing

---@class wsb.Arm
---@field name string
---@field server table?    server options (config.def) of this arm only
---@field clients table?   swarm options of this arm only, for a fix on the client's side

---@class wsb.Experiment  -- a script that proves something
---@field name string
---@field description string
---@field categories string[]?
---@field options table<string, wsb.OptionSpec>?
---@field arms wsb.Arm[]                            the failing one first; "$name" is an option's value
---@field setup fun(ctx: wsb.Context)               calls ctx:serve
---@field steady_state {[1]: string, [2]: fun(ctx: wsb.Context): boolean, string?}[]?
---@field workload fun(ctx: wsb.Context)
---@field rollbacks {[1]: string, [2]: fun(ctx: wsb.Context)}[]?   run whatever happened
---@field thresholds table<string, table<string, string[]|"pass"|"fail">>?   by arm: metric = expressions
---@field compare string[]?      metric selectors to compare between arms
---@field columns string[]?      of the table of arms; compare when missing
---@field charts {title: string, series: string, unit: string, log: boolean?, lines: table[]?}[]?
---@field claim string?          what PROVEN means here
---@field max_lateness string?   p99 of the generator's lateness above which there is no verdict; 50ms
---@field writeup {lever: string, why: string, alternatives: {name: string, effect: string}[]?}?

-- thresholds, by metric: an aggregate, a comparison and a value with its unit, as in
--     server_memory = { "max<64MiB", "flatness<10%" }, evictions_mark = { "<1" },
--     ["fanout_lag{cohort:healthy}"] = { "p(99)<100ms" }
-- compare and columns, as text: "server_memory.max", "closes{code:1013}.sent". The head of
-- wsb/measure/selector.lua shows the metrics with their aggregates and tags; wsb/load/context.lua is ctx.

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
