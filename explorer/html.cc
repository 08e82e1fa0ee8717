#include "explorer/html.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <vector>

#include "explorer/source_text.h"

namespace explorer {
namespace {

constexpr int kContext = 8;  // lines of source before and after

constexpr const char* kStyle = R"(
:root { color-scheme: light dark; --line: #8884; --pick: #4a90d922; --bad: #c62828;
  --crit: #b26a00; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 0; display: grid; height: 100vh;
  grid-template: auto 1fr / minmax(0, 3fr) minmax(0, 2fr); }
header { grid-column: 1 / 3; padding: .8em 1em; border-bottom: 1px solid var(--line); }
h1 { font-size: 1.15em; margin: 0 0 .3em; } h2 { font-size: 1em; margin: 1em 0 .3em; }
header p { margin: .15em 0; } h1 .kind { color: var(--bad); }
code, pre, td { font-family: ui-monospace, monospace; font-size: 12.5px; }
main, aside { overflow: auto; } aside { border-left: 1px solid var(--line); padding: 0 1em 1em; }
table { border-collapse: collapse; width: 100%; }
th { position: sticky; top: 0; background: Canvas; text-align: left; padding: .4em .6em; }
td { padding: .12em .6em; vertical-align: top; border-left: 1px solid var(--line); }
td.n { border: 0; text-align: right; opacity: .7; white-space: nowrap; }
tbody tr { cursor: pointer; } tbody tr:hover { background: var(--pick); }
tr.conflict td.act { color: var(--bad); font-weight: 600; }
tr.critical { outline: 2px solid var(--crit); outline-offset: -2px; }
tr[aria-selected=true] { background: var(--pick); }
tr:focus-visible { outline: 2px solid Highlight; }
.badge { font: 600 11px system-ui; color: #fff; border-radius: 3px; padding: 0 .4em;
  margin-left: .5em; }
.badge.conflict { background: var(--bad); } .badge.critical { background: var(--crit); }
#source { padding: .5em 0; overflow: auto; border: 1px solid var(--line); }
#source span { display: block; padding: 0 .6em; white-space: pre; }
#source .here { background: var(--pick); font-weight: 600; }
dt { font-weight: 600; } dd { margin: 0 0 .4em 1em; }
)";

constexpr const char* kScript = R"(
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const rows = Array.from(document.querySelectorAll('tbody tr'));
const get = id => document.getElementById(id);
function select(i) {
  const line = data.lines[i];
  rows.forEach((row, k) => {
    row.setAttribute('aria-selected', k === i);
    row.tabIndex = k === i ? 0 : -1;
  });
  rows[i].scrollIntoView({block: 'nearest'});
  get('what').textContent = 'thread ' + line.thread + ': ' + line.what;
  get('where').textContent = line.where;
  const locks = get('locks');
  locks.replaceChildren();
  for (let t = 0; t < data.threads; ++t) {
    let holds = [];
    for (let k = 0; k <= i; ++k) if (data.lines[k].thread === t) holds = data.lines[k].holds;
    const name = document.createElement('dt');
    name.textContent = 'thread ' + t;
    const list = document.createElement('dd');
    list.textContent = holds.length ? holds.join(', ') : 'none';
    locks.append(name, list);
  }
  const source = get('source');
  source.replaceChildren();
  const text = data.source[line.file] || {};
  for (let n = line.line - data.context; n <= line.line + data.context; ++n) {
    if (text[n] === undefined) continue;
    const span = document.createElement('span');
    span.textContent = String(n).padStart(5) + '  ' + text[n];
    if (n === line.line) span.className = 'here';
    source.append(span);
  }
  if (!source.children.length) source.textContent = ' the source is not at hand';
}
rows.forEach((row, i) => row.addEventListener('click', () => { select(i); row.focus(); }));
document.addEventListener('keydown', event => {
  const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
  if (!step) return;
  event.preventDefault();
  const at = rows.findIndex(row => row.getAttribute('aria-selected') === 'true');
  const next = Math.min(Math.max(at + step, 0), rows.length - 1);
  select(next);
  rows[next].focus();
});
if (rows.length) select(Math.max(data.lines.findIndex(line => line.critical), 0));
)";

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

// A JSON string that may stand inside a script element.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const unsigned char u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (u < 0x20 || c == '<') {
      char code[8];
      std::snprintf(code, sizeof(code), "\\u%04x", u);
      out += code;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string action(const Line& line) {
  return line.value.empty() ? line.what : line.what + " = " + line.value;
}

std::string place(const Site& site) { return site.file[0] == '\0' ? "" : to_string(site); }

std::string lines_json(const Counterexample& example) {
  std::string json = "[";
  for (const Line& line : example.lines) {
    if (json.size() > 1) json += ",\n";
    json += "{\"thread\":" + std::to_string(line.thread) + ",\"what\":" + quoted(action(line)) +
            ",\"where\":" + quoted(place(line.site)) + ",\"file\":" + quoted(line.site.file) +
            ",\"line\":" + std::to_string(line.site.line) +
            ",\"critical\":" + (line.critical ? "true" : "false") + ",\"holds\":[";
    for (size_t i = 0; i < line.holds.size(); ++i) {
      json += (i == 0 ? "" : ",") + quoted(line.holds[i]);
    }
    json += "]}";
  }
  return json + "]";
}

// Of each file the lines that some row shows.
std::string source_json(const Counterexample& example) {
  std::map<std::string, std::set<int>> wanted;
  for (const Line& line : example.lines) {
    std::set<int>& of_file = wanted[line.site.file];
    for (int n = -kContext; n <= kContext; ++n) of_file.insert(line.site.line + n);
  }
  SourceText source;
  std::string json = "{";
  for (const auto& [file, numbers] : wanted) {
    const std::vector<std::string>& text = source.lines(file);
    if (json.size() > 1) json += ",\n";
    json += quoted(file) + ":{";
    const char* separator = "";
    for (const int n : numbers) {
      if (n < 1 || n > static_cast<int>(text.size())) continue;
      json += separator + quoted(std::to_string(n)) + ":" + quoted(text[n - 1]);
      separator = ",\n";
    }
    json += "}";
  }
  return json + "}";
}

std::string row(const Counterexample& example, const Line& line) {
  std::string classes;
  std::string badges;
  if (line.conflict) {
    classes += " conflict";
    badges += "<span class=\"badge conflict\">conflict</span>";
  }
  if (line.critical) {
    classes += " critical";
    badges += "<span class=\"badge critical\">critical step</span>";
  }
  std::string html = "<tr class=\"line" + classes + "\" tabindex=\"-1\" aria-selected=\"false\">";
  html += "<td class=\"n\">" + (line.step < 0 ? "" : std::to_string(line.step + 1)) + "</td>";
  for (int thread = 0; thread < example.threads; ++thread) {
    html += thread == line.thread ? "<td class=\"act\">" + escaped(action(line)) + badges + "</td>"
                                  : "<td></td>";
  }
  return html + "</tr>\n";
}

std::string paragraph(const std::string& text) {
  return text.empty() ? "" : "<p>" + escaped(text) + "</p>\n";
}

}  // namespace

std::string to_html(const Counterexample& example, const std::string& replay) {
  const Finding& finding = example.finding;
  const std::string kind =
      finding.kind == Kind::kNone ? "execution" : std::string(phrase(finding.kind));
  std::string html =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
      "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n<title>" +
      escaped(example.scenario + ": " + kind) + "</title>\n<style>" + kStyle + "</style></head>\n";
  html += "<body><header><h1>" + escaped(example.scenario) + ": <span class=\"kind\">" +
          escaped(kind) + "</span></h1>\n";
  html += paragraph(finding.message) + paragraph(place(finding.site)) +
          paragraph(about_preemptions(example.shrunk)) +
          paragraph(about_critical_step(example.shrunk)) + paragraph(example.problem);
  if (!replay.empty()) html += "<p><code>" + escaped(replay) + "</code></p>\n";
  html += "</header>\n<main><table><thead><tr><th></th>";
  for (int i = 0; i < example.threads; ++i) html += "<th>thread " + std::to_string(i) + "</th>";
  html += "</tr></thead><tbody>\n";
  for (const Line& line : example.lines) html += row(example, line);
  html +=
      "</tbody></table></main>\n<aside><h2 id=\"what\"></h2><p><code id=\"where\"></code></p>\n"
      "<h2>Locks held</h2><dl id=\"locks\"></dl><h2>Source</h2><pre id=\"source\"></pre></aside>\n";
  html += "<script type=\"application/json\" id=\"data\">{\"threads\":" +
          std::to_string(example.threads) + ",\"context\":" + std::to_string(kContext) +
          ",\n\"lines\":" + lines_json(example) + ",\n\"source\":" + source_json(example) +
          "}</script>\n<script>" + kScript + "</script></body></html>\n";
  return html;
}

}  // namespace explorer
