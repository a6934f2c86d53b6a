// Curves of a fit: training and validation of one metric share a chart.
import { element } from "./elements.js";
import { words } from "./format.js";
import { lines } from "./charts.js";

/** ``steps``: [{ at, metrics }] in order. ``mark``: the chosen one. */
export function curves(steps, across, mark = null) {
  const names = [...new Set(steps.flatMap((step) => Object.keys(step.metrics)))];
  const kinds = [...new Set(names.map((name) => name.replace(/^(train|validation)_/, "")))];
  const charts = kinds.map((kind) => {
    const series = [];
    for (const [part, said, colour, dashed] of [
      ["validation_", "validation", 0, false],
      ["train_", "training", 1, true],
      ["", words(kind), 0, false],
    ]) {
      const points = steps.filter((step) => part + kind in step.metrics).map((step) => [step.at, step.metrics[part + kind]]);
      if (points.length) series.push({ name: said, points, dashed, colour });
    }
    return lines({ title: words(kind), across, series, mark });
  });
  return element("div", { class: "charts" }, ...charts);
}
