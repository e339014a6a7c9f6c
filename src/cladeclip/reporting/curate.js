// What was done is a list of entries, in their order. All that is shown follows from it and from the page's data, so undoing is
// leaving the last entry out.
const data = JSON.parse(document.getElementById("data").textContent);
const [NAME, EXCLUDE, KEEP] = data.decisions;
const stored = `cladeclip ${data.page}`;
const LISTS = {
  candidates: ["Candidate species", "Pictures without a species' name, in groups that are likely to be one species each, the largest first. Mark pictures that do not belong, and take them out or name them; then accept the name, or give another."],
  suspects: ["Names that look wrong", "The most doubtful first. Beside each picture stand the nearest ones of its own name and of the name that fits better."],
  duplicates: ["Twice", "Pictures that show the same, and specimens that have several names."],
  outliers: ["Fits nowhere", "Pictures that are unlike the others of their name, the most unlike first."],
};
const KEYS = { a: "accept", k: "keep", r: "rename", x: "exclude", o: "out", s: "split", m: "merge", u: "undo", ArrowDown: "next", ArrowUp: "previous" };

let entries = [], cards, decisions, list = Object.keys(LISTS).find(name => data.lists[name].length) ?? "candidates", current = {}, merging = null;
const marked = new Set();
// By picture the last row of the file that the page was made with: decided, and not written again.
const before = new Map(data.earlier.map(([id, ...row]) => [id, row]));
const isOpen = id => !decisions.has(id) && !before.has(id);
const openOf = card => card.ids.filter(isOpen);
const shownOf = name => cards[name].filter(card => card.ids.length);
const currentCard = () => cards[list].find(card => card.id === current[list]);

const fresh = () => {
  decisions = new Map();
  cards = Object.fromEntries(Object.entries(data.lists).map(([name, of]) => [name, of.map((card, place) => ({ ...card, whole: true, id: `${name}-${place}` }))]));
};
const DO = {
  decide: ({ rows, when }) => { for (const [id, ...row] of rows) decisions.set(id, [...row, when]); },
  part: ({ list: of, card: id, ids, into, name }) => {
    const place = cards[of].findIndex(card => card.id === id), card = cards[of][place];
    const take = wanted => {
      const kept = card.ids.map((one, i) => [one, i]).filter(([one]) => ids.includes(one) === wanted).map(([, i]) => i);
      // What was said of the whole says nothing of a part.
      return { ...card, whole: false, ids: kept.map(i => card.ids[i]), names: kept.map(i => card.names[i]), parts: kept.map(i => card.parts[i]) };
    };
    cards[of].splice(place, 1, take(false), { ...take(true), id: into, suggested: name });
  },
  merge: ({ list: of, card: id, into }) => {
    const from = cards[of].find(card => card.id === id), to = cards[of].find(card => card.id === into);
    to.whole = false;
    for (const kind of ["ids", "names", "parts"]) { to[kind] = [...to[kind], ...from[kind]]; from[kind] = []; }
  },
};
const replay = () => { fresh(); for (const entry of entries) DO[entry.do](entry); };
let isKept = true, lastKept = null;
const inBrowser = () => { try { return localStorage.getItem(stored); } catch { return null; } };
const keep = () => {
  const text = JSON.stringify({ made: data.made, entries });
  try { localStorage.setItem(stored, text); isKept = true; lastKept = text; } catch { isKept = false; }
};
// Of an earlier page, whose cards were others, the decisions stay that the file does not have, or has an older one of.
const isNews = ([id, decision, name], when) => {
  const row = before.get(id);
  return !(row && ((row[0] === decision && row[1] === name) || row[3] > when));
};
const load = () => {
  entries = [];
  try {
    lastKept = inBrowser();
    const found = JSON.parse(lastKept ?? "null");
    if (found) entries = found.made === data.made ? found.entries : found.entries.filter(one => one.do === "decide")
      .map(one => ({ ...one, rows: one.rows.filter(row => isNews(row, one.when)) })).filter(one => one.rows.length);
  } catch { /* nothing was kept, or something that is not ours */ }
  replay();
};
const act = entry => { entries.push(entry); DO[entry.do](entry); keep(); };

// Whether another window of this page did something since; then that is shown first, and nothing else is done.
const isBehind = () => {
  if (!isKept || inBrowser() === lastKept) return false;
  load(); marked.clear(); merging = null; show();
  return true;
};

// Marked pictures, or else all open ones of a card.
const chosen = card => { const some = card.ids.filter(id => marked.has(id)); return some.length ? some : openOf(card); };
const decideEach = rows => {
  if (rows.length) act({ do: "decide", rows, when: new Date().toISOString() });
  rows.forEach(([id]) => marked.delete(id));
};
const decide = (ids, decision, name = "", note = "") => decideEach(ids.map(id => [id, decision, name, note]));
const decisionOf = id => decisions.get(id) ?? before.get(id);
// The next provisional name like this one that nothing has: of a part that is another species than the rest.
const nextName = like => {
  const numbered = like.match(/^(.* )\d+$/), stem = numbered ? numbered[1] : `${like.split(" ")[0]} sp. `;
  const taken = new Set([...data.names, ...cards.candidates.map(card => card.suggested), ...[...decisions.values()].map(([, name]) => name)]);
  for (let number = 1; ; number++) if (!taken.has(`${stem}${number}`)) return `${stem}${number}`;
};
const part = (card, ids) => act({ do: "part", list, card: card.id, ids, into: `${card.id}.${entries.length}`, name: nextName(card.suggested) });
// The first place at which the parts of a card's open pictures differ makes two of it.
const halves = card => {
  const open = card.ids.map((id, i) => [id, card.parts[i]]).filter(([id]) => isOpen(id));
  const differ = at => new Set(open.map(([, part]) => part[at] ?? "")).size > 1;
  const longest = Math.max(0, ...open.map(([, part]) => part.length));
  for (let at = 0; at < longest; at++) if (differ(at)) return open.filter(([, part]) => (part[at] ?? "") !== (open[0][1][at] ?? "")).map(([id]) => id);
  return open.slice(Math.ceil(open.length / 2)).map(([id]) => id);
};
const ACTIONS = {
  candidates: {
    accept: card => [`${card.ids.some(id => marked.has(id)) ? "They are" : "All are"} ${card.suggested}`, () => decide(chosen(card), NAME, card.suggested)],
    out: card => ["Take the marked ones out", () => {
      const ids = card.ids.filter(id => marked.has(id) && isOpen(id));
      if (ids.length && ids.length < card.ids.length) part(card, ids);
      marked.clear();
    }],
    split: card => ["Split", () => {
      const ids = halves(card);
      if (ids.length) part(card, ids);
    }],
    merge: card => [merging && merging !== card.id ? "Merge with the dashed one" : "Merge with another", () => {
      if (!merging) { merging = card.id; return; }
      if (merging !== card.id) act({ do: "merge", list, card: merging, into: card.id });
      merging = null;
    }],
  },
  suspects: {
    accept: card => [`It is ${card.suggested}`, () => decide(chosen(card), NAME, card.suggested)],
    keep: card => [`It is ${card.names[0]}`, () => decide(chosen(card), KEEP)],
  },
  duplicates: {
    accept: card => card.same === "picture"
      ? ["Keep the first alone", () => {
        const first = card.ids.find(id => decisionOf(id)?.[0] !== EXCLUDE), open = openOf(card);
        decideEach(open.map(id => id === first ? [id, KEEP, "", ""] : [id, EXCLUDE, "", `shows the same as ${first}`]));
      }]
      : [`All are ${card.suggested}`, () => decide(chosen(card), NAME, card.suggested)],
    keep: card => ["All are right", () => decide(chosen(card), KEEP)],
  },
  outliers: { keep: card => [`It is ${card.names[0]}`, () => decide(chosen(card), KEEP)] },
};
const EVERYWHERE = {
  rename: () => ["Another name", card => ask(card)],
  exclude: () => ["Not a specimen", card => decide(chosen(card), EXCLUDE, "", "not a specimen")],
};
const actionsOf = card => ({ ...ACTIONS[list], ...EVERYWHERE });

const box = document.getElementById("cards");
const articles = new Map();
// Marks are of one card.
const turnTo = card => {
  const left = currentCard();
  if (left === card) return;
  current[list] = card.id;
  const gone = [...marked].filter(id => !card.ids.includes(id));
  gone.forEach(id => marked.delete(id));
  if (gone.length && left && articles.get(left.id)?.dataset.filled) fill(left);
};
const ask = card => {
  const article = articles.get(card.id);
  const field = make("input", { type: "text", placeholder: "a name", required: true });
  field.setAttribute("list", "names"); field.setAttribute("aria-label", "Name");
  const form = make("form", {}, field, " ", make("button", { textContent: "Give this name" }));
  form.addEventListener("submit", event => { event.preventDefault(); const name = field.value.trim(); if (name && !isBehind()) { decide(chosen(card), NAME, name); after(card); } });
  form.addEventListener("keydown", event => { event.stopPropagation(); if (event.key === "Escape") { form.remove(); article.focus(); } });
  article.querySelector("form")?.remove();
  article.querySelector(".tools").after(form); field.focus();
};

const titles = {
  candidates: card => `${card.suggested}: ${card.ids.length} picture${card.ids.length === 1 ? "" : "s"}`,
  suspects: card => `${card.names[0]}, or ${card.suggested}?`,
  duplicates: card => card.same === "picture" ? `The same picture${card.n_names > 1 ? ", under several names" : ""}?` : "One specimen under several names",
  outliers: card => card.names[0],
};
const wordsOf = card => list !== "candidates" || !card.whole ? "" :
  `${card.known ? "Looks like a known species" : card.safe ? `Safe is the ${card.safe}` : "No rank is safe"}. Cosine to the nearest known species ${card.cosine}; among themselves ${card.tightness}.`;
const decided = id => {
  const found = decisionOf(id);
  if (!found) return "";
  const [decision, name] = found;
  return decision === NAME ? name : decision === KEEP ? "right as it is" : "left out";
};
const picture = id => data.pictures[id] ? make("img", { src: data.pictures[id], alt: "" }) : make("span", { textContent: "no picture here" });
const figure = (card, id, name) => {
  const press = make("button", { type: "button", title: id }, picture(id));
  press.setAttribute("aria-pressed", marked.has(id)); press.setAttribute("aria-label", `${name} ${id}`);
  press.addEventListener("click", () => { turnTo(card); marked.has(id) ? marked.delete(id) : marked.add(id); fill(card); mark(); });
  return make("figure", { className: isOpen(id) ? "" : "decided" }, press, make("figcaption", { textContent: decided(id) ? `→ ${decided(id)}` : name, title: id }));
};
const fill = card => {
  const article = articles.get(card.id);
  const focused = [...article.querySelectorAll(".shown button")].indexOf(document.activeElement);
  const tools = make("p", { className: "tools" });
  for (const [name, action] of Object.entries(actionsOf(card))) {
    const [words, run] = action(card);
    const key = Object.keys(KEYS).find(one => KEYS[one] === name);
    const press = button("", () => { if (isBehind()) return; turnTo(card); run(card); if (name !== "rename") after(card); });
    press.append(`${words} `, make("kbd", { textContent: key }));
    press.dataset.action = name;
    tools.append(press);
  }
  const beside = card.beside.map(([words, id]) => make("figure", { className: "beside" }, picture(id), make("figcaption", { textContent: words, title: id })));
  article.replaceChildren(
    make("h2", { textContent: titles[list](card) }), make("p", { className: "words", textContent: wordsOf(card) }), tools,
    make("div", { className: "shown" }, ...card.ids.map((id, i) => figure(card, id, card.names[i])), ...beside));
  article.classList.toggle("done", openOf(card).length === 0);
  article.dataset.filled = "yes";
  if (focused >= 0) article.querySelectorAll(".shown button")[focused]?.focus();
};
// Cards are filled when they come near the window: thousands of pictures stay light.
const near = new IntersectionObserver(seen => {
  for (const one of seen) {
    const card = one.isIntersecting && !one.target.dataset.filled && cards[list].find(card => card.id === one.target.dataset.card);
    if (card) fill(card);
  }
}, { rootMargin: "1200px" });
const show = () => {
  near.disconnect(); articles.clear();
  const made = shownOf(list).map(card => {
    const article = make("article", { className: "card", tabIndex: -1 });
    article.dataset.card = card.id; articles.set(card.id, article);
    return article;
  });
  box.replaceChildren(...made);
  made.forEach(article => near.observe(article));
  document.getElementById("about").textContent = made.length ? LISTS[list][1] : "Nothing is left to look at here.";
  const here = currentCard();
  if (!here || !openOf(here).length) current[list] = (shownOf(list).find(card => openOf(card).length) ?? here ?? shownOf(list)[0])?.id;
  mark(); count();
};
const mark = () => {
  for (const article of box.querySelectorAll(".current, .merging")) article.classList.remove("current", "merging");
  const card = currentCard();
  if (merging) articles.get(merging)?.classList.add("merging");
  if (!card) return;
  const article = articles.get(card.id);
  if (!article.dataset.filled) fill(card);
  article.classList.add("current");
  if (!article.contains(document.activeElement)) { article.focus({ preventScroll: true }); article.scrollIntoView({ block: "nearest" }); }
};
const count = () => {
  const of = Object.keys(LISTS).map(name => [name, shownOf(name)]);
  document.getElementById("tabs").replaceChildren(...of.map(([name, all], place) => {
    const left = all.filter(card => openOf(card).length).length;
    const tab = button(`${LISTS[name][0]}: ${left} of ${all.length} `, () => { list = name; marked.clear(); merging = null; show(); });
    tab.append(make("kbd", { textContent: place + 1 }));
    tab.setAttribute("role", "tab"); tab.setAttribute("aria-selected", name === list); tab.dataset.list = name;
    return tab;
  }));
  document.getElementById("done").textContent = `${decisions.size} picture${decisions.size === 1 ? "" : "s"} decided.${isKept ? "" : " This browser does not keep it: save the file before you close the page."}`;
  document.getElementById("undo").disabled = entries.length === 0;
};
const step = by => {
  const all = shownOf(list), place = all.findIndex(card => card.id === current[list]) + by;
  if (all[place]) { turnTo(all[place]); document.activeElement.blur(); mark(); }
};
// After an action a card is drawn anew; where nothing of it is open, the next open one is the current one.
const after = card => {
  const last = entries.at(-1);
  if (last && last.do !== "decide") { show(); return; }
  if (articles.has(card.id)) fill(card);
  count();
  if (!openOf(card).length) {
    const all = shownOf(list), place = all.indexOf(card);
    const next = all.slice(place + 1).find(one => openOf(one).length) ?? all.find(one => openOf(one).length);
    if (next) { current[list] = next.id; marked.clear(); document.activeElement.blur(); }
  }
  mark();
};
const undo = () => {
  if (isBehind()) return;
  const last = entries.pop();
  if (!last) return;
  replay(); keep(); marked.clear(); merging = null;
  // Back to the card that it was done on.
  const isOf = card => last.rows ? card.ids.includes(last.rows[0][0]) : card.id === last.card;
  const of = [list, ...Object.keys(LISTS)].find(name => cards[name].some(isOf));
  if (of) { list = of; current[of] = cards[of].find(isOf).id; }
  show();
};

const COLUMNS = ["image_id", "decision", "name", "note", "when"];
const csv = () => {
  const rows = [...data.earlier, ...[...decisions].map(([id, row]) => [id, ...row])];
  return [COLUMNS, ...rows].map(row => row.map(text => `"${String(text).replaceAll('"', '""')}"`).join(",")).join("\n") + "\n";
};
document.getElementById("save").addEventListener("click", () => save("decisions.csv", csv(), "text/csv"));
document.getElementById("undo").addEventListener("click", undo);
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input") || isBehind()) return;
  const tab = Object.keys(LISTS)[Number(event.key) - 1];
  if (tab) { list = tab; marked.clear(); merging = null; show(); return; }
  const name = KEYS[event.key], card = currentCard();
  if (!name) {
    if (/^Arrow(Left|Right)$/.test(event.key) && card) {
      const presses = [...articles.get(card.id).querySelectorAll(".shown button")];
      presses.at((presses.indexOf(document.activeElement) + (event.key === "ArrowRight" ? 1 : -1)) % presses.length)?.focus();
      event.preventDefault();
    }
    return;
  }
  event.preventDefault();
  if (name === "undo") undo();
  else if (name === "next" || name === "previous") step(name === "next" ? 1 : -1);
  else if (card && actionsOf(card)[name]) { actionsOf(card)[name](card)[1](card); if (name !== "rename") after(card); }
});

document.getElementById("names").append(...data.names.map(name => make("option", { value: name })));
load();
// Another window of this page.
window.addEventListener("storage", isBehind);
window.addEventListener("focus", isBehind);
window.addEventListener("beforeunload", event => { if (!isKept) event.preventDefault(); });
show();
