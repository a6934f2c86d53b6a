// The curves of a fit that has ended, from the history that its model keeps.
import { ask } from "./api.js";
import { element } from "./elements.js";
import { curves } from "./metrics.js";

export async function start(place) {
  try {
    const { items, chosen } = await ask(place.dataset.history);
    place.replaceChildren(
      curves(items.map(({ iteration, metrics }) => ({ at: iteration, metrics })), "iteration", chosen),
      element("p", { class: "soft" }, `The dotted line is the chosen iteration, ${chosen}.`),
    );
  } catch (problem) {
    place.textContent = problem.message;
  }
}
