// What a cell says on one line: a model by its name in the files, a number with its interval in brackets.
const textOf = cell => {
  const code = cell.querySelector("code"), small = cell.querySelector("small");
  if (code) return code.textContent.trim();
  const text = small ? `${cell.firstChild.textContent.trim()} (${small.textContent.trim()})` : cell.textContent;
  return text.replaceAll("\u200b", "").replace(/\s+/g, " ").trim();
};
// A spreadsheet takes a text that starts like this for a formula.
const harmless = text => /^[=+@\t-]/.test(text) && isNaN(Number(text.split(" ")[0])) ? "'" + text : text;
const FORMATS = {
  CSV: rows => rows.map(row => row.map(text => `"${harmless(text).replaceAll('"', '""')}"`).join(",")).join("\n"),
  Markdown: rows => {
    const line = row => `| ${row.map(text => text.replace(/[\\|<`*_]/g, "\\$&")).join(" | ")} |`;
    return [line(rows[0]), `|${"---|".repeat(rows[0].length)}`, ...rows.slice(1).map(line)].join("\n");
  },
  LaTeX: rows => {
    const named = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "–": "--" };
    const line = row => row.map(text => text.replace(/[\\~^–&%$#_{}]/g, c => named[c] ?? "\\" + c)).join(" & ") + " \\\\";
    return [`\\begin{tabular}{${"l".repeat(rows[0].length)}}`, line(rows[0]), "\\hline", ...rows.slice(1).map(line), "\\end{tabular}"].join("\n");
  },
};
const copy = async text => {
  try { await navigator.clipboard.writeText(text); } catch {
    // A page that was opened from a file may have no clipboard of its own.
    const field = make("textarea", { value: text });
    document.body.append(field); field.select(); document.execCommand("copy"); field.remove();
  }
};

// The heading above an element says what it is about.
const HEADINGS = [...document.querySelectorAll("main :is(h2, h3, h4)")];
const about = element => HEADINGS.findLast(h => h.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING)?.textContent.trim() ?? document.title;
const contents = make("ul");
document.querySelectorAll("main h2").forEach((heading, place) => {
  heading.id = `section-${place + 1}`;
  contents.append(make("li", {}, make("a", { href: `#${heading.id}`, textContent: heading.textContent })));
});
document.getElementById("contents").append(contents);

// What is wider than the page can be scrolled with the keyboard, too.
for (const area of document.querySelectorAll(".scroll")) {
  area.tabIndex = 0; area.setAttribute("role", "group"); area.setAttribute("aria-label", about(area));
}

// A table of more rows than this, without filters of its own, gets a search of all its cells.
const SEARCHED = 12;
document.querySelectorAll("table").forEach((table, place) => {
  table.id ||= `table-${place + 1}`;
  const body = table.tBodies[0], area = table.closest(".scroll");
  for (const th of table.tHead.rows[0].cells) {
    const sort = make("button", { type: "button", title: th.title }, ...th.childNodes);
    th.append(sort);
  }
  if (body.rows.length > SEARCHED && !document.querySelector(`[data-table="${table.id}"]`)) {
    const search = make("input", { type: "search", placeholder: "part of a row" });
    search.dataset.filter = "all";
    const filters = make("p", { className: "filters" }, make("label", {}, "Search ", search));
    filters.dataset.table = table.id; area.before(filters);
  }
  const filters = [...document.querySelectorAll(`[data-table="${table.id}"] [data-filter]`)];
  const hides = (row, f) => {
    const text = f.dataset.filter === "all" ? row.textContent : row.cells[f.dataset.filter].textContent;
    return f.value && (f.type === "search" ? !text.toLowerCase().includes(f.value.toLowerCase()) : text !== f.value);
  };
  const show = () => { for (const row of body.rows) row.hidden = filters.some(f => hides(row, f)); };
  for (const f of filters) f.addEventListener("input", show);
  table.tHead.addEventListener("click", event => {
    const head = event.target.closest("th"); if (!head) return;
    const column = head.cellIndex, up = head.getAttribute("aria-sort") !== "ascending";
    for (const th of table.tHead.rows[0].cells) th.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    // A number's cell may hold its interval in a second line; an empty one comes first.
    const text = row => row.cells[column]?.textContent ?? "", number = head.classList.contains("n");
    const value = row => { const found = parseFloat(row.cells[column]?.firstChild?.textContent ?? ""); return isNaN(found) ? -Infinity : found; };
    const keyed = [...body.rows].map(row => [number ? value(row) : text(row), row]);
    keyed.sort(([a], [b]) => number ? (a > b) - (a < b) : a.localeCompare(b));
    if (!up) keyed.reverse();
    body.append(...keyed.map(([, row]) => row));
  });
  show();
  const rows = () => [table.tHead.rows[0], ...[...body.rows].filter(row => !row.hidden)].map(row => [...row.cells].map(textOf));
  const said = make("span", { role: "status" });
  const buttons = Object.entries(FORMATS).map(([name, format]) => button(name,
    async () => { await copy(format(rows())); said.textContent = `${rows().length - 1} rows copied as ${name}.`; }));
  area.before(make("p", { className: "tools" }, "Copy the rows shown as ", ...buttons, said));
});

for (const chart of document.querySelectorAll(".chart")) {
  const name = chart.dataset.name, numbers = chart.closest("figure").querySelector(".numbers").textContent;
  const drawn = () => new XMLSerializer().serializeToString(chart.querySelector("svg"));
  chart.closest("figure").append(make("p", { className: "tools" },
    button("Save as SVG", () => save(`${name}.svg`, drawn(), "image/svg+xml")),
    button("Save its numbers as CSV", () => save(`${name}.csv`, numbers, "text/csv"))));
}
const settings = document.getElementById("settings");
settings.before(make("p", { className: "tools" }, button("Save as settings.json", () => save("settings.json", settings.textContent, "application/json"))));
