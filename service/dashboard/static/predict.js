// One row from a form: the answer, for classes how sure the model is, and when asked for why.
import { send, unknownCategories } from "./api.js";
import { shareTable } from "./charts.js";
import { clear, complain } from "./complaints.js";
import { element } from "./elements.js";
import { number } from "./format.js";
import { reasons } from "./why.js";

export function start(form) {
  const answer = form.querySelector("[data-answer]");
  const why = form.parentElement.querySelector("[data-why]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clear(form);
    answer.replaceChildren();
    why.hidden = true;
    const asked = row(form);
    try {
      let unknown = "";
      const told = (headers) => { unknown = unknownCategories(headers); };
      const found = await send(`/v1/models/${form.dataset.predict}/predict`, { rows: [asked] }, told);
      answer.replaceChildren(...shown(form.dataset.targets, found, opener(form, asked, why)));
      if (unknown) answer.append(element("p", { class: "note" }, unknown));
    } catch (problem) {
      complain(form, problem);
    }
  });
}

/** The button beside the answer to ``asked`` that shows its reasons in ``why``. */
function opener(form, asked, why) {
  const button = element("button", { type: "button" }, "Why?");
  button.addEventListener("click", async () => {
    clear(form);
    try {
      const found = await send(`/v1/models/${form.dataset.predict}/explain`, { rows: [asked] });
      // another row may have been asked about since
      if (!button.isConnected) return;
      why.querySelector("[data-reasons]").replaceChildren(...reasons(asked, found, form.dataset.dataset));
      why.hidden = false;
      why.querySelector("h3").focus();
    } catch (problem) {
      complain(form, problem);
    }
  });
  return button;
}

function row(form) {
  const found = {};
  for (const input of form.querySelectorAll("[data-name]")) found[input.dataset.name] = cell(input);
  return found;
}

function cell(input) {
  const { value, dataset: { type } } = input;
  const text = value.trim();
  if (value === "" || (text === "" && type !== "categorical")) return null;
  if (type === "datetime" || type === "text") return text;
  if (type === "boolean") return text === "true";
  if (type === "categorical") return category(input);
  // what is no number is sent as it is: the service says what is wrong with it
  return Number.isFinite(Number(text)) ? Number(text) : text;
}

/** A category is its text to the last space; a text area makes all its line breaks the same. */
function category({ value, dataset: { offered = "[]" } }) {
  return JSON.parse(offered).find((text) => text.replace(/\r\n?/g, "\n") === value) ?? value;
}

function shown(targets, { predictions: [prediction], classes, probabilities }, button) {
  const said = Array.isArray(prediction) ? prediction.map((one) => number(one)).join(", ") : typeof prediction === "number" ? number(prediction) : String(prediction);
  const parts = [element("p", {}, `${targets}: `, element("strong", { class: "number" }, said), " ", button)];
  if (classes) {
    const rows = classes.map((one, index) => ({ feature: String(one), share: probabilities[0][index] }));
    parts.push(shareTable(rows.sort((a, b) => b.share - a.share).slice(0, 10), "Probabilities of the classes"));
  }
  return parts;
}
