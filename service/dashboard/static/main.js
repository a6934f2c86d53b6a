// Begins a page: what needs scripts is shown, and every part gets its behaviour.
import { enliven } from "./parts.js";

for (const hidden of document.querySelectorAll("[data-script]")) hidden.hidden = false;
await enliven(document);
document.documentElement.dataset.ready = "yes";
