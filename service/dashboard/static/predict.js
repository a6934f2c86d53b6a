// One row from a form: the answer, and for classes how sure the model is.
import { send } from "./api.js";
import { shareTable } from "./charts.js";
import { element } from "./elements.js";
import { number } from "./format.js";

export function start(form) {
  const answer = form.querySelector("[data-answer]");
  const error = form.querySelector("[data-form-error]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    error.hidden = true;
    try {
      const found = await send(`/v1/models/${form.dataset.predict}/predict`, { rows: [row(form)] });
      answer.replaceChildren(...shown(form.dataset.targets, found));
    } catch (problem) {
      answer.replaceChildren();
      error.textContent = problem.message;
      error.hidden = false;
    }
  });
}

function row(form) {
  const found = {};
  for (const input of form.querySelectorAll("[data-name]")) found[input.dataset.name] = cell(input);
  return found;
}

function cell({ value, dataset: { type } }) {
  const text = value.trim();
  if (text === "") return null;
  if (type === "boolean") return text === "true";
  // what is no number is sent as it is: the service says what is wrong with it
  return type === "numeric" && Number.isFinite(Number(text)) ? Number(text) : text;
}

function shown(targets, { predictions: [prediction], classes, probabilities }) {
  const said = Array.isArray(prediction) ? prediction.map((one) => number(one)).join(", ") : typeof prediction === "number" ? number(prediction) : String(prediction);
  const parts = [element("p", {}, `${targets}: `, element("strong", { class: "number" }, said))];
  if (classes) {
    const rows = classes.map((one, index) => ({ feature: String(one), share: probabilities[0][index] }));
    parts.push(shareTable(rows.sort((a, b) => b.share - a.share).slice(0, 10), "Probabilities of the classes"));
  }
  return parts;
}
