"use strict";
// The page can be read without this script. With it, tables sort, filter and download, tasks open, and bars explain
// themselves. All text comes from the page and is only ever set as text.
{
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const one = (selector) => document.querySelector(selector);
  const make = (tag, text, set = {}) => Object.assign(document.createElement(tag), { textContent: text }, set);
  document.documentElement.classList.add("js");

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

  // Tasks: open a row, filter.
  const form = one("#filters");
  const bodies = all("#tasks-table > tbody");
  const headings = all("#tasks-table thead th").map((heading) => heading.textContent);
  const texts = new Map();
  const searchable = (body) => {
    const parts = [body.rows[0], ...all("li", body)]; // not the reasons, which name other agents
    if (!texts.has(body)) texts.set(body, parts.map((part) => part.textContent).join(" ").toLowerCase());
    return texts.get(body);
  };

  function open(body, is_open = true) {
    body.rows[1].classList.toggle("open", is_open);
    body.querySelector("button").setAttribute("aria-expanded", is_open);
  }

  for (const body of bodies) {
    const name = body.rows[0].cells[0];
    const button = make("button", name.textContent, { type: "button" });
    button.setAttribute("aria-expanded", "false");
    name.replaceChildren(button);
  }
  one("#tasks-table").addEventListener("click", (event) => {
    const button = event.target.closest("tbody button");
    if (button) open(button.closest("tbody"), button.getAttribute("aria-expanded") === "false");
  });

  function filter() {
    const words = form.search.value.toLowerCase();
    const wanted = ["agent", "risk", "category"].filter((name) => form[name] && form[name].value)
      .map((name) => [headings.indexOf(name), form[name].value]);
    let count = 0;
    for (const body of bodies) {
      const cells = body.rows[0].cells;
      const is_shown = wanted.every(([column, text]) => cells[column].textContent === text)
        && (!form.show.value || body.classList.contains(form.show.value))
        && (!words || searchable(body).includes(words));
      body.hidden = !is_shown;
      count += is_shown;
    }
    form.querySelector("output").textContent = `${count.toLocaleString("en")} of ${bodies.length.toLocaleString("en")} tasks`;
    choose(form.agent.value);
  }
  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));

  // Agents: choosing one filters the tasks, and shows its marks in the charts.
  const agents = new Map();
  all("#agents-table tbody tr").forEach((row, number) => {
    const name = row.cells[0].textContent;
    const button = make("button", name, { type: "button", title: "Show only this agent" });
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      form.agent.value = form.agent.value === name ? "" : name;
      filter();
    });
    row.cells[0].replaceChildren(button);
    agents.set(name, { number, button });
  });

  function choose(name) {
    const number = name ? agents.get(name).number : -1;
    document.body.classList.toggle("chosen", number >= 0);
    for (const [each, { button }] of agents) button.setAttribute("aria-pressed", each === name);
    for (const group of all("g[data-of], g[data-agent]")) {
      group.classList.toggle("on", Number(group.dataset.of ?? group.dataset.agent) === number);
    }
  }

  // Bars: what a bar shows appears on hover and on focus; arrow keys go from bar to bar.
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

  for (const chart of all(".lanes svg")) {
    const lanes = all("g", chart).map((lane) => all("a", lane)).filter((lane) => lane.length);
    lanes.flat().forEach((bar, place) => bar.setAttribute("tabindex", place ? "-1" : "0"));
    chart.addEventListener("keydown", (event) => {
      const bar = event.target.closest("a");
      const lane = lanes.findIndex((bars) => bars.includes(bar));
      if (lane < 0) return;
      const place = lanes[lane].indexOf(bar);
      const near = (bars) => bars && bars[Math.min(place, bars.length - 1)];
      const next = { ArrowRight: lanes[lane][place + 1], ArrowLeft: lanes[lane][place - 1],
        ArrowDown: near(lanes[lane + 1]), ArrowUp: near(lanes[lane - 1]) }[event.key];
      if (!next) return;
      event.preventDefault();
      bar.setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      next.focus();
    });
  }

  // Addresses such as report.html#task-a: show the task, even if a filter hides it.
  function show_target() {
    const target = document.getElementById(location.hash.slice(1));
    if (!target) return;
    for (let around = target.closest("details"); around; around = around.parentElement.closest("details")) around.open = true;
    if (target.tagName !== "TBODY") return;
    if (target.hidden) form.reset();
    open(target);
    setTimeout(() => target.scrollIntoView({ block: "center" }));
  }
  addEventListener("hashchange", show_target);
  show_target();
}
