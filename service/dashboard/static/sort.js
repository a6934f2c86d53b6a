// Tables that sort by a column when its head is pressed. Cells may carry the value to sort by in data-value.

export function start(table) {
  const heads = [...table.tHead.rows[0].cells];
  for (const [place, head] of heads.entries()) {
    if (head.tagName !== "TH" || "plain" in head.dataset || head.querySelector("button")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const way = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", way);
      sort(table.tBodies[0], place, way === "ascending" ? 1 : -1);
    });
  }
}

function sort(body, place, sign) {
  const rows = [...body.rows].map((row) => ({ row, key: keyOf(row.cells[place]) }));
  rows.sort((a, b) => {
    // what is missing comes last both ways
    if (a.key === "" || b.key === "") return (a.key === "") - (b.key === "");
    if (typeof a.key === "number" && typeof b.key === "number") return sign * (a.key - b.key);
    return sign * String(a.key).localeCompare(String(b.key), undefined, { numeric: true });
  });
  body.append(...rows.map(({ row }) => row));
}

function keyOf(cell) {
  const text = (cell.dataset.value ?? cell.textContent).trim();
  if (text === "" || text === "–" || text === "None") return "";
  const number = Number(text.replaceAll("\u202f", ""));
  return Number.isNaN(number) ? text : number;
}
