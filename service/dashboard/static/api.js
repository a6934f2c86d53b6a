// Calls of the HTTP interface. What goes wrong is a Problem with the sentence that the service said.

export class Problem extends Error {
  constructor(status, document) {
    super(document?.detail ?? `the service answered ${status}`);
    this.status = status;
    this.errors = document?.errors ?? [];
    this.damaged = ["artifact_corrupt", "artifact_missing"].includes(document?.code);
  }
}

/** ``told`` hears the head of an answer that is no problem. */
export async function ask(path, { method = "GET", body, headers = {}, accept = "application/json", told = () => {} } = {}) {
  const answer = await fetch(path, { method, body, headers: { Accept: accept, ...headers } }).catch(() => {
    throw new Problem(0, { detail: "The service cannot be reached. Is it running?" });
  });
  if (answer.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  if (!answer.ok) throw new Problem(answer.status, await answer.json().catch(() => null));
  told(answer.headers);
  if (answer.status === 204) return null;
  return accept === "application/json" ? JSON.parse(await answer.text(), exactly) : answer.blob();
}

/** Integers that a number of JavaScript would round stay as they are written, where the browser tells how that is. */
function exactly(key, value, context) {
  const rounded = Number.isInteger(value) && !Number.isSafeInteger(value);
  return rounded && /^-?\d+$/.test(context?.source ?? "") ? context.source : value;
}

export function send(path, document, told) {
  return ask(path, {
    told,
    method: "POST",
    body: JSON.stringify(document),
    headers: { "Content-Type": "application/json" },
  });
}

/** A sentence on the categories that a prediction met and the model does not know; nothing where there are none. */
export function unknownCategories(headers) {
  const columns = Object.entries(JSON.parse(headers.get("Unknown-Categories") ?? "{}"));
  if (columns.length === 0) return "";
  const named = columns.map(([name, count]) => `${name} (${count} ${count > 1 ? "rows" : "row"})`);
  return `Rows hold categories that no training row had: ${named.join(", ")}.`;
}

const TYPES = {
  csv: "text/csv",
  tsv: "text/tab-separated-values",
  xlsx: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
  parquet: "application/vnd.apache.parquet",
  arrow: "application/vnd.apache.arrow.file",
  arrows: "application/vnd.apache.arrow.stream",
  npz: "application/x-npz",
  json: "application/json",
  ndjson: "application/x-ndjson",
  jsonl: "application/x-ndjson",
};

/** The media type of a file by the end of its name; a name that tells nothing is a Problem. */
export function mediaType(file) {
  const type = TYPES[file.name.split(".").pop().toLowerCase()];
  if (!type) {
    const endings = Object.keys(TYPES).map((ending) => `.${ending}`).join(", ");
    throw new Problem(415, { detail: `${file.name} tells no form by its name. It should end in ${endings}.` });
  }
  return type;
}

/** Tell something to those who listen to the page. */
export function say(text) {
  document.getElementById("said").textContent = text;
}
