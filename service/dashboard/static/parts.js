// The behaviour of each part of a page. A page without such a part loads none of it.
const PARTS = {
  "[data-theme-toggle]": "./toggle.js",
  "[data-action]": "./actions.js",
  "table[data-sortable]": "./sort.js",
  "[data-upload]": "./upload.js",
  "[data-histogram]": "./histogram.js",
  "[data-job-form]": "./form.js",
  "[data-change]": "./change.js",
  "[data-explorer]": "./explorer.js",
  "[data-live]": "./live.js",
  "[data-history]": "./history.js",
  "[data-predict]": "./predict.js",
  "[data-predict-file]": "./predict_file.js",
  "[data-compare]": "./compare.js",
};

export async function enliven(root) {
  for (const [selector, module] of Object.entries(PARTS)) {
    const found = root.querySelectorAll(selector);
    if (found.length === 0) continue;
    const { start } = await import(module);
    for (const part of found) start(part);
  }
}
