// What is said about a model: its description and its tags.
import { ask } from "./api.js";
import { clear, complain } from "./complaints.js";

export function start(form) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clear(form);
    const { description, tags } = form.elements;
    const wanted = {
      description: description.value.trim() || null,
      tags: tags.value.split(",").map((tag) => tag.trim()).filter(Boolean),
    };
    try {
      await ask(form.dataset.change, {
        method: "PATCH",
        body: JSON.stringify(wanted),
        headers: { "Content-Type": "application/json" },
      });
      location.reload();
    } catch (problem) {
      complain(form, problem);
    }
  });
}
