// A job as it runs: its events as they are written, from the first to the last.
import { ask, say } from "./api.js";
import { lines } from "./charts.js";
import { element } from "./elements.js";
import { duration, score, words } from "./format.js";
import { enliven } from "./parts.js";
import { curves } from "./metrics.js";

const ASK_AGAIN = 1000;
const FINAL = ["succeeded", "failed", "cancelled"];
const REFRESHED = ["main > .head", "main > .facts", "[data-parts]", "[data-trials]", "[data-untried]"];
const AGREEMENTS = ["fact", "bfact", "agop_root", "enfa_root"];

export function start(section) {
  new Follower(section).begin();
}

class Follower {
  constructor(section) {
    this.section = section;
    this.path = `/v1/jobs/${section.dataset.job}`;
    this.explorer = document.querySelector("[data-explorer]");
    this.happened = document.querySelector("[data-log]");
    this.steps = [];
    this.trials = [];
    this.layers = [];
    this.changed = false;
    this.wasFinal = section.dataset.final === "yes";
  }

  begin() {
    this.happened.replaceChildren();
    const stream = new EventSource(`${this.path}/events`);
    for (const kind of ["state", "iteration", "trial", "step", "log"]) {
      stream.addEventListener(kind, (message) => {
        const event = JSON.parse(message.data);
        this[kind](event.data, event, stream);
        this.draw();
      });
    }
  }

  async state(data, event, stream) {
    const reason = data.error?.detail ?? data.reason;
    this.note(event, `${data.state}${data.attempt > 1 ? `, attempt ${data.attempt}` : ""}${reason ? `: ${reason}` : ""}`);
    if (!FINAL.includes(data.state)) {
      const stage = this.section.querySelector("[data-stage]");
      if (stage) stage.textContent = data.state;
      if (!this.wasFinal && document.querySelector("[data-state]").textContent.trim() !== data.state) this.refresh();
      if (data.state === "running" && !this.watching) this.watch();
      return;
    }
    // a job that was tried again has an end in the middle of its events
    const job = await ask(this.path);
    if (!FINAL.includes(job.state)) return;
    stream.close();
    this.end(job);
  }

  /** Between events, which come when something is measured, the job itself says how far it is. */
  async watch() {
    this.watching = true;
    while (this.section.querySelector("[data-progress]")) {
      const job = await ask(this.path).catch(() => null);
      if (job && job.state !== "running") break;
      if (job) this.progress(job.progress);
      await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN));
    }
    this.watching = false;
  }

  iteration(data) {
    if (data.fold === null) {
      this.steps = this.steps.filter((step) => step.at < data.iteration);
      this.steps.push({ at: data.iteration, metrics: data.metrics });
      this.explorer?.dispatchEvent(new CustomEvent("iteration", { detail: data.iteration }));
    }
    this.measured(data.metrics);
  }

  trial(data) {
    // trials end in any order; one that ends again is of a search that began afresh
    if (this.trials.some((trial) => trial.trial === data.trial)) this.trials = [];
    this.trials.push(data);
    this.trials.sort((one, other) => one.trial - other.trial);
    if (!this.wasFinal) this.refresh();
  }

  step(data) {
    this.steps = this.steps.filter((step) => step.at < data.step);
    this.layers = this.layers.filter((one) => one.step < data.step);
    this.steps.push({ at: data.step, metrics: { ...data.metrics, loss: data.loss, penalty: data.penalty } });
    this.layers.push({ step: data.step, layers: data.layers });
    this.measured(data.metrics);
  }

  log(data, event) {
    this.note(event, data.message, data.level);
  }

  note(event, message, level = "info") {
    const time = event.created_at.slice(11, 19);
    this.happened.append(element("li", { class: level }, element("time", { class: "soft number", datetime: event.created_at }, time), message));
  }

  progress({ fraction, stage, iteration, iterations, parts, eta_seconds: left }) {
    const bar = this.section.querySelector("[data-progress]");
    if (!bar) return;
    bar.value = fraction;
    const unit = this.section.dataset.kind === "network" ? "step" : "iteration";
    const at = iteration === null ? "" : `, ${unit} ${iteration} of ${iterations}`;
    const shared = !parts ? "" : `: ${parts.done} of ${parts.total} parts done, ${parts.running} running`;
    this.section.querySelector("[data-stage]").textContent = `${stage}${at}${shared}`;
    this.section.querySelector("[data-eta]").textContent = left === null ? "" : `${duration(left)} left`;
  }

  measured(metrics) {
    const shown = Object.entries(metrics).map(([name, value]) =>
      element("div", {}, element("dt", {}, words(name)), element("dd", {}, score(value))),
    );
    if (!this.wasFinal) this.section.querySelector("[data-metrics]").replaceChildren(...shown);
  }

  /** Many events may come at once: they are drawn together. */
  draw() {
    if (this.changed) return;
    this.changed = true;
    requestAnimationFrame(() => {
      this.changed = false;
      const charts = [];
      if (this.trials.length) charts.push(...search(this.trials));
      if (this.steps.length) charts.push(...curves(this.steps, this.layers.length ? "step" : "iteration").children);
      if (this.layers.length) charts.push(...agreements(this.layers));
      if (charts.length) {
        this.section.querySelector("[data-curves]").replaceChildren(element("div", { class: "charts" }, ...charts));
        this.section.hidden = false;
      }
    });
  }

  async end(job) {
    this.section.querySelector(".going")?.remove();
    if (this.explorer) {
      const model = job.state === "succeeded" ? await ask(`${this.path}/features`).catch(() => null) : null;
      this.explorer.dispatchEvent(new CustomEvent("ended", { detail: { chosen: model?.iteration ?? null, state: job.state } }));
    }
    if (this.wasFinal) return;
    say(`The job has ${job.state}`);
    await this.refresh();
    this.section.hidden = !["[data-metrics]", "[data-curves]"].some((one) => this.section.querySelector(one).hasChildNodes());
    this.section.dataset.final = "yes";
  }

  /** Take what the server says of the job now. Who asks meanwhile gets what it says after that. */
  async refresh() {
    this.stale = true;
    this.refreshing ??= this.renewAll();
    await this.refreshing;
  }

  async renewAll() {
    try {
      while (this.stale) {
        this.stale = false;
        await this.renew();
      }
    } finally {
      this.refreshing = null;
    }
  }

  async renew() {
    const answer = await fetch(location.href);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    // until the end the metrics are those of the newest iteration, which the events tell; then of the chosen one
    const ended = page.querySelector("[data-final]")?.dataset.final === "yes";
    for (const selector of ended ? [...REFRESHED, "[data-metrics]"] : REFRESHED) {
      const [old, fresh] = [document.querySelector(selector), page.querySelector(selector)];
      if (!old || !fresh) continue;
      const holder = document.createElement("div");
      holder.append(document.adoptNode(fresh));
      await enliven(holder);
      old.replaceWith(fresh);
    }
  }
}

function search(trials) {
  const ended = trials.filter((trial) => trial.state !== "failed" && trial.losses.length);
  const loss = (trial) => Math.min(...trial.losses.map((parts) => parts[0]));
  const points = ended.map((trial) => [trial.trial, loss(trial)]);
  let best = Infinity;
  const least = points.map(([at, value]) => [at, (best = Math.min(best, value))]);
  return points.length
    ? [lines({ title: "Validation loss", across: "trial", series: [{ name: "best so far", points: least }, { name: "trial", points, dashed: true, colour: 4 }] })]
    : [];
}

/** One chart a layer: how its statistics agree with its weights. */
function agreements(reports) {
  return reports[0].layers.map(({ layer, inputs, outputs }, place) =>
    lines({
      title: `Layer ${layer}, ${inputs} to ${outputs}: correlation with the weights`,
      across: "step",
      series: AGREEMENTS.map((name, colour) => ({
        name: words(name).replace("Bfact", "bFACT").replace("Fact", "FACT").replace("AGOP root", "AGOP^½").replace("Enfa root", "eNFA^½"),
        colour,
        points: reports.filter((one) => one.layers[place][name] !== null).map((one) => [one.step, one.layers[place][name]]),
      })).filter((one) => one.points.length),
    }),
  );
}
