"use strict";
// The page can be read without this script. With it, tables sort and download, and marks of charts explain themselves.
// All text comes from the page and is only ever set as text.
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector) => document.querySelector(selector);
const make = (tag, text, set = {}) => Object.assign(document.createElement(tag), { textContent: text }, set);
document.documentElement.classList.add("js");

{
  // Tables: sort by a column, download as CSV. The rows of the tasks are bodies with a second row that opens.
  const value = (row, column) => {
    const cell = (row.rows ? row.rows[0] : row).cells[column];
    return "v" in cell.dataset ? Number(cell.dataset.v) : cell.textContent === "" ? null : cell.textContent;
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b
    : String(a).localeCompare(String(b), "en", { numeric: true }));

  function sort(table, column, heading) {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of all("[aria-sort]", table.tHead)) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const bodies = [...table.tBodies];
    const rows = bodies.length > 1 ? bodies : [...bodies[0].rows];
    const keyed = rows.map((row) => [value(row, column), row]);
    keyed.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : down ? compare(b, a) : compare(a, b)));
    (bodies.length > 1 ? table : bodies[0]).append(...keyed.map(([, row]) => row));
  }

  function download(table, name) {
    const rows = [table.tHead.rows[0], ...all("tbody > tr:not(.more)", table).filter((row) => !row.closest("[hidden]"))];
    const quoted = (cell) => `"${cell.textContent.replaceAll('"', '""')}"`;
    const text = rows.map((row) => [...row.cells].map(quoted).join(",")).join("\r\n") + "\r\n";
    const link = make("a", "", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  for (const table of all("table")) {
    const title = table.id ? table.id.replace("-table", "") : table.closest("[id]").id;
    const button = make("button", "Download as CSV", { type: "button", className: "csv" });
    button.addEventListener("click", () => download(table, `${title}.csv`));
    table.parentElement.after(button);
    if (!table.id) continue;
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const sorter = make("button", heading.textContent, { type: "button" });
      sorter.addEventListener("click", () => sort(table, column, heading));
      heading.replaceChildren(sorter);
    });
  }

  // Marks of charts: what a mark shows appears on hover and on focus.
  const tip = one("#tip");
  function explain(mark) {
    const title = mark.querySelector("title");
    if (title) { // the browser would show it a second time
      mark.setAttribute("aria-label", title.textContent);
      title.remove();
    }
    tip.textContent = mark.getAttribute("aria-label");
    tip.hidden = false;
    const box = mark.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(box.left, innerWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${box.top > tip.offsetHeight + 8 ? box.top - tip.offsetHeight - 4 : box.bottom + 4}px`;
  }
  const mark_of = (event) => event.target.closest("svg a, svg circle:has(title), svg circle[aria-label]");
  for (const [shows, hides] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
    document.addEventListener(shows, (event) => { const mark = mark_of(event); if (mark) explain(mark); });
    document.addEventListener(hides, () => { tip.hidden = true; });
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
}
