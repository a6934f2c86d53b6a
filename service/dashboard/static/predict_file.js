// A file of rows: the first answers at once, all of them to save, behind columns of the file that are to be kept.
import { ask, mediaType, unknownCategories } from "./api.js";
import { dropped } from "./drop.js";
import { element } from "./elements.js";
import { number } from "./format.js";

const SHOWN = 10;

export function start(place) {
  const outcome = place.querySelector(".outcome");
  const answer = place.querySelector("[data-answer]");
  const keep = place.querySelector("[data-keep]");
  let last = null;
  const predict = async (file) => {
    const run = { file };
    last = run;
    outcome.textContent = "";
    answer.replaceChildren(element("p", { class: "soft" }, `Predicting ${file.name} …`));
    try {
      let unknown = "";
      const told = (headers) => { unknown = unknownCategories(headers); };
      const asked = { method: "POST", body: file, headers: { "Content-Type": mediaType(file) }, accept: "text/csv", told };
      const query = keep.value.trim() ? `?keep=${encodeURIComponent(keep.value)}` : "";
      const csv = await ask(`/v1/models/${place.dataset.predictFile}/predict${query}`, asked);
      const text = await csv.text();
      // other columns may have been asked for since
      if (last !== run) return;
      answer.replaceChildren(...shown(text, csv, place.dataset.name));
      if (unknown) answer.append(element("p", { class: "note" }, unknown));
    } catch (problem) {
      if (last !== run) return;
      answer.replaceChildren();
      outcome.textContent = problem.message;
    }
  };
  dropped(place, predict);
  keep.addEventListener("change", () => last && predict(last.file));
}

function shown(text, csv, name) {
  const lines = text.trimEnd().split("\n");
  const preview = element("pre", { tabindex: 0, "aria-label": "The first answers" }, lines.slice(0, SHOWN + 1).join("\n"));
  const save = element("a", { class: "button main", href: URL.createObjectURL(csv), download: `${name}-predictions.csv` }, "Save as CSV");
  return [element("p", {}, `${number(lines.length - 1)} ${lines.length === 2 ? "row" : "rows"} predicted. `, save), preview];
}
