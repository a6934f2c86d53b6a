// The matrices of several models side by side: one colour scale, the same columns in the same order.
import { ask } from "./api.js";
import { Heatmap } from "./heatmap.js";

const TOP = 16;

export async function start(section) {
  const places = [...section.querySelectorAll("[data-matrix]")];
  try {
    const learned = await Promise.all(places.map((place) => ask(`/v1/models/${place.dataset.matrix}/features`)));
    const found = await Promise.all(places.map((place, index) => matrix(place, columns(learned, index))));
    const scaled = found.map(({ names, matrix: M }, index) => {
      const trace = learned[index].eigenvalues.reduce((sum, value) => sum + value, 0) || 1;
      return { names, M: M.map((row) => row.map((value) => value / trace)) };
    });
    const most = Math.max(...scaled.flatMap(({ M }) => M.flat().map(Math.abs)));
    scaled.forEach(({ names, M }, index) => {
      new Heatmap(places[index], `Feature matrix of ${places[index].dataset.title}`).show(names, M, most);
    });
  } catch (problem) {
    for (const place of places) place.textContent = problem.message;
  }
}

/** The columns that matter most over all models, of those that this one has. */
function columns(learned, index) {
  const most = new Map();
  for (const { importance } of learned) {
    for (const { feature, share } of importance) most.set(feature, Math.max(share, most.get(feature) ?? 0));
  }
  const own = new Set(learned[index].importance.map((one) => one.feature));
  return [...most].sort((a, b) => b[1] - a[1]).map(([name]) => name).filter((name) => own.has(name)).slice(0, TOP);
}

function matrix(place, names) {
  const query = new URLSearchParams({ fold: true });
  for (const name of names) query.append("columns", name);
  return ask(`/v1/models/${place.dataset.matrix}/features/matrix?${query}`);
}
