// Figures as people read them, as service/dashboard/formats.py writes them.

export function number(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return value.toLocaleString("en").replaceAll(",", "\u202f");
  const rounded = Number(value.toPrecision(digits));
  const size = Math.abs(rounded);
  return size !== 0 && (size < 1e-4 || size >= 10 ** digits) ? rounded.toExponential() : String(rounded);
}

/** A metric: its zeros at the end stay, so that those of a column line up. */
export function score(value) {
  if (value === null || value === undefined || !Number.isFinite(value) || Math.abs(value) >= 1000) return number(value);
  return value === 0 || Math.abs(value) >= 1e-4 ? value.toPrecision(4) : value.toExponential(3);
}

/** A name, the middle of a long one left out. */
export function short(name, most = 60) {
  const text = String(name);
  const end = Math.floor(most / 3);
  return text.length <= most ? text : `${text.slice(0, most - end - 1)}…${text.slice(-end)}`;
}

export function signed(value, digits = 3) {
  return (value > 0 ? "+" : value < 0 ? "−" : "") + number(Math.abs(value), digits);
}

export function percent(share) {
  if (share === null || share === undefined) return "–";
  return `${(100 * share).toFixed(1)}\u202f%`;
}

export function size(bytes) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${bytes} bytes` : `${bytes.toFixed(1)} ${units[unit]}`;
}

/** A count that may be huge, in words. */
export function large(count) {
  const names = ["", " thousand", " million", " billion", " trillion"];
  const step = Math.min(Math.max(Math.floor(Math.log10(count || 1) / 3), 0), names.length - 1);
  return number(count / 1000 ** step, 3) + names[step];
}

export function duration(seconds) {
  if (seconds < 1) return `${Math.round(1000 * seconds)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
}

export function words(name) {
  const said = name.replaceAll("_", " ").replace("agop", "AGOP").replace("rmse", "RMSE").replace("brier", "Brier").replace("r2", "R²");
  return said.charAt(0).toUpperCase() + said.slice(1);
}
