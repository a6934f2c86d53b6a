// Begins a page: what needs scripts is shown, and every part gets its behaviour.
import { enliven } from "./parts.js";

for (const hidden of document.querySelectorAll("[data-script]")) hidden.hidden = false;
await enliven(document);
// until now a press would have sent the form as a page does, and nothing would have come of it
for (const button of document.querySelectorAll("[data-scripted]")) button.disabled = false;
document.documentElement.dataset.ready = "yes";
