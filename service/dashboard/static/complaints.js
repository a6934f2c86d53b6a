// What a problem document says of a form, at its fields: each has the pointer of its value in data-at.
import { say } from "./api.js";

/** Take back what was said of an earlier attempt. */
export function clear(form) {
  for (const error of form.querySelectorAll(".error")) {
    error.hidden = true;
    // what is hidden still describes its input
    error.textContent = "";
  }
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
}

/** Say what is wrong at the fields that hold it, and the rest at the end of the form. */
export function complain(form, problem) {
  const left = [];
  let first = null;
  for (const { pointer, message } of problem.errors) {
    const field = nearest(form, pointer);
    if (!field) {
      left.push(`${pointer}: ${message}`);
      continue;
    }
    const error = field.querySelector(".error");
    error.textContent = message;
    error.hidden = false;
    const input = field.querySelector('input:not([type="hidden"]), select, textarea');
    input.setAttribute("aria-invalid", "true");
    field.closest("details")?.setAttribute("open", "");
    first ??= input;
  }
  if (problem.errors.length === 0) left.push(problem.message);
  const rest = form.querySelector("[data-form-error]");
  rest.textContent = left.join(" ");
  rest.hidden = left.length === 0;
  if (first) first.focus();
  say(problem.message);
}

/** The field of a pointer, or of the thing around it: an option that is wrong inside of "spec" may name "/spec". */
function nearest(form, pointer) {
  const fields = [...form.querySelectorAll(".field[data-at]")].filter((field) => !field.hidden);
  for (let at = pointer; at; at = at.slice(0, at.lastIndexOf("/"))) {
    const found = fields.find((field) => field.dataset.at === at);
    if (found) return found;
  }
  return null;
}
