// The form of a job: only what differs from the defaults is sent, and what is wrong is said where it is.
import { send } from "./api.js";
import { clear, complain } from "./complaints.js";
import { element } from "./elements.js";
import { duration, large, number, size, words } from "./format.js";
import * as space from "./space.js";

export function start(form) {
  const way = form.querySelector("[data-validation]");
  const show = () => {
    for (const field of form.querySelectorAll("[data-way]")) field.hidden = !field.dataset.way.split(" ").includes(way.value);
  };
  way.addEventListener("change", show);
  show();
  for (const part of form.querySelectorAll("[data-space]")) space.start(part);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const job = await attempt(form, "/v1/jobs");
    if (job) location.assign(`/jobs/${job.id}`);
  });
  form.querySelector("[data-check]").addEventListener("click", async () => {
    const plan = await attempt(form, "/v1/jobs?dry_run=true");
    if (plan) describe(form.querySelector("[data-plan]"), plan);
  });
}

async function attempt(form, path) {
  clear(form);
  for (const button of form.querySelectorAll("[data-scripted]")) button.disabled = true;
  try {
    return await send(path, body(form));
  } catch (problem) {
    complain(form, problem);
    return null;
  } finally {
    for (const button of form.querySelectorAll("[data-scripted]")) button.disabled = false;
  }
}

function body(form) {
  const found = {};
  const usual = [...form.querySelectorAll("[data-space]")].find(space.untouched);
  for (const input of form.querySelectorAll("[data-pointer]:enabled")) {
    if (usual?.contains(input)) continue;
    if ("object" in input.dataset) {
      if (input.type === "hidden" || input.checked) set(found, input.dataset.pointer, {});
      continue;
    }
    const flag = input.type === "checkbox";
    // what is chosen is exact; what is typed may have a space too many
    const given = flag ? (input.checked ? "true" : "") : input.type === "text" ? input.value.trim() : input.value;
    if (given === (input.dataset.default ?? null)) continue;
    if (!flag && given === "") continue;
    set(found, input.dataset.pointer, flag ? input.checked : read(input, given));
  }
  const roles = [...form.querySelectorAll("[data-role]")];
  const having = (role) => roles.filter((one) => one.value === role).map((one) => one.dataset.column);
  const further = having("target").filter((name) => name !== found.target);
  if (further.length) found.target = [found.target, ...further].filter(Boolean);
  if (having("exclude").length) found.exclude = having("exclude");
  const types = [...form.querySelectorAll("[data-type]")].filter((one) => one.value !== "");
  if (types.length) found.columns = Object.fromEntries(types.map((one) => [one.dataset.column, one.value]));
  found.validation = validation(form);
  return found;
}

function validation(form) {
  const way = form.querySelector("[data-validation]").value;
  if (way === "none") return null;
  const given = (name) => form.querySelector(`#validation-${name}`).value.trim();
  if (way === "time") return { time: given("time"), fraction: value(given("fraction")) };
  if (way === "column" || way === "dataset") return { [way]: given(way) };
  const group = given("group");
  return { ...(group ? { group } : {}), [way]: value(given(way)) };
}

function read(input, given) {
  if ("labels" in input.dataset) return weights(given);
  if ("listed" in input.dataset) return given.split(",").map((part) => member(part.trim()));
  // names of columns and models may look like numbers
  return /^\/(spec|search)\//.test(input.dataset.pointer) ? value(given) : given;
}

/** Weights by label, from "yes=20, no=1" or as JSON; a text without them is sent as it is. */
function weights(text) {
  if (!text.includes("=") && !text.startsWith("{")) return text;
  if (text.startsWith("{")) {
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  }
  return Object.fromEntries(text.split(",").map((part) => {
    const mark = part.lastIndexOf("=");
    return mark < 0 ? [part.trim(), ""] : [part.slice(0, mark).trim(), value(part.slice(mark + 1).trim())];
  }));
}

/** A member of a list, where flags are words too. */
function member(text) {
  return text === "true" || text === "false" ? text === "true" : value(text);
}

function value(text) {
  if (text === "null") return null;
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}

function set(found, pointer, content) {
  const steps = pointer.slice(1).split("/");
  const last = steps.pop();
  let inner = found;
  for (const step of steps) inner = inner[step] ??= {};
  inner[last] = content;
}

function describe(place, plan) {
  const facts = {
    Task: plan.task,
    Rows: number(plan.rows),
    "Encoded columns": number(plan.encoded_columns),
    Outputs: number(plan.outputs),
    Memory: size(plan.estimate.bytes),
    Operations: large(plan.estimate.flops),
    ...(plan.estimate.seconds === null ? {} : { "Time, roughly": duration(plan.estimate.seconds) }),
  };
  const list = element("dl", { class: "facts large" });
  for (const [name, said] of Object.entries(facts)) list.append(entry(name, said));
  const spec = element("dl", { class: "spec" });
  for (const [name, said] of Object.entries(plan.request.spec ?? {})) spec.append(entry(words(name), said === null ? "–" : String(said)));
  const told = plan.remarks.map((remark) => element("p", { class: "note", role: "note" }, `${remark}.`));
  place.replaceChildren(element("h2", {}, "This would run"), list, ...told, element("h3", {}, "Resolved spec"), spec);
  if (plan.request.search) {
    const tried = element("dl", { class: "spec" });
    for (const [name, option] of Object.entries(plan.request.search.space)) tried.append(entry(words(name), values(option)));
    place.append(element("h3", {}, "What the search tries"), tried);
  }
  place.hidden = false;
  place.scrollIntoView({ block: "nearest" });
}

/** The values of an option of a search in words. */
function values({ choices, low, high, step, log }) {
  if (choices) return choices.join(", ");
  const way = log ? ", by logarithm" : step ? `, in steps of ${number(step)}` : "";
  return `${number(low)} to ${number(high)}${way}`;
}

function entry(name, said) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, said));
}
