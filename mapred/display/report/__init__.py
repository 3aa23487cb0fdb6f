"""A page about a run to keep or to send: one file, without scripts, and nothing is loaded."""

from __future__ import annotations

import re
import time

from mapred.display.format import escape_html, format_time, one_line
from mapred.display.report.sections import sections, tiles
from mapred.display.report.values import Report
from mapred.display.text.run import state_text

GENERATOR = "mapred report"  # by which a page is known as one that may be replaced
_STATES = {"succeeded": "good", "failed": "bad", "running": "live", "queued": "live"}

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --quiet: #59636e; --page: #ffffff;
  --box: #f4f6f8; --edge: #d5dae0; --good: #1a7f4b; --bad: #c0282f; --live: #1f6feb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e8ee; --quiet: #9aa6b2; --page: #14181d;
  --box: #1d232a; --edge: #38414b; --good: #4cc38a; --bad: #ff7b72; --live: #79b8ff; } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 24px 20px 60px; max-width: 1080px; color: var(--ink);
  background: var(--page); font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 26px; margin: 0; overflow-wrap: anywhere }
h2 { font-size: 19px; margin: 34px 0 8px; padding-bottom: 4px; border-bottom: 1px solid var(--edge) }
h3 { font-size: 15px; margin: 16px 0 4px; overflow-wrap: anywhere }
p { margin: 6px 0; overflow-wrap: anywhere }
ul { margin: 4px 0; padding-left: 22px; overflow-wrap: anywhere }
a { color: var(--live) }
nav { margin: 14px 0 0; display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: 14px }
.state { font-weight: 600 } .good { color: var(--good) } .bad { color: var(--bad) }
.live { color: var(--live) } .quiet { color: var(--quiet); font-size: 13px }
.tiles { display: flex; flex-wrap: wrap; gap: 10px; margin: 16px 0 0 }
.tiles div { background: var(--box); border-radius: 8px; padding: 8px 14px; min-width: 110px }
.tiles b { display: block; font-size: 19px; font-weight: 600 }
.tiles span { color: var(--quiet); font-size: 13px }
pre { background: var(--box); border-radius: 6px; padding: 10px 12px; margin: 6px 0;
  font-size: 12.5px; line-height: 1.45; white-space: pre-wrap; overflow-wrap: anywhere }
table { border-collapse: collapse; font-size: 14px }
th, td { text-align: left; padding: 4px 16px 4px 0; vertical-align: top; overflow-wrap: anywhere }
thead th { color: var(--quiet); font-weight: 500; border-bottom: 1px solid var(--edge) }
.facts th { color: var(--quiet); font-weight: 500; white-space: nowrap }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
.wide { overflow-x: auto; margin: 8px 0 } .wide th, .wide td { overflow-wrap: normal }
.wide td:last-child { overflow-wrap: anywhere; min-width: 140px }
svg { height: auto }
.mapred { max-width: none !important; font: inherit !important }
@media (max-width: 700px) { body { padding: 16px 12px 40px } .facts th { white-space: normal }
  .facts tr, .facts th, .facts td { display: block; padding: 0 } .facts td { margin-bottom: 6px } }
@media print { :root { color-scheme: light; --ink: #000; --quiet: #444; --page: #fff; --box: #f4f4f4;
  --edge: #bbb; --good: #1a7f4b; --bad: #b0202a; --live: #1f4fbb }
  body { max-width: none; padding: 0; font-size: 11pt } nav { display: none }
  h2, h3 { break-after: avoid } svg, .tiles, tr { break-inside: avoid }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact } }
"""


def report_page(report: Report) -> str:
    """Return the page: every text of it is escaped, and it holds no script and no address to load."""
    status = report.status
    name = one_line(status.name or status.run_id, 100)
    body = list(sections(report))
    kind = _STATES.get(status.state, "quiet")
    shown = f'<span class="state {kind}">● {escape_html(state_text(status))}</span>'
    figures = "".join(
        f"<div><b>{escape_html(text)}</b><span>{escape_html(what)}</span></div>"
        for what, text in tiles(report)
    )
    day = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(report.made))
    made = f"As of {day}, by mapred {report.version}."
    made += " The run was still at work: this page shows how far it was." * status.live
    head = (
        f"<header><h1>{escape_html(name)}</h1>"
        f'<p>{shown} <span class="quiet">· run {escape_html(one_line(status.run_id))}'
        f" · started {escape_html(format_time(status.started))}</span></p>"
        f'<p class="quiet">{escape_html(one_line(status.uri, 400))}</p>'
        + (f"<p>{escape_html(one_line(status.message, 1000))}</p>" if status.message else "")
        + f'<div class="tiles">{figures}</div><nav>{_links(body)}</nav></header>'
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta name="generator" content="{GENERATOR}">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">"
        f"<title>{escape_html(name)}: {escape_html(one_line(status.state))}</title>"
        f"<style>{_STYLE}</style></head>\n"
        f"<body>{head}<main>{''.join(body)}</main>"
        f'<footer><p class="quiet">{escape_html(made)}</p></footer></body></html>\n'
    )


def _links(body: list[str]) -> str:
    """Return links to the sections that are there."""
    heads = (re.match(r'<section id="(\w+)"><h2>([^<]*)</h2>', part) for part in body)
    return "".join(f'<a href="#{head[1]}">{head[2]}</a>' for head in heads if head)
