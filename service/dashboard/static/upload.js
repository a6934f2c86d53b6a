// A dropped file becomes a dataset, and its page is shown.
import { mediaType, Problem, say } from "./api.js";
import { dropped } from "./drop.js";
import { size } from "./format.js";

export function start(place) {
  const outcome = place.querySelector(".outcome");
  const progress = place.querySelector("progress");
  dropped(place, async (file) => {
    outcome.textContent = "";
    try {
      const most = Number(place.dataset.most);
      if (file.size > most) {
        throw new Problem(413, { detail: `${file.name} has ${size(file.size)}, and at most ${size(most)} are taken.` });
      }
      progress.hidden = false;
      say(`Uploading ${file.name}`);
      const dataset = await upload(file, (share) => {
        // after the last byte the table is still read
        if (share < 1) progress.value = share;
        else progress.removeAttribute("value");
      });
      location.assign(`/datasets/${dataset.id}`);
    } catch (problem) {
      progress.hidden = true;
      outcome.textContent = problem.message;
    }
  });
}

/** fetch does not tell how far an upload is; XMLHttpRequest does. */
function upload(file, tell) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/v1/datasets?name=${encodeURIComponent(file.name.slice(0, 200))}`);
    request.setRequestHeader("Content-Type", mediaType(file));
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => tell(event.loaded / event.total));
    request.addEventListener("load", () => {
      if (request.status < 300) resolve(request.response);
      else reject(new Problem(request.status, request.response));
    });
    request.addEventListener("error", () => reject(new Problem(0, { detail: "The upload broke off. Try again." })));
    request.send(file);
  });
}
