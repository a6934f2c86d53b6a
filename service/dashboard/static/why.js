// Why a model answers a row as it does: what each column changes, and the training rows nearest to it.
import { drawn, element } from "./elements.js";
import { number, short, signed } from "./format.js";

const FIRST = 10;

/** ``row``: what was asked, by column; ``explained``: its explanation; ``dataset``: the id of the model's own. */
export function reasons(row, { targets, classes, items: [item] }, dataset) {
  const outputs = classes ? [`the score of ${item.prediction}`] : targets;
  const changes = outputs.map((output, index) => changed(row, item.sensitivity, output, index));
  return [element("div", {}, ...changes), element("div", {}, ...near(row, item, targets, dataset))];
}

function changed(row, sensitivity, output, index) {
  const own = sensitivity.map((one) => ({ ...one, change: one.change && one.change[index] }));
  own.sort((a, b) => Math.abs(b.change ?? 0) - Math.abs(a.change ?? 0));
  const most = Math.abs(own[0]?.change ?? 0);
  const table = (shown) => changeTable(row, shown, output, most);
  const parts = [
    element("h4", {}, `What changes ${output}`),
    element("p", { class: "soft" }, "Each column alone, the others as they are: a number by one standard deviation, a category to the value that changes most. One that is not known was rare or absent in training; all such count alike."),
    table(own.slice(0, FIRST)),
  ];
  if (own.length > FIRST) {
    parts.push(element("details", {}, element("summary", {}, own.length - FIRST === 1 ? "The other column" : `The other ${own.length - FIRST} columns`), table(own.slice(FIRST))));
  }
  return element("div", {}, ...parts);
}

function changeTable(row, shown, output, most) {
  const body = element("tbody");
  for (const { feature, change, step, to, known } of shown) {
    const moved = step !== null ? signed(step) : to === null ? "–" : `to ${cell(to)}`;
    body.append(
      element(
        "tr",
        {},
        element("th", { scope: "row", title: feature }, feature),
        element("td", { class: "number is" }, known ? cell(row[feature]) : `${cell(row[feature])} (not known)`),
        element("td", { class: "number moved", title: moved }, moved),
        element("td", { class: "number" }, change === null ? "–" : signed(change)),
        element("td", { class: "wide" }, bar(change, most)),
      ),
    );
  }
  const heads = [["Column"], ["Is", "number is"], ["Moved", "number"], ["Change", "number"]].map(([said, kind = null]) =>
    element("th", { scope: "col", class: kind }, said),
  );
  const caption = element("caption", { class: "unseen" }, `Change of ${output} with each column`);
  return element("table", { class: "shares changes" }, caption, element("thead", {}, element("tr", {}, ...heads, element("td"))), body);
}

/** A bar from the middle: to the right of it and red what raises the answer, to the left and blue what lowers it. */
function bar(change, most) {
  const chart = drawn("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  const width = most > 0 ? (50 * Math.abs(change ?? 0)) / most : 0;
  const side = change < 0 ? "minus" : "plus";
  chart.append(drawn("rect", { class: side, x: (change < 0 ? 50 - width : 50).toFixed(2), width: width.toFixed(2), height: 10 }));
  chart.append(drawn("line", { class: "axis", x1: 50, x2: 50, y1: 0, y2: 10, "vector-effect": "non-scaling-stroke" }));
  return chart;
}

function near(row, { neighbours, prediction, sensitivity }, targets, dataset) {
  const features = sensitivity.slice(0, FIRST).map((one) => one.feature);
  const answers = Array.isArray(prediction) ? prediction : [prediction];
  const line = (said, distance, cells) =>
    element("tr", {}, element("th", { scope: "row" }, said), ...[distance, ...cells].map((text) => element("td", { class: "number" }, text)));
  const lines = neighbours.map((one) =>
    line(
      one.row === null ? "–" : `${one.row}${one.dataset === dataset ? "" : ` of ${one.dataset}`}`,
      number(one.distance, 3),
      [...targets.map((_, index) => held(one.targets, index)), ...features.map((name) => held(one.values, name))],
    ),
  );
  const asked = line("this row, predicted", "0", [...answers.map((one) => cell(one)), ...features.map((name) => cell(row[name]))]);
  asked.className = "best";
  const heads = ["Row", "Distance", ...targets, ...features].map((name, index) =>
    element("th", { scope: "col", class: index ? "number given" : null, title: name }, short(name)),
  );
  const table = element(
    "table",
    {},
    element("caption", { class: "unseen" }, "The nearest training rows"),
    element("thead", {}, element("tr", {}, ...heads)),
    element("tbody", {}, asked, ...lines),
  );
  const unknown = neighbours.some((one) => one.row === null);
  const gone = neighbours.some((one) => one.values === null);
  const told = "By the distance that the model learned. Rows of the dataset count from 0.";
  const missing = unknown ? "The model does not record which rows of the dataset some are." : "The dataset of some is gone, and their values with it.";
  return [
    element("h4", {}, "Nearest training rows"),
    element("p", { class: "soft" }, gone ? `${told} ${missing}` : told),
    element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "The nearest training rows" }, table),
  ];
}

/** A cell of a training row; nothing where its dataset is gone. */
function held(cells, key) {
  return cells === null ? "–" : cell(cells[key]);
}

function cell(value) {
  if (value === null) return "missing";
  return typeof value === "number" ? number(value) : short(value);
}
