// What is drawn, and where: lanes of bars under a strip of calls in flight, for each section, over one axis of time.
// Times are nanoseconds from the beginning of the timeline. This file draws what `view` says, and handles no event.

const data = JSON.parse(document.getElementById("data").textContent);
const GUTTER = 92, MARGIN = 14, STRIP = 46, GAP = 8, AXIS = 26;
const LANE = 18, LANES = 560; // pixels: a lane, and at most all lanes of a section

const length = Math.max(1, data.end - data.start);
const view = { from: data.start, to: data.start + length, section: null, call: -1 };

// Those that matter most come last, over the others.
const LAYERS = ["result", "cancelled", "running", "caught", "failed"].map((name) => data.outcomes.indexOf(name));
let colours = {};

for (const section of data.sections) {
  section.laneHeight = Math.min(LANE, LANES / section.lanes.length);
  section.height = STRIP + GAP + Math.ceil(section.laneHeight * section.lanes.length) + GAP;
  section.layers = LAYERS.map((outcome) => [...section.outcome.keys()].filter((call) => section.outcome[call] === outcome));
  section.byLane = section.lanes.map(() => []);
  section.lane.forEach((lane, call) => section.byLane[lane].push(call));
  section.prefix = prefixOf(section.shown);
  section.flight = steps(section.start.map((start, call) => [start, section.end[call], 1]));
  section.limits = limitsOf(section);
  section.peak = section.flight.levels.reduce((most, level) => Math.max(most, level), 1);
  section.allowed = section.limits.levels.reduce((most, level) => Math.max(most, level), 0);
}

// How much is the same at the beginning of all of these: in a bar there is no room for it.
function prefixOf(texts) {
  let first = texts[0] || "", long = texts.length > 1 ? first.length : 0;
  for (const text of texts) while (!text.startsWith(first.slice(0, long))) long--;
  long = first.slice(0, long).search(/[A-Za-z0-9]*$/); // whole words
  return long > 3 ? long : 0;
}

// How many of these spans, each with its weight, there are at each moment.
function steps(spans) {
  const changes = spans.flatMap(([start, end, weight]) => [[start, weight], [end, -weight]]);
  changes.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
  const times = [], levels = [];
  let level = 0;
  for (const [time, change] of changes) {
    level += change;
    if (times.length && times[times.length - 1] === time) levels[levels.length - 1] = level;
    else { times.push(time); levels.push(level); }
  }
  return { times, levels };
}

// The sum of the limits of the maps that were going on, where all of them have one.
function limitsOf(section) {
  const ends = new Map();
  section.map.forEach((map, call) => ends.set(map, Math.max(ends.get(map) || 0, section.end[call])));
  const maps = [...ends.keys()];
  if (maps.some((map) => data.maps[map].limit === null)) return { times: [], levels: [] };
  return steps(maps.map((map) => [data.maps[map].begun, ends.get(map), data.maps[map].limit]));
}

function width() { return document.getElementById("axis").clientWidth; }
function xOf(time) { return GUTTER + ((time - view.from) / (view.to - view.from)) * (width() - GUTTER - MARGIN); }
function timeAt(x) { return view.from + ((x - GUTTER) / (width() - GUTTER - MARGIN)) * (view.to - view.from); }
function yOf(section, lane) { return STRIP + GAP + lane * section.laneHeight; }

// Where the bar of a call is, within its canvas. The shortest is a pixel wide; wider ones leave one to their neighbour.
function barOf(section, call) {
  const left = xOf(section.start[call]), right = xOf(section.end[call]);
  const wide = Math.max(right - left > 4 ? right - left - 1 : right - left, 1);
  const top = yOf(section, section.lane[call]), high = section.laneHeight;
  return { left, top: high >= 6 ? top + 1 : top, width: wide, height: high >= 6 ? high - 2 : Math.max(high, 1) };
}

// The call under a point, or the nearest within a few pixels; -1 if there is none.
function callAt(section, x, y) {
  let best = -1, least = 4;
  const reach = Math.max(0, Math.ceil(2 / section.laneHeight) - 1);
  const lane = Math.floor((y - STRIP - GAP) / section.laneHeight);
  for (let near = Math.max(0, lane - reach); near <= Math.min(section.lanes.length - 1, lane + reach); near++) {
    for (const call of section.byLane[near]) {
      const bar = barOf(section, call);
      const away = Math.max(bar.left - x, x - bar.left - bar.width, 0) + Math.abs(near - lane) / 10;
      if (away < least) { least = away; best = call; }
    }
  }
  return best;
}

function duration(time) {
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["\u00b5s", 1e3]]) {
    if (time >= size * 0.9995) return (time / size >= 99.95 ? Math.round(time / size).toLocaleString("en") : (time / size).toPrecision(3)) + " " + unit;
  }
  return Math.round(time) + " ns";
}

function tickStep() {
  const least = ((view.to - view.from) * 110) / Math.max(width() - GUTTER - MARGIN, 1);
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((each) => each * power).find((step) => step >= least);
}

function tickLabel(time, step) {
  const [unit, size] = [["s", 1e9], ["ms", 1e6], ["\u00b5s", 1e3], ["ns", 1]].find(([, each]) => view.to >= each || each === 1);
  return (time / size).toFixed(Math.max(0, Math.ceil(-Math.log10(step / size) - 1e-9))) + " " + unit;
}

function ticks() {
  const step = tickStep(), times = [];
  for (let time = Math.ceil(view.from / step) * step; time <= view.to; time += step) times.push(time);
  return times.map((time) => [xOf(time), tickLabel(time, step)]);
}

function prepare(canvas, height) {
  const scale = window.devicePixelRatio || 1;
  const wide = Math.round(width() * scale), high = Math.round(height * scale);
  if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; canvas.style.height = height + "px"; }
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width(), height);
  pen.font = '11px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
  pen.textBaseline = "middle";
  return pen;
}

function drawAxis() {
  const pen = prepare(document.getElementById("axis"), AXIS);
  pen.textAlign = "center";
  for (const [x, label] of ticks()) {
    pen.fillStyle = colours.line;
    pen.fillRect(Math.round(x), AXIS - 5, 1, 5);
    pen.fillStyle = colours.quiet;
    pen.fillText(label, Math.min(Math.max(x, GUTTER), width() - 30), AXIS / 2 - 1);
  }
}

function drawSection(section) {
  const pen = prepare(section.canvas, section.height);
  drawLabels(pen, section);
  pen.save();
  pen.beginPath();
  pen.rect(GUTTER, 0, width() - GUTTER - MARGIN + 1, section.height);
  pen.clip();
  drawGround(pen, section);
  drawStrip(pen, section);
  const chosen = view.section === section ? view.call : -1;
  if (chosen >= 0) drawWait(pen, section, chosen);
  section.layers.forEach((calls, layer) => drawBars(pen, section, calls, data.outcomes[LAYERS[layer]]));
  if (chosen >= 0) drawFrame(pen, section, chosen);
  pen.restore();
}

function drawLabels(pen, section) {
  pen.textAlign = "right";
  pen.fillStyle = colours.quiet;
  pen.fillText("in flight", GUTTER - 10, STRIP / 2 + 4);
  // As many as fit: every lane's, or every second, fifth, ...
  const apart = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000].find((each) => each * section.laneHeight >= 14) || 20000;
  for (let lane = 0; lane < section.lanes.length; lane += 1) {
    if (lane % apart !== (apart === 1 ? 0 : apart - 1)) continue;
    const label = section.lanes[lane];
    pen.fillText(label.length > 15 ? label.slice(0, 14) + "\u2026" : label, GUTTER - 10, yOf(section, lane) + section.laneHeight / 2 + 0.5);
  }
}

function drawGround(pen, section) {
  pen.fillStyle = colours.lane;
  if (section.laneHeight >= 8) section.lanes.forEach((_, lane) => pen.fillRect(GUTTER, yOf(section, lane) + 1, width(), section.laneHeight - 2));
  else pen.fillRect(GUTTER, yOf(section, 0), width(), section.laneHeight * section.lanes.length);
  pen.fillStyle = colours.line;
  for (const [x] of ticks()) pen.fillRect(Math.round(x), 0, 1, section.height);
}

// The highest level within each pixel, so that no peak is lost.
function levelsByPixel(line) {
  const first = GUTTER, count = Math.max(1, Math.ceil(width() - GUTTER - MARGIN)), highest = new Float64Array(count);
  let low = 0, high = line.times.length;
  while (low < high) { const middle = (low + high) >> 1; if (line.times[middle] <= view.from) low = middle + 1; else high = middle; }
  let level = low ? line.levels[low - 1] : 0, pixel = 0;
  for (let step = low; step < line.times.length && pixel < count; step++) {
    const until = Math.min(count - 1, Math.floor(xOf(line.times[step]) - first));
    for (; pixel < until; pixel++) highest[pixel] = Math.max(highest[pixel], level);
    highest[pixel] = Math.max(highest[pixel], level);
    level = line.levels[step];
    if (until === pixel) highest[pixel] = Math.max(highest[pixel], level);
  }
  for (; pixel < count; pixel++) highest[pixel] = Math.max(highest[pixel], level);
  return highest;
}

function drawStrip(pen, section) {
  const offScale = section.allowed > 8 * section.peak;
  const most = offScale ? section.peak : Math.max(section.peak, section.allowed);
  const y = (level) => STRIP - (level / most) * (STRIP - 14);
  const levels = levelsByPixel(section.flight);
  pen.fillStyle = colours.flight;
  levels.forEach((level, pixel) => { if (level) pen.fillRect(GUTTER + pixel, y(level), 1.02, STRIP - y(level)); });
  pen.fillStyle = colours.flightEdge;
  levels.forEach((level, pixel) => { if (level) pen.fillRect(GUTTER + pixel, y(level) - 0.75, 1.02, 1.5); });
  if (section.allowed && !offScale) {
    pen.fillStyle = colours.text;
    levelsByPixel(section.limits).forEach((level, pixel) => { if (level && pixel % 6 < 4) pen.fillRect(GUTTER + pixel, Math.round(y(level)) - 1, 1, 1); });
  }
  const words = `most at once: ${section.peak.toLocaleString("en")}` + (section.allowed ? `, limit: ${section.allowed.toLocaleString("en")}` : ", no limit");
  pen.textAlign = "right";
  pen.lineWidth = 4;
  pen.strokeStyle = colours.ground;
  pen.strokeText(words, width() - MARGIN - 4, 6.5);
  pen.fillStyle = colours.quiet;
  pen.fillText(words, width() - MARGIN - 4, 6.5);
}

function drawBars(pen, section, calls, outcome) {
  const painted = new Float64Array(section.lanes.length).fill(-1), readable = section.laneHeight >= 14;
  const left = GUTTER - 1, right = width() - MARGIN + 1;
  pen.font = '10.5px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace';
  pen.textAlign = "left";
  for (const call of calls) {
    if (section.end[call] < view.from) continue;
    if (section.start[call] > view.to) break;
    const bar = barOf(section, call), lane = section.lane[call];
    const from = Math.max(bar.left, left), until = Math.min(bar.left + bar.width, right);
    if (until <= painted[lane]) continue; // nothing would be seen of it
    painted[lane] = Math.max(Math.floor(from) + 1, until);
    pen.fillStyle = colours[outcome];
    if (until - from > 6 && section.laneHeight >= 10) { pen.beginPath(); pen.roundRect(from, bar.top, until - from, bar.height, 3); pen.fill(); }
    else pen.fillRect(from, bar.top, until - from, bar.height);
    const room = Math.floor((until - from - 8) / 6.4);
    if (readable && room >= 3) {
      const text = section.shown[call].slice(section.prefix);
      pen.fillStyle = outcome === "caught" ? colours.onCaught : colours.onBar;
      pen.fillText(text.length > room ? text.slice(0, room - 1) + "\u2026" : text, from + 5, bar.top + bar.height / 2 + 0.5);
    }
  }
}

// From the moment when the input of the chosen call was there to its start; it lies under the bars.
function drawWait(pen, section, call) {
  const bar = barOf(section, call), ready = xOf(section.ready[call]);
  pen.fillStyle = colours.quiet;
  pen.fillRect(ready, bar.top + bar.height / 2 - 0.5, Math.max(bar.left - ready, 0), 1);
}

function drawFrame(pen, section, call) {
  const bar = barOf(section, call);
  pen.strokeStyle = colours.text;
  pen.lineWidth = 2;
  pen.strokeRect(bar.left - 1, bar.top - 1, bar.width + 2, bar.height + 2);
}

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = { onBar: "on-bar", onCaught: "on-caught", flightEdge: "flight-edge" };
  for (const name of ["ground", "line", "text", "quiet", "lane", "flight", "flightEdge", "onBar", "onCaught", ...data.outcomes]) {
    colours[name] = style.getPropertyValue("--" + (names[name] || name)).trim();
  }
}

function draw() {
  drawAxis();
  data.sections.forEach(drawSection);
}
