// The distribution of a numeric column, asked for when it comes into sight.
import { ask } from "./api.js";
import { drawn, element } from "./elements.js";
import { number } from "./format.js";

const WIDTH = 190;
const HEIGHT = 38;

const watcher = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      draw(target);
    }
  },
  { rootMargin: "200px" },
);

export function start(place) {
  const empty = drawn("svg", { width: WIDTH, height: HEIGHT, "aria-hidden": "true" });
  place.replaceChildren(empty);
  watcher.observe(place);
}

async function draw(place) {
  try {
    const { edges, counts } = await ask(place.dataset.histogram);
    place.replaceChildren(counts.length ? bins(place.dataset.name, edges, counts) : element("span", { class: "soft" }, "no finite value"));
  } catch (problem) {
    place.textContent = problem.damaged ? "damaged" : problem.message;
    if (problem.damaged) document.querySelector("[data-damaged]").hidden = false;
  }
}

function bins(name, edges, counts) {
  const most = Math.max(...counts);
  const fullest = counts.indexOf(most);
  const said = `Histogram of ${name} from ${number(edges[0])} to ${number(edges.at(-1))}; most rows, ${most}, lie between ${number(edges[fullest])} and ${number(edges[fullest + 1])}`;
  const chart = drawn("svg", { class: "chart small", width: WIDTH, height: HEIGHT, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": said });
  const step = WIDTH / counts.length;
  counts.forEach((count, index) => {
    // a bin with anything in it can be seen
    const tall = count ? Math.max((count / most) * (HEIGHT - 1), 1.5) : 0;
    const bin = drawn("rect", { class: "bin", x: index * step, y: HEIGHT - 1 - tall, width: Math.max(step - 1, 0.6), height: tall });
    bin.append(drawn("title", {}, `${number(edges[index])} to ${number(edges[index + 1])}: ${number(count)} rows`));
    chart.append(bin);
  });
  chart.append(drawn("line", { class: "axis", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }));
  return chart;
}
