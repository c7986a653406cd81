// What the reader does: zoom, move, point at a call or go from call to call with the keys.

const card = document.getElementById("card");
let pending = false, dragged = null;

function redraw() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => { pending = false; draw(); });
}

function show(from, to) {
  const span = Math.min(Math.max(to - from, 100), length * 1.02);
  view.from = Math.min(Math.max(from, data.start - 0.01 * length), data.start + 1.01 * length - span);
  view.to = view.from + span;
  redraw();
}

function zoom(factor, x) {
  const at = timeAt(x === undefined ? (GUTTER + width() - MARGIN) / 2 : Math.max(x, GUTTER));
  show(at - (at - view.from) * factor, at + (view.to - at) * factor);
}

function fit() { show(data.start, data.start + length); }

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function outcomeLine(outcome, words) {
  const line = element("span"), swatch = element("span", undefined, "swatch");
  swatch.style.background = `var(--${outcome})`;
  line.append(swatch, words);
  return line;
}

function choose(section, call) {
  const changed = view.section !== section || view.call !== call;
  view.section = section;
  view.call = call;
  if (call < 0) card.hidden = true;
  else if (changed) fill(section, call);
  if (changed) redraw();
}

function fill(section, call) {
  const outcome = data.outcomes[section.outcome[call]], facts = element("dl");
  const took = section.end[call] - section.start[call];
  const rows = [
    ["call", `${section.index[call]} of ${section.name}`],
    ["outcome", outcomeLine(outcome, outcome)],
    [outcome === "running" ? "so far" : "took", duration(took)],
    ["started at", duration(section.start[call])],
    ["waited", duration(section.start[call] - section.ready[call])],
    ["in", section.lanes[section.lane[call]]],
  ];
  for (const [term, fact] of rows) {
    const description = element("dd");
    description.append(fact);
    facts.append(element("dt", term), description);
  }
  card.replaceChildren(element("p", section.shown[call], "input"), facts);
  card.hidden = false;
}

// Beside the point, where there is room.
function place(x, y) {
  const box = card.getBoundingClientRect();
  card.style.left = Math.max(8, x + 16 + box.width > innerWidth ? x - 16 - box.width : x + 16) + "px";
  card.style.top = Math.max(8, y + 16 + box.height > innerHeight ? y - 12 - box.height : y + 16) + "px";
}

function reveal(section, call) {
  const start = section.start[call], end = section.end[call], span = view.to - view.from;
  if (start < view.from || end > view.to) {
    if (end - start >= span) show(start - 0.1 * (end - start), end + 0.1 * (end - start));
    else show((start + end - span) / 2, (start + end + span) / 2);
  }
  choose(section, call);
  const box = section.canvas.getBoundingClientRect(), bar = barOf(section, call);
  place(box.left + Math.min(Math.max(bar.left, GUTTER), width()), box.top + bar.top + bar.height);
}

// The call of a lane that is nearest to another in time.
function nearest(section, lane, call) {
  const middle = (section.start[call] + section.end[call]) / 2;
  const away = (each) => Math.max(section.start[each] - middle, middle - section.end[each], 0);
  return section.byLane[lane].reduce((best, each) => (away(each) < away(best) ? each : best));
}

function step(section, key) {
  const call = view.section === section ? view.call : -1;
  if (call < 0) return Math.max(0, section.end.findIndex((end) => end > view.from));
  const lane = section.lane[call], mates = section.byLane[lane], place = mates.indexOf(call);
  if (key === "ArrowRight") return mates[Math.min(place + 1, mates.length - 1)];
  if (key === "ArrowLeft") return mates[Math.max(place - 1, 0)];
  if (key === "ArrowDown") return lane + 1 < section.lanes.length ? nearest(section, lane + 1, call) : call;
  if (key === "ArrowUp") return lane ? nearest(section, lane - 1, call) : call;
  return key === "Home" ? 0 : section.start.length - 1;
}

function onKey(section, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const span = view.to - view.from, call = view.section === section ? view.call : -1;
  const actions = {
    "+": () => zoom(0.5, call < 0 ? undefined : xOf(section.start[call])), "=": () => zoom(0.5), "-": () => zoom(2), 0: fit,
    Escape: () => choose(null, -1),
    Enter: () => call >= 0 && show(section.start[call] * 1.5 - section.end[call] * 0.5, section.end[call] * 1.5 - section.start[call] * 0.5),
  };
  let action = actions[event.key];
  if (event.shiftKey && event.key === "ArrowRight") action = () => show(view.from + span / 4, view.to + span / 4);
  else if (event.shiftKey && event.key === "ArrowLeft") action = () => show(view.from - span / 4, view.to - span / 4);
  else if (/^(Arrow|Home$|End$)/.test(event.key)) action = () => reveal(section, step(section, event.key));
  if (action) { event.preventDefault(); action(); }
}

function onMove(section, event) {
  if (dragged) {
    const by = ((dragged.x - event.clientX) / Math.max(width() - GUTTER - MARGIN, 1)) * (dragged.to - dragged.from);
    show(dragged.from + by, dragged.to + by);
    choose(null, -1);
    return;
  }
  const box = section.canvas.getBoundingClientRect();
  const call = event.clientX - box.left < GUTTER ? -1 : callAt(section, event.clientX - box.left, event.clientY - box.top);
  choose(section, call);
  if (call >= 0) place(event.clientX, event.clientY);
}

function onWheel(event) {
  const unit = event.deltaMode === 1 ? 20 : 1;
  if (event.ctrlKey || event.metaKey) {
    zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY * unit)) / 150), event.clientX - event.currentTarget.getBoundingClientRect().left);
  } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    const by = ((event.deltaX * unit) / width()) * (view.to - view.from);
    show(view.from + by, view.to + by);
  } else return; // the page scrolls
  event.preventDefault();
}

function build(section) {
  const box = element("section"), heading = element("h2", section.name + " "), canvas = element("canvas");
  heading.append(element("span", `${section.start.length.toLocaleString("en")} ${section.start.length === 1 ? "call" : "calls"}`));
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", `Calls of ${section.name}. Arrow keys go from call to call, plus and minus zoom, 0 shows everything.`);
  section.canvas = canvas;
  canvas.addEventListener("pointermove", (event) => onMove(section, event));
  canvas.addEventListener("pointerleave", () => { if (!dragged) choose(null, -1); });
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    dragged = { x: event.clientX, from: view.from, to: view.to };
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { dragged = null; });
  canvas.addEventListener("dblclick", (event) => zoom(0.5, event.clientX - canvas.getBoundingClientRect().left));
  canvas.addEventListener("wheel", onWheel, { passive: false });
  canvas.addEventListener("keydown", (event) => onKey(section, event));
  canvas.addEventListener("blur", () => choose(null, -1));
  box.append(heading, canvas);
  document.getElementById("sections").append(box);
}

// From the table: the whole map, or one of its calls.
function onTable(event) {
  const button = event.target.closest("button");
  if (!button) return;
  const map = Number(button.dataset.map), index = button.dataset.index;
  for (const section of data.sections) {
    const calls = [...section.map.keys()].filter((call) => section.map[call] === map && (index === undefined || section.index[call] === Number(index)));
    if (!calls.length) continue;
    const start = Math.min(...calls.slice(0, 1).map((call) => section.start[call]), index === undefined ? data.maps[map].begun : Infinity);
    const end = calls.reduce((most, call) => Math.max(most, section.end[call]), 0), room = (index === undefined ? 0.02 : 1) * (end - start);
    show(start - room, end + room);
    section.canvas.focus({ preventScroll: true });
    section.canvas.scrollIntoView({ block: "center" });
    if (index !== undefined) reveal(section, calls[0]);
  }
}

for (const [place, outcome] of data.outcomes.entries()) {
  const count = data.sections.reduce((sum, section) => sum + section.outcome.filter((each) => each === place).length, 0);
  const item = element("li");
  item.append(outcomeLine(outcome, `${outcome} ${count.toLocaleString("en")}`));
  if (count) document.getElementById("legend").append(item);
}
data.sections.forEach(build);
if (!data.sections.length) document.getElementById("sections").append(element("p", "No call has been recorded.", "nothing"));
document.getElementById("zoom-in").addEventListener("click", () => zoom(0.5));
document.getElementById("zoom-out").addEventListener("click", () => zoom(2));
document.getElementById("fit").addEventListener("click", fit);
document.getElementById("axis").addEventListener("wheel", onWheel, { passive: false });
document.querySelector(".table").addEventListener("click", onTable);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); redraw(); });
new ResizeObserver(redraw).observe(document.body);
readColours();
draw();
