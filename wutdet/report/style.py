"""The style sheet of every report: one column on a phone, two on a desk; light or dark as the reader's system asks."""

from __future__ import annotations

# Kept free of "&" and "<", so that the page stays well-formed XML.
CSS = """
:root { color-scheme: light dark;
  --paper: #ffffff; --card: #f4f6f8; --ink: #1b2733; --muted: #566370; --grid: #d5dce3; --accent: #00588a;
  --c1: #0072b2; --c2: #d55e00; --c3: #007a5a; --c4: #a8508a; --c5: #b07800; --c6: #3a86c8;
  --hit: #00c98c; --miss: #ff8000; --false: #ff3fd0; --ignored: #98a4ae;
  --loc: #ffd500; --dup: #b38cff; --class: #4dd2ff; --warn: #8a4b00; --warn-paper: #fff4e0; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #11171d; --card: #1a232c; --ink: #e6ecf1; --muted: #9fb0bf; --grid: #33404c; --accent: #7cc4f2;
  --c1: #4fb0ea; --c2: #ff9147; --c3: #3ccf9f; --c4: #e495c6; --c5: #f0bd4b; --c6: #9cc9f2;
  --warn: #ffc777; --warn-paper: #33270f; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main, header, footer { max-width: 1180px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 28px; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 40px 0 10px; padding-top: 14px; border-top: 1px solid var(--grid); }
h3 { font-size: 1rem; margin: 0 0 8px; }
p { margin: 0 0 12px; max-width: 75ch; overflow-wrap: anywhere; }
.subtitle, footer { color: var(--muted); }
footer { padding-top: 30px; padding-bottom: 40px; font-size: .875rem; }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 14px 0 0; font-size: .9375rem; }
a { color: var(--accent); }
.note { border-left: 4px solid var(--warn);
  background: var(--warn-paper); padding: 8px 12px; border-radius: 0 6px 6px 0; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 470px), 1fr));
  gap: 18px; align-items: start; }
.grid > p, .grid > .note, .grid > .wide, .grid > .tiles { grid-column: 1 / -1; margin: 0; }
.card { margin: 0; background: var(--card); border-radius: 10px; padding: 14px 16px; min-width: 0; }
.chart { display: block; margin: 0 auto; }
.band:hover { fill-opacity: .08; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: 12px; }
.tile { background: var(--card); border-radius: 10px; padding: 12px 16px; }
.tile .value { font-size: 1.6rem; overflow-wrap: anywhere; font-weight: 650; line-height: 1.2;
  font-variant-numeric: tabular-nums; }
.tile .words { font-size: 1.2rem; }
.tile .interval { font-size: .875rem; font-variant-numeric: tabular-nums; }
.tile .name, .tile .detail { font-size: .875rem; color: var(--muted); overflow-wrap: anywhere; }
figcaption { margin-top: 8px; font-size: .9375rem; overflow-wrap: anywhere; }
.caption { margin: 8px 0 0; font-size: .9375rem; }
/* A shadow at the right edge while there is more to the right: the first ground scrolls away with the table. */
.scroll { overflow-x: auto; background: linear-gradient(var(--card), var(--card)) right / 20px 100% no-repeat local,
  linear-gradient(to left, rgba(128,140,150,.55), rgba(128,140,150,0)) right / 16px 100% no-repeat scroll; }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px 5px 0; border-bottom: 1px solid var(--grid); text-align: left; vertical-align: top; }
th { font-weight: 600; }
thead th { border-bottom: 2px solid var(--muted); vertical-align: bottom; }
.right { text-align: right; white-space: nowrap; }
.right + :not(.right) { padding-left: 8px; }
th:last-child, td:last-child { padding-right: 0; }
.whisker { display: block; max-width: none; }
.small { color: var(--muted); font-size: .8125rem; }
.thin { color: var(--warn); font-weight: 700; }
.unit { color: var(--muted); font-weight: 400; white-space: nowrap; }
tbody th { font-weight: 400; min-width: 6em; max-width: 18em; overflow-wrap: break-word; }
tbody th .small { min-width: 10em; }
td[style] .unit { color: inherit; }
td:last-child { overflow-wrap: anywhere; }
td[style], td[style]:last-child { padding-left: 6px; padding-right: 6px; }
details { margin-top: 10px; font-size: .875rem; }
summary { cursor: pointer; color: var(--muted); overflow-wrap: anywhere; }
.protocol dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 2px 12px; margin: 8px 0 0; }
.protocol dt { color: var(--muted); }
.protocol dd { margin: 0; overflow-wrap: anywhere; }
.gallery { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 520px), 1fr)); gap: 18px; }
.gallery img { width: 100%; height: auto; display: block; border-radius: 6px; }
.insets { display: grid; grid-template-columns: repeat(auto-fill, minmax(120px, 1fr)); gap: 10px; margin-top: 12px; }
.insets figure { margin: 0; }
.insets figcaption { font-size: .8125rem; line-height: 1.35; margin-top: 4px; }
.shots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(46%, 205px), 1fr)); gap: 12px; }
.shot { padding: 8px; }
.shot img { width: 100%; height: auto; aspect-ratio: 1; object-fit: contain; display: block; border-radius: 6px; }
.shot figcaption { margin-top: 6px; font-size: .8125rem; line-height: 1.35; }
.shot b { display: block; }
.shot b::before { content: ""; display: inline-block; width: 11px; height: 11px; margin-right: 6px; border: 3px solid; }
[hidden] { display: none !important; }
.filters { display: flex; flex-wrap: wrap; gap: 10px 18px; align-items: center; margin: 0 0 14px;
  padding: 10px 14px; background: var(--card); border-radius: 10px; font-size: .9375rem; }
.filters fieldset { border: 0; padding: 0; margin: 0; display: flex; flex-wrap: wrap; gap: 6px 16px; min-width: 0; }
.filters legend { float: left; padding: 0; margin-right: 12px; color: var(--muted); }
.filters label { min-width: 0; max-width: 100%; }
.filters input { width: 18px; height: 18px; margin: 0 6px 0 0; vertical-align: -3px; }
.filters select { font: inherit; max-width: 100%; padding: 3px 6px; color: inherit; background: var(--paper);
  border: 1px solid var(--muted); border-radius: 6px; }
.filters output { margin-left: auto; color: var(--muted); font-variant-numeric: tabular-nums; }
.is.miss::before { border-color: var(--miss); border-style: dashed; }
.is.false_alarm::before { border-color: var(--false); }
.is.localisation::before { border-color: var(--loc); }
.is.duplicate::before { border-color: var(--dup); }
.is.classification::before { border-color: var(--class); }
.key { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 12px; font-size: .9375rem; }
.key span::before { content: ""; display: inline-block; width: 18px; height: 12px; margin-right: 7px;
  border: 3px solid var(--hit); }
.key .miss::before { border-color: var(--miss); border-style: dashed; }
.key .false_alarm::before { border-color: var(--false); }
.key .localisation::before { border-color: var(--loc); }
.key .duplicate::before { border-color: var(--dup); }
.key .classification::before { border-color: var(--class); }
.key .false::before { border-color: var(--false); }
.key .truth::before { border: 1px solid var(--ink); }
.key .ignored::before { border-color: var(--ignored); border-style: dotted; }
@media (max-width: 560px) {
  main, header, footer { padding-left: 14px; padding-right: 14px; }
  .card { padding: 12px 10px; }
  .chart text { font-size: 17px; }
  table { font-size: .875rem; }
  th, td { padding-right: 8px; }
  tbody th { min-width: 4.2em; }
  .tiles { grid-template-columns: 1fr 1fr; }
  .tile { padding: 10px 12px; }
  .tile .value { font-size: 1.3rem; }
}
@media print { .card, .tile { break-inside: avoid; } nav { display: none; } }
"""
