// Small charts in SVG: lines, bars, bins. Each says in words what it shows.
import { drawn, element } from "./elements.js";
import { number, percent } from "./format.js";

const WIDTH = 300;
const HEIGHT = 160;
const LEFT = 44;
const BOTTOM = 24;

/** Lines over a common x. ``series``: [{ name, points: [[x, y], …], dashed }]; ``mark``: an x to point out. */
export function lines({ title, across, series, mark = null }) {
  const points = series.flatMap((one) => one.points);
  const x = scale(points.map((point) => point[0]), LEFT, WIDTH - 8);
  const y = scale(points.map((point) => point[1]), HEIGHT - BOTTOM, 8);
  const chart = drawn("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  chart.setAttribute("aria-label", `${title} by ${across}: ${series.map(ends).join("; ")}`);
  for (const tick of y.ticks) {
    chart.append(drawn("line", { class: "grid", x1: LEFT, x2: WIDTH - 8, y1: y(tick), y2: y(tick) }));
    chart.append(drawn("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, number(tick, 3)));
  }
  for (const tick of whole(x.ticks)) {
    chart.append(drawn("text", { x: x(tick), y: HEIGHT - 6, "text-anchor": "middle" }, number(tick)));
  }
  if (mark !== null) chart.append(drawn("line", { class: "mark", x1: x(mark), x2: x(mark), y1: 8, y2: HEIGHT - BOTTOM }));
  series.forEach((one, index) => {
    const path = one.points.map((point, at) => `${at ? "L" : "M"}${x(point[0]).toFixed(1)} ${y(point[1]).toFixed(1)}`);
    const dashed = one.dashed ? " dashed" : "";
    chart.append(drawn("path", { class: `line series-${one.colour ?? index}${dashed}`, d: path.join("") }));
    if (one.points.length < 25) {
      for (const [px, py] of one.points) {
        const dot = drawn("circle", { class: `series-${one.colour ?? index}`, cx: x(px), cy: y(py), r: 2.5 });
        dot.append(drawn("title", {}, `${one.name}, ${across} ${px}: ${number(py)}`));
        chart.append(dot);
      }
    }
  });
  const keys = series.length > 1 || series[0]?.name !== title ? series.map(key) : [];
  return element("figure", {}, element("figcaption", {}, title, ...keys), chart);
}

function key(one, index) {
  const stroke = drawn("line", { class: `line series-${one.colour ?? index}`, x1: 0, x2: 18, y1: 2, y2: 2, "stroke-width": 3 });
  if (one.dashed) stroke.classList.add("dashed");
  const swatch = drawn("svg", { viewBox: "0 0 18 4", "aria-hidden": "true" }, stroke);
  return element("span", { class: "key" }, swatch, one.name);
}

function ends({ name, points }) {
  if (points.length === 0) return `${name} has no value yet`;
  return `${name} from ${number(points[0][1])} to ${number(points.at(-1)[1])}`;
}

/** A table with a bar a row, as the server writes it. ``rows``: [{ feature, share }], largest first. */
export function shareTable(rows, caption) {
  const most = rows[0]?.share || 1;
  const body = element("tbody");
  for (const { feature, share } of rows) {
    const bar = drawn("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
    bar.append(drawn("rect", { width: ((100 * share) / most).toFixed(2), height: 10, rx: 1 }));
    body.append(
      element(
        "tr",
        {},
        element("th", { scope: "row", title: feature }, feature),
        element("td", { class: "number" }, percent(share)),
        element("td", { class: "wide" }, bar),
      ),
    );
  }
  return element("table", { class: "shares" }, element("caption", { class: "unseen" }, caption), body);
}

/** Bars from zero: eigenvalues, largest first. */
export function spectrum(values, most = 40) {
  const shown = values.slice(0, most);
  const total = values.reduce((sum, value) => sum + value, 0) || 1;
  const height = 110;
  const chart = drawn("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${height}`, role: "img" });
  const said = shown.slice(0, 3).map((value) => percent(value / total)).join(", ");
  chart.setAttribute("aria-label", `Eigenvalues of the feature matrix; the first hold ${said} of the trace`);
  const step = WIDTH / Math.max(shown.length, 8);
  shown.forEach((value, index) => {
    const tall = (value / (shown[0] || 1)) * (height - 20);
    const bin = drawn("rect", { class: "bin", x: index * step + 1, y: height - 14 - tall, width: Math.max(step - 2, 1), height: tall });
    bin.append(drawn("title", {}, `${index + 1}: ${number(value)}, ${percent(value / total)} of the trace`));
    chart.append(bin);
  });
  chart.append(drawn("line", { class: "axis", x1: 0, x2: WIDTH, y1: height - 14, y2: height - 14 }));
  if (shown.length > 1) {
    chart.append(drawn("text", { x: step / 2, y: height - 2, "text-anchor": "middle" }, 1));
    const some = shown.length < values.length;
    const last = some ? `${shown.length} of ${values.length}` : shown.length;
    const x = some ? WIDTH : (shown.length - 0.5) * step;
    chart.append(drawn("text", { x, y: height - 2, "text-anchor": some ? "end" : "middle" }, last));
  }
  return chart;
}

/** Return a function from values to places, with round ticks. */
function scale(values, from, to) {
  const finite = values.filter((value) => Number.isFinite(value));
  let low = Math.min(...finite);
  let high = Math.max(...finite);
  if (finite.length === 0) [low, high] = [0, 1];
  if (low === high) [low, high] = [low - Math.max(0.5, Math.abs(low) * 0.1), high + Math.max(0.5, Math.abs(high) * 0.1)];
  const place = (value) => from + ((value - low) / (high - low)) * (to - from);
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((part) => part * power).find((one) => one >= rough);
  place.ticks = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-9; tick += step) {
    place.ticks.push(Number(tick.toPrecision(12)));
  }
  return place;
}

function whole(ticks) {
  return ticks.filter((tick) => Number.isInteger(tick));
}
