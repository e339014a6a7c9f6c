const make = (tag, properties, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

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

for (const table of document.querySelectorAll("table.sorted")) {
  const body = table.tBodies[0];
  const filters = [...document.querySelectorAll(`[data-table="${table.id}"] [data-filter]`)];
  const show = () => {
    for (const row of body.rows)
      row.hidden = filters.some(f => { const cell = row.cells[f.dataset.filter].textContent;
        return f.value && (f.type === "search" ? !cell.toLowerCase().includes(f.value.toLowerCase()) : cell !== f.value); });
  };
  for (const f of filters) f.addEventListener("input", show);
  table.tHead.addEventListener("click", event => {
    const head = event.target.closest("th"); if (!head) return;
    const column = head.cellIndex, up = head.getAttribute("aria-sort") !== "ascending";
    for (const th of table.tHead.rows[0].cells) th.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    // A number's cell may hold its interval in a second line; an empty one comes first.
    const text = row => row.cells[column].textContent, number = head.classList.contains("n");
    const value = row => { const found = parseFloat(row.cells[column].firstChild?.textContent ?? ""); return isNaN(found) ? -1 : found; };
    const order = (a, b) => number ? value(a) - value(b) : text(a).localeCompare(text(b));
    [...body.rows].sort((a, b) => up ? order(a, b) : order(b, a)).forEach(row => body.append(row));
  });
  show();
  const rows = () => [table.tHead.rows[0], ...[...body.rows].filter(row => !row.hidden)].map(row => [...row.cells].map(textOf));
  const said = make("span", { role: "status" });
  const buttons = Object.entries(FORMATS).map(([name, format]) => make("button", { type: "button", textContent: name,
    onclick: async () => { await copy(format(rows())); said.textContent = `${rows().length - 1} rows copied as ${name}.`; } }));
  table.closest(".scroll").before(make("p", { className: "tools" }, "Copy the rows shown as ", ...buttons, said));
}

for (const chart of document.querySelectorAll(".chart")) {
  const save = () => {
    const url = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(chart.querySelector("svg"))], { type: "image/svg+xml" }));
    make("a", { href: url, download: chart.dataset.name + ".svg" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  };
  chart.after(make("p", { className: "tools" }, make("button", { type: "button", textContent: "Save as SVG", onclick: save })));
}
