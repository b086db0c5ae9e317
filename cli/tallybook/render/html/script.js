"use strict";
// What a page can do where scripts may run; without them every figure is there all the same.

/** The value that a cell sorts by: exact where it says so, else the number shown; null: unknown. */
function number(cell) {
  const text = cell.dataset.v ?? cell.textContent.replace(/[^\d.]/g, "");
  return text === "" ? null : Number(text);
}

/** Let a click on a heading sort its table; numbers first go down, unknown cells stay last. */
function sorting(table) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, place) => {
    const isText = heading.className !== "";
    const value = isText ? (row) => row.cells[place].textContent : (row) => number(row.cells[place]);
    const sort = () => {
      const first = isText ? "ascending" : "descending";
      const other = isText ? "descending" : "ascending";
      const order = heading.getAttribute("aria-sort") === first ? other : first;
      const sign = order === "ascending" ? 1 : -1;
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", order);
      const rows = [...table.tBodies[0].rows].map((row) => [value(row), row]);
      rows.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        return sign * (isText ? a.localeCompare(b) : a - b);
      });
      table.tBodies[0].append(...rows.map(([, row]) => row));
    };
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", sort);
    heading.append(button);
  });
}

/** Show only the rows that hold every word of what is typed. */
function searching(table, place) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < 8) return;
  const box = place.querySelector("input"), found = place.querySelector("output");
  let texts = null;
  place.hidden = false;
  box.addEventListener("input", () => {
    texts ??= rows.map((row) => [...row.cells].map((cell) => cell.textContent.toLowerCase()).join("\n"));
    const words = box.value.toLowerCase().split(/\s+/);
    let count = 0;
    rows.forEach((row, n) => {
      row.hidden = !words.every((word) => texts[n].includes(word));
      count += !row.hidden;
    });
    const all = rows.length.toLocaleString("en");
    const only = `${count.toLocaleString("en")} of ${all} rows; the total is of all`;
    found.textContent = box.value.trim() ? only : "";
  });
}

/** Say below a chart what the bars under the pointer stand for, also where a finger points. */
function telling(section) {
  const readout = section.querySelector(".readout");
  for (const bars of section.querySelectorAll(".plot g")) {
    const words = bars.querySelector("title").textContent;
    bars.addEventListener("pointerenter", () => { readout.textContent = words; readout.hidden = false; });
  }
}

for (const table of document.querySelectorAll("table")) {
  sorting(table);
  searching(table, table.closest("section").querySelector(".search"));
}
document.querySelectorAll(".plot").forEach((plot) => telling(plot.closest("section")));
