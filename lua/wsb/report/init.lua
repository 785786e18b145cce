-- From a result to evidence: every renderer reads the one model, so that all say the same.
-- Start with model.lua; arms, tables, comparison, closes, method and chart fill it; html, markdown and text
-- print it.

local report = {}

report.model = require("wsb.report.model").build
report.html = require("wsb.report.html").render
report.markdown = require("wsb.report.markdown").render
report.text = require("wsb.report.text").render
report.csv = require("wsb.report.csv").render

return report
