// The report: tasks open and filter, agents choose, arrow keys walk the timelines, addresses lead to tasks.
{
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

  // Timelines: arrow keys go from bar to bar.
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
