// Calls of the HTTP interface. What goes wrong is a Problem with the sentence that the service said.

export class Problem extends Error {
  constructor(status, document) {
    super(document?.detail ?? `the service answered ${status}`);
    this.status = status;
    this.errors = document?.errors ?? [];
  }
}

export async function ask(path, { method = "GET", body, headers = {}, accept = "application/json" } = {}) {
  const answer = await fetch(path, { method, body, headers: { Accept: accept, ...headers } }).catch(() => {
    throw new Problem(0, { detail: "The service cannot be reached. Is it running?" });
  });
  if (answer.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  if (!answer.ok) throw new Problem(answer.status, await answer.json().catch(() => null));
  if (answer.status === 204) return null;
  return accept === "application/json" ? answer.json() : answer.blob();
}

export function send(path, document) {
  return ask(path, {
    method: "POST",
    body: JSON.stringify(document),
    headers: { "Content-Type": "application/json" },
  });
}

const TYPES = {
  csv: "text/csv",
  parquet: "application/vnd.apache.parquet",
  arrow: "application/vnd.apache.arrow.file",
  arrows: "application/vnd.apache.arrow.stream",
  npz: "application/x-npz",
  json: "application/json",
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
