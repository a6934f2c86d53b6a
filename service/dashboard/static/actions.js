// Buttons that change something: asked about first where it cannot be undone.
import { ask, say } from "./api.js";

export function start(button) {
  button.addEventListener("click", async () => {
    if (button.dataset.confirm && !confirm(button.dataset.confirm)) return;
    button.disabled = true;
    try {
      await ask(button.dataset.action, { method: button.dataset.method });
      if (button.dataset.then) location.assign(button.dataset.then);
      else location.reload();
    } catch (problem) {
      button.disabled = false;
      say(problem.message);
      alert(problem.message);
    }
  });
}
