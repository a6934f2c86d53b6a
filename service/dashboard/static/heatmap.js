// A matrix as a heatmap: named axes, a cell under the pointer or moved to by arrow keys, the same as a table.
import { say } from "./api.js";
import { colour, diverging } from "./colours.js";
import { element } from "./elements.js";
import { number, short, signed } from "./format.js";

const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
const MIN_LABEL = 11;
const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

export class Heatmap {
  constructor(place, title) {
    this.title = title;
    this.names = [];
    this.cell = null;
    this.canvas = element("canvas", { tabindex: 0, role: "application", "aria-roledescription": "heatmap" });
    this.tip = element("div", { class: "tip", hidden: "", "aria-hidden": "true" });
    this.legend = element("canvas", { "aria-hidden": "true" });
    this.ends = [element("span", { class: "number" }), element("span", { class: "number" })];
    this.table = element("details", {}, element("summary", {}, "The same as a table"));
    const box = element("div", { class: "heatmap" }, this.canvas, this.tip);
    box.append(element("p", { class: "scale" }, this.ends[0], this.legend, this.ends[1]), this.table);
    place.replaceChildren(box);
    this.canvas.addEventListener("pointermove", (event) => this.point(this.at(event)));
    this.canvas.addEventListener("pointerleave", () => this.point(null));
    this.canvas.addEventListener("blur", () => this.point(null));
    this.canvas.addEventListener("keydown", (event) => this.move(event));
    this.table.addEventListener("toggle", () => this.tabulate());
    document.addEventListener("theme", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(box);
  }

  /** Show a matrix; ``most`` is the value of the ends of the colour scale, by default the largest there is. */
  show(names, matrix, most = null) {
    this.names = names;
    this.matrix = matrix;
    this.most = most ?? Math.max(...matrix.flat().map(Math.abs), 1e-12);
    this.canvas.setAttribute(
      "aria-label",
      `${this.title}: ${names.length} by ${names.length} values from ${signed(Math.min(...matrix.flat()))} to ` +
        `${signed(Math.max(...matrix.flat()))}. Arrow keys move between cells.`,
    );
    this.ends[0].textContent = signed(-this.most);
    this.ends[1].textContent = signed(this.most);
    this.draw();
    this.tabulate();
  }

  layout() {
    const width = this.canvas.parentElement.clientWidth;
    const pen = this.canvas.getContext("2d");
    pen.font = FONT;
    const widest = Math.max(0, ...this.names.map((name) => pen.measureText(name).width));
    const gutter = Math.min(Math.ceil(widest) + 8, width * 0.3, 150);
    const side = Math.max((width - gutter) / Math.max(this.names.length, 1), 1);
    const cell = Math.min(side, 56);
    return { width, gutter, cell, every: Math.max(1, Math.ceil(MIN_LABEL / cell)) };
  }

  draw() {
    const { width, gutter, cell, every } = this.layout();
    if (!this.names.length || !width) return;
    const d = this.names.length;
    const height = gutter + d * cell;
    const sharp = window.devicePixelRatio || 1;
    this.canvas.width = width * sharp;
    this.canvas.height = height * sharp;
    this.canvas.style.height = `${height}px`;
    const pen = this.canvas.getContext("2d");
    pen.scale(sharp, sharp);
    const gap = cell > 8 ? 1 : 0;
    this.matrix.forEach((row, i) => {
      row.forEach((value, j) => {
        pen.fillStyle = diverging(value, this.most);
        pen.fillRect(gutter + j * cell, gutter + i * cell, cell - gap, cell - gap);
      });
    });
    this.label(pen, gutter, cell, every);
    if (this.cell) this.frame(pen, gutter, cell);
    this.scale();
  }

  label(pen, gutter, cell, every) {
    pen.font = FONT;
    pen.fillStyle = `rgb(${colour("soft").join(" ")})`;
    pen.textBaseline = "middle";
    this.names.forEach((name, index) => {
      if (index % every) return;
      const middle = gutter + (index + 0.5) * cell;
      const text = fitted(pen, name, gutter - 8);
      pen.textAlign = "right";
      pen.fillText(text, gutter - 6, middle);
      pen.save();
      pen.translate(middle, gutter - 6);
      pen.rotate(-Math.PI / 2);
      pen.textAlign = "left";
      pen.fillText(text, 0, 0);
      pen.restore();
    });
  }

  frame(pen, gutter, cell) {
    const [i, j] = this.cell;
    pen.strokeStyle = `rgb(${colour("ink").join(" ")})`;
    pen.lineWidth = 2;
    pen.strokeRect(gutter + j * cell, gutter + i * cell, cell, cell);
  }

  scale() {
    this.legend.width = 141;
    this.legend.height = 1;
    const pen = this.legend.getContext("2d");
    for (let x = 0; x < 141; x += 1) {
      pen.fillStyle = diverging((x - 70) / 70, 1);
      pen.fillRect(x, 0, 1, 1);
    }
  }

  at(event) {
    const { gutter, cell } = this.layout();
    const j = Math.floor((event.offsetX - gutter) / cell);
    const i = Math.floor((event.offsetY - gutter) / cell);
    const inside = i >= 0 && j >= 0 && i < this.names.length && j < this.names.length;
    return inside ? [i, j] : null;
  }

  move(event) {
    if (event.key === "Escape") return this.point(null);
    const step = MOVES[event.key];
    if (!step || !this.names.length) return;
    event.preventDefault();
    const last = this.names.length - 1;
    const [i, j] = this.cell ? this.cell.map((at, axis) => Math.min(Math.max(at + step[axis], 0), last)) : [0, 0];
    this.point([i, j]);
    say(this.described());
  }

  described() {
    const [i, j] = this.cell;
    return `${this.names[i]} × ${this.names[j]}: ${signed(this.matrix[i][j])}`;
  }

  point(cell) {
    if (String(cell) === String(this.cell)) return;
    this.cell = cell;
    this.draw();
    this.tip.hidden = cell === null;
    if (cell === null) return;
    const { gutter, cell: side, width } = this.layout();
    this.tip.textContent = this.described();
    const left = gutter + (cell[1] + 0.5) * side + 8;
    this.tip.style.left = `${Math.max(0, Math.min(left, width - this.tip.offsetWidth))}px`;
    this.tip.style.top = `${gutter + (cell[0] + 1) * side + 6}px`;
  }

  tabulate() {
    this.table.querySelector(".scroll")?.remove();
    if (!this.table.open || !this.names.length) return;
    const head = element("tr", {}, element("td"), ...this.names.map((name) => element("th", { scope: "col", class: "given", title: name }, short(name))));
    const rows = this.matrix.map((row, i) =>
      element(
        "tr",
        {},
        element("th", { scope: "row", title: this.names[i] }, short(this.names[i])),
        ...row.map((value) => element("td", { class: "number" }, number(value, 3))),
      ),
    );
    const table = element("table", {}, element("caption", { class: "unseen" }, this.title));
    table.append(element("thead", {}, head), element("tbody", {}, ...rows));
    this.table.append(element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": this.title }, table));
  }
}

function fitted(pen, name, width) {
  if (pen.measureText(name).width <= width) return name;
  let text = name;
  while (text.length > 1 && pen.measureText(`${text}…`).width > width) text = text.slice(0, -1);
  return `${text}…`;
}
