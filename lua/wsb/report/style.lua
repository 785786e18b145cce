-- The style sheet of report.html: one column, ink on paper, colour only where it means something.

return [[
:root {
  color-scheme: light dark;
  --paper: #fffefb; --ink: #1c1b19; --soft: #5f5b54; --rule: #d9d5cc; --faint: #ece8df; --shade: #f6e7b8;
  --good: #17703f; --bad: #b3261e; --open: #8a5a00; --limit: #6b6459;
  --arm-1: #c2410c; --arm-2: #1557b0; --arm-3: #17703f;
  --arm-4: #7a3fa0; --arm-5: #8a5a00; --arm-6: #3f4a5a;
  --prose: Charter, "Bitstream Charter", "Sitka Text", Cambria, "Noto Serif", serif;
  --plain: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", sans-serif;
  --code: ui-monospace, "SF Mono", "Cascadia Code", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #171614; --ink: #eae6de; --soft: #a8a298; --rule: #3b3833; --faint: #2a2824; --shade: #3a3216;
    --good: #6fcf97; --bad: #ff8a80; --open: #f0bf5a; --limit: #a39c90;
    --arm-1: #ff9a5c; --arm-2: #7db4ff; --arm-3: #6fcf97;
    --arm-4: #cf9cf0; --arm-5: #f0bf5a; --arm-6: #b5c0d0;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.5 var(--prose); }
main { max-width: 66rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; overflow-wrap: break-word; }
p, ul, dl { max-width: 44rem; margin: 0 0 .75rem; text-wrap: pretty; }
h1 { font-size: 2.1rem; line-height: 1.15; font-weight: 600; margin: 0 0 .5rem; letter-spacing: -.01em; }
h2 { font-size: 1.25rem; line-height: 1.25; font-weight: 600; margin: 2.75rem 0 .6rem; }
h3 { font: 600 .85rem/1.35 var(--plain); margin: 0 0 .25rem; }
.facts { font: .8rem/1.5 var(--plain); color: var(--soft); margin: 0 0 .9rem; }
.claim { font-size: 1.2rem; line-height: 1.45; max-width: 52rem; }
.note { font: .8rem/1.5 var(--plain); color: var(--soft); margin: .5rem 0; }

.verdict { border: 1px solid var(--rule); border-left: 6px solid var(--tone); padding: 1rem 1.25rem;
  margin: 1.5rem 0 0; }
.verdict p { margin: 0; max-width: none; }
.verdict .word { font: 700 1.35rem/1.3 var(--plain); letter-spacing: .04em; color: var(--tone);
  margin-right: .5rem; }
.verdict .what { font-size: 1.1rem; }
.verdict ul { margin: .6rem 0 0; padding-left: 1.2rem; font: .88rem/1.5 var(--plain); }
.tone-good { --tone: var(--good); } .tone-bad { --tone: var(--bad); } .tone-open { --tone: var(--open); }

.scroll { overflow-x: auto; background: linear-gradient(to right, var(--paper) 40%, transparent) local left,
  linear-gradient(to left, var(--paper) 40%, transparent) local right,
  linear-gradient(to right, var(--rule), transparent) left,
  linear-gradient(to left, var(--rule), transparent) right;
  background-size: 2.5rem 100%, 2.5rem 100%, .7rem 100%, .7rem 100%; background-repeat: no-repeat; }
table { border-collapse: collapse; font: .85rem/1.35 var(--plain);
  font-variant-numeric: tabular-nums lining-nums; }
th, td { padding: .38rem 1.3rem .38rem 0; text-align: left; vertical-align: baseline;
  border-bottom: 1px solid var(--faint); }
th:last-child, td:last-child { padding-right: 0; }
thead th, thead td { border-bottom: 1px solid var(--ink); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 400; white-space: nowrap; }
.scroll + h3 { margin-top: 1.5rem; }
tbody tr:last-child > * { border-bottom: 1px solid var(--rule); }
.number { text-align: right; }
td.number { white-space: nowrap; }
td.words { white-space: normal; min-width: 8rem; max-width: 22rem; }
td.good { color: var(--good); } td.bad { color: var(--bad); }
#thresholds td, #thresholds th { white-space: nowrap; }
#overview td.number { font-size: .95rem; }

.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
  gap: 1.75rem 2.5rem; }
.charts.wide { grid-template-columns: 1fr; }
figure { margin: 0; min-width: 0; container-type: inline-size; }
figure:first-child { grid-column: 1 / -1; }
svg.plot { display: block; overflow: visible; margin-left: 4.1rem; width: calc(100% - 4.1rem);
  font: 12px var(--plain); font-variant-numeric: tabular-nums; }
.plot text { fill: var(--ink); paint-order: stroke; stroke: var(--paper); stroke-width: 3px;
  stroke-linejoin: round; }
.plot .left { text-anchor: end; } .plot .middle { text-anchor: middle; }
.plot .tick { fill: var(--soft); font-size: 11px; stroke: none; }
.plot .grid { stroke: var(--faint); } .plot .foot { stroke: var(--soft); }
.plot .window { fill: var(--shade); opacity: .42; }
.plot .window-label { fill: var(--soft); font-size: 11px; stroke: none; }
.plot .limit { stroke: var(--limit); stroke-width: 1.25; stroke-dasharray: 2 3; }
.plot .limit-label { fill: var(--limit); font-size: 11px; }
.plot .label { font-weight: 600; }
.plot .right { text-anchor: end; transform: translate(-2px, -5px); }
@container (min-width: 40rem) {
  svg.plot { width: calc(100% - 4.1rem - 10rem); }
  .plot .right { text-anchor: start; transform: translate(8px, 4px); }
}
.curve, .cross { fill: none; stroke: var(--arm); stroke-linejoin: round; stroke-linecap: round;
  vector-effect: non-scaling-stroke; }
.dots { fill: none; stroke: var(--arm); stroke-width: 6; stroke-linecap: round;
  vector-effect: non-scaling-stroke; }
.curve.bold { stroke-width: 2.2; } .curve.faint { stroke-width: 1; opacity: .4; }
.cross.bold { stroke-width: 2.6; } .cross.faint { stroke-width: 1.4; opacity: .6; }
.arm-1 { --arm: var(--arm-1); } .arm-2 { --arm: var(--arm-2); } .arm-3 { --arm: var(--arm-3); }
.arm-4 { --arm: var(--arm-4); } .arm-5 { --arm: var(--arm-5); } .arm-6 { --arm: var(--arm-6); }
.plot .label[class*="arm-"] { fill: var(--arm); }
.curve.arm-1 { stroke-dasharray: 7 4; } .curve.arm-3 { stroke-dasharray: 2 4; }
.curve.arm-4 { stroke-dasharray: 10 3 2 3; } .curve.arm-5 { stroke-dasharray: 14 4; }
.curve.arm-6 { stroke-dasharray: 4 2; }
.curve.faint { stroke-dasharray: none; }

dt { font-weight: 600; } dd { margin: 0 0 .5rem; }
pre { font: .82rem/1.5 var(--code); background: var(--faint); padding: .8rem 1rem; margin: 0;
  white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  body { font-size: 16px; }
  main { padding: 1.5rem 1rem 3rem; }
  h1 { font-size: 1.7rem; }
  .claim { font-size: 1.08rem; }
  table { font-size: .82rem; }
  th, td { padding-right: .8rem; }
  td.number, tbody th { white-space: normal; }
  #thresholds td, #thresholds th { white-space: nowrap; }
#overview td.number { font-size: .85rem; }
}
@media print {
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  figure, table, .verdict, pre { break-inside: avoid; }
  h2 { break-after: avoid; }
  .scroll { overflow: visible; }
}
]]
