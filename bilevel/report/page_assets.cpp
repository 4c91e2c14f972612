#include "bilevel/report/page_assets.h"

namespace bilevel {

// Pictures are drawn on white; turned over they are as readable on the dark, and colours keep their hues. 0.89 makes
// of white the background of a section.
const std::string_view kPageStyle = R"css(
:root { color-scheme: light dark; --page: #f4f6f8; --card: #fff; --text: #1c2733; --subtle: #55636f; --line: #dde3e9;
  --strong: #cfd8df; --accent: #005a8e; --note: #fdf3ec; --note-line: #d55e00; --code: #f0f3f6; --tag: #e9edf0;
  --good: #d8efe6; --good-text: #00573f; }
@media screen and (prefers-color-scheme: dark) {
  :root { --page: #111; --card: #1c1c1c; --text: #e6e6e6; --subtle: #a8b0b6; --line: #363a3e; --strong: #555b60;
    --accent: #6cb8e6; --note: #33261d; --note-line: #e08a4f; --code: #292c2f; --tag: #33383c; --good: #14402f;
    --good-text: #a9e3cb; }
  figure img, .sample { filter: invert(0.89) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 60px; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 1.2rem; margin: 0 0 12px; }
h3 { font-size: 1rem; margin: 18px 0 6px; }
p { margin: 0 0 10px; }
ul { margin: 0; padding-left: 20px; }
section, details { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 20px 24px;
  margin-top: 18px; }
summary { font-size: 1.2rem; font-weight: 600; cursor: pointer; }
.subtle { color: var(--subtle); }
.cards { display: flex; flex-wrap: wrap; gap: 16px 28px; margin-bottom: 14px; }
.card { max-width: 14rem; color: var(--subtle); white-space: pre-line; }
.value { font-size: 2.6rem; font-weight: 650; line-height: 1.05; color: var(--accent); }
.beside .value { color: var(--subtle); }
.verdict { font-size: 1.15rem; font-weight: 600; }
.note { border-left: 4px solid var(--note-line); background: var(--note); padding: 8px 14px; margin: 10px 0 0; }
.scroll { overflow-x: auto; overflow-wrap: normal; }
.scroll + p { margin-top: 10px; }
table { border-collapse: collapse; width: 100%; font-size: 0.95rem; }
th, td { text-align: left; padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--subtle); font-weight: 600; border-bottom: 2px solid var(--strong); vertical-align: bottom;
  max-width: 12rem; overflow-wrap: break-word; }
tbody th { font-weight: 500; max-width: 16rem; min-width: 8rem; overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
thead th.number { white-space: normal; }
td.text { overflow-wrap: anywhere; min-width: 14rem; }
table.pairs th { width: 40%; }
table.pairs td.text { min-width: 8rem; }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 2px; }
th button::after { content: "\00a0\2195"; opacity: 0.45; }
th[aria-sort="ascending"] button::after { content: "\00a0\2191"; opacity: 1; }
th[aria-sort="descending"] button::after { content: "\00a0\2193"; opacity: 1; }
.tag { display: inline-block; padding: 0 9px; border-radius: 9px; font-size: 0.86rem; background: var(--tag);
  white-space: nowrap; max-width: 14rem; overflow: hidden; text-overflow: ellipsis; vertical-align: bottom; }
.tag.positive { background: var(--good); color: var(--good-text); }
.sample { vertical-align: middle; margin-right: 6px; }
.figures { display: flex; flex-wrap: wrap; gap: 18px; justify-content: center; }
figure { margin: 0; max-width: min(100%, 480px); }
figure img { max-width: 100%; height: auto; display: block; margin: 0 auto; }
figcaption { color: var(--subtle); font-size: 0.92rem; text-align: center; }
pre { background: var(--code); border-radius: 6px; padding: 12px 14px; margin: 8px 0; white-space: pre-wrap; }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 0.92rem;
  overflow-wrap: anywhere; }
@media (max-width: 600px) {
  main { padding: 18px 10px 40px; }
  section, details { padding: 16px 14px; }
  table.pairs th { width: 52%; }
  .tag { max-width: 8rem; }
}
@media print { body { background: #fff; } section, details { break-inside: avoid; } th button::after { content: none; } }
)css";

const std::string_view kPageScript = R"js(
"use strict";
for (const head of document.querySelectorAll("table.sortable > thead")) {
  const body = head.parentElement.tBodies[0], rows = [...body.rows], heads = [...head.rows[0].cells];
  const next = {none: "ascending", ascending: "descending", descending: "none"};
  heads.forEach((cell, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...cell.childNodes);
    cell.append(button);
    cell.setAttribute("aria-sort", "none");
    const texts = rows.map(row => row.cells[column].textContent.trim());
    const numbers = texts.map(text => parseFloat(text.replace(/[\s~]/g, "")));
    const absent = texts.map(text => text === "" || text === "\u2013");
    const numeric = numbers.every((number, i) => absent[i] || !isNaN(number));
    button.addEventListener("click", () => {
      const order = next[cell.getAttribute("aria-sort")], sign = order === "descending" ? -1 : 1;
      for (const other of heads) other.setAttribute("aria-sort", other === cell ? order : "none");
      const places = rows.map((row, i) => i);
      if (order !== "none") places.sort((a, b) => absent[a] - absent[b] || sign * (numeric
        ? numbers[a] - numbers[b] || 0 : texts[a].localeCompare(texts[b], undefined, {numeric: true})));
      body.append(...places.map(i => rows[i]));
    });
  });
}
)js";

const std::string_view kPagePolicy =
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'sha256-T+zWsfwIbbk1Hbs9DEcy89rb8YT8vafG0hvMrGvy9is='; base-uri 'none'; form-action 'none'";

}  // namespace bilevel
