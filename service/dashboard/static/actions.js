// Buttons that change something: asked about first where it cannot be undone.
import { ask, say } from "./api.js";

export function start(button) {
  button.addEventListener("click", async () => {
    if (button.dataset.confirm && !confirm(button.dataset.confirm)) return;
    button.disabled = true;
    try {
      const { action, method, body } = button.dataset;
      await ask(action, { method, body, headers: body ? { "Content-Type": "application/json" } : {} });
      if (button.dataset.then) location.assign(button.dataset.then);
      else location.reload();
    } catch (problem) {
      button.disabled = false;
      say(problem.message);
      alert(problem.message);
    }
  });
}
