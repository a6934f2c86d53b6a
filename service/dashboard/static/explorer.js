// What was learned, iteration by iteration: heatmap, top features and eigenvalues under one slider.
//
// A running job tells of new iterations by the event "iteration" on the section; while the slider stands at the newest
// one, it follows.
import { ask } from "./api.js";
import { shareTable, spectrum } from "./charts.js";
import { element } from "./elements.js";
import { number } from "./format.js";
import { Heatmap } from "./heatmap.js";

const TOP_BARS = 10;
const PLAY_MS = 700;
const ENDED = { succeeded: "ended", failed: "failed", cancelled: "was cancelled" };
const UNLEARNED =
  "M is the identity: nothing was learned of the columns. Shares only tell how much each of them varies.";
const DAMAGED = "The file of its feature matrix is damaged or gone: restore it from a backup, or train again.";

export function start(section) {
  new Explorer(section).begin();
}

class Explorer {
  constructor(section) {
    this.section = section;
    this.source = section.dataset.source;
    this.iterations = section.dataset.iterations ? section.dataset.iterations.split(",").map(Number) : [];
    this.chosen = section.dataset.chosen ? Number(section.dataset.chosen) : null;
    this.slider = section.querySelector("#iteration");
    this.shown = section.querySelector("[data-shown]");
    this.kept = new Map();
    this.axes = new Map();
    this.timer = null;
    this.asked = 0;
  }

  begin() {
    const place = this.section.querySelector("[data-heatmap]");
    this.note = element("p", { class: "note" }, this.section.dataset.ended ? "Loading the matrix …" : "The matrix appears after the first iteration.");
    place.replaceChildren(this.note);
    this.slider.addEventListener("input", () => this.show());
    this.section.querySelector("[data-play]").addEventListener("click", (event) => this.play(event.currentTarget));
    for (const input of this.section.querySelectorAll('input[name="view"], [data-top]')) {
      input.addEventListener("change", () => this.show());
    }
    this.section.addEventListener("iteration", (event) => this.add(event.detail));
    this.section.addEventListener("ended", (event) => this.end(event.detail));
    if (this.iterations.length) this.range(this.place(this.chosen));
  }

  place(iteration) {
    const found = this.iterations.indexOf(iteration);
    return found < 0 ? this.iterations.length - 1 : found;
  }

  range(at) {
    this.section.hidden = false;
    this.slider.max = this.iterations.length - 1;
    this.slider.value = at;
    this.show();
  }

  add(iteration) {
    const following = Number(this.slider.value) >= this.iterations.length - 1;
    if (!this.iterations.includes(iteration)) this.iterations.push(iteration);
    if (this.chosen === null && following) {
      this.axes.clear();
      // events of the past come at once: only the last of them is looked at
      clearTimeout(this.coming);
      this.coming = setTimeout(() => this.range(this.iterations.length - 1), 60);
    } else {
      this.slider.max = this.iterations.length - 1;
      if (this.kept.size === 0) this.range(this.place(this.chosen));
    }
  }

  /** The job has ended in ``state``; ``chosen``: the iteration of its model, where it made one that is still there. */
  end({ chosen, state }) {
    clearTimeout(this.coming);
    this.section.dataset.ended = state;
    this.chosen = chosen;
    this.axes.clear();
    if (this.iterations.length) this.range(this.place(chosen));
    else this.note.textContent = `There is no matrix: the job ${ENDED[state]} before its first iteration.`;
  }

  get folded() {
    return this.section.querySelector('input[name="view"]:checked')?.value !== "encoded";
  }

  async show() {
    const iteration = this.iterations[Number(this.slider.value)];
    if (iteration === undefined) return;
    const turn = ++this.asked;
    try {
      const names = await this.columns();
      const [features, matrix] = await Promise.all([
        this.get(`${this.source}/features?iteration=${iteration}`),
        this.get(`${this.source}/features/matrix?${this.query(iteration, names)}`),
      ]);
      // a later wish has overtaken this one
      if (turn === this.asked) this.paint(iteration, features, matrix);
    } catch (problem) {
      if (turn === this.asked && (problem.status !== 409 || this.section.dataset.ended)) this.shown.textContent = this.note.textContent = problem.damaged ? DAMAGED : problem.message;
    }
  }

  /** The columns to show: the most important ones at the chosen or the newest iteration, the same for all others. */
  async columns() {
    const top = Number(this.section.querySelector("[data-top]").value);
    const key = `${this.folded} ${top}`;
    if (!this.axes.has(key)) {
      const at = this.chosen ?? this.iterations.at(-1);
      const features = await this.get(`${this.source}/features?iteration=${at}`);
      const ordered = this.folded ? features.importance : features.encoded_importance;
      this.axes.set(key, ordered.slice(0, top).map((one) => one.feature));
    }
    return this.axes.get(key);
  }

  query(iteration, names) {
    const query = new URLSearchParams({ iteration, fold: this.folded });
    for (const name of names) query.append("columns", name);
    return query;
  }

  get(path) {
    if (!this.kept.has(path)) {
      const asked = ask(path);
      asked.catch(() => this.kept.delete(path));
      this.kept.set(path, asked);
    }
    return this.kept.get(path);
  }

  paint(iteration, features, matrix) {
    this.map ??= new Heatmap(this.section.querySelector("[data-heatmap]"), "Feature matrix");
    this.map.show(matrix.names, matrix.matrix);
    const last = this.iterations.at(-1);
    this.shown.textContent = `${iteration} of ${last}${iteration === this.chosen ? ", the chosen one" : ""}`;
    this.slider.setAttribute("aria-valuetext", this.shown.textContent);
    this.section.querySelector("[data-bars]").replaceChildren(
      shareTable(features.importance.slice(0, TOP_BARS), `Top features at iteration ${iteration}`),
      ...(features.features_learned ? [] : [element("p", { class: "note" }, UNLEARNED)]),
    );
    this.section.querySelector("[data-spectrum]").replaceChildren(spectrum(features.eigenvalues));
    this.section.querySelector("[data-rank]").textContent =
      `effective rank ${number(features.effective_rank, 3)} of ${features.eigenvalues.length}`;
    this.section.dataset.painted = iteration;
  }

  play(button) {
    if (this.timer !== null) {
      clearInterval(this.timer);
      this.timer = null;
    } else {
      if (Number(this.slider.value) >= this.iterations.length - 1) this.slider.value = 0;
      this.show();
      this.timer = setInterval(() => {
        if (Number(this.slider.value) >= this.iterations.length - 1) return this.play(button);
        this.slider.value = Number(this.slider.value) + 1;
        return this.show();
      }, PLAY_MS);
    }
    button.textContent = this.timer === null ? "▶" : "❚❚";
    button.setAttribute("aria-label", this.timer === null ? "Play the iterations" : "Stop playing");
  }
}
