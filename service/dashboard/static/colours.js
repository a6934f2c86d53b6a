// The page's colours as numbers, for what is painted pixel by pixel.

const cache = new Map();
document.addEventListener("theme", () => cache.clear());

export function colour(name) {
  if (!cache.has(name)) {
    const probe = document.createElement("span");
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    cache.set(name, getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number));
    probe.remove();
  }
  return cache.get(name);
}

/** The colour of a value on a scale that diverges from 0; small values are lifted, so that they can be told from 0. */
export function diverging(value, most) {
  const share = Math.min(Math.abs(value) / (most || 1), 1) ** 0.6;
  const zero = colour("zero");
  const end = colour(value < 0 ? "minus" : "plus");
  return `rgb(${zero.map((part, index) => Math.round(part + (end[index] - part) * share)).join(" ")})`;
}
