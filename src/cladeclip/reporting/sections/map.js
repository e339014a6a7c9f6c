// The map of embeddings: vegaEmbed draws, and this gives it its points. Drawn on a canvas, which stays fluid with 10,000.
{
  const { map, palette, shapes } = JSON.parse(document.getElementById("map-data").textContent);
  const element = name => document.getElementById(`map-${name}`), tip = document.getElementById("tip");
  const [model, method, colour, search, legend, tools] = ["model", "method", "colour", "search", "legend", "tools"].map(element);
  const SVG = "http://www.w3.org/2000/svg";
  const PATHS = { circle: "M6 1a5 5 0 1 0 .01 0", square: "M1 1h10v10H1z", "triangle-up": "M6 1l5 10H1z", diamond: "M6 0l6 6-6 6-6-6z", cross: "M4 0h4v4h4v4H8v4H4V8H0V4h4z" };

  const rows = () => {
    const [x, y] = map.models[model.value][method.value], texts = map.colours[colour.value];
    const groups = [...new Set(texts)].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    const place = new Map(groups.map((group, at) => [group, at])), few = groups.length <= palette.length;
    const wanted = search.value.toLowerCase();
    return texts.map((text, index) => ({
      x: x[index], y: y[index], index, colour: place.get(text) % palette.length,
      shape: (few ? place.get(text) : Math.floor(place.get(text) / palette.length)) % shapes.length,
      faded: Number(!(map.images[index][1] + " " + text).toLowerCase().includes(wanted)),
    }));
  };
  const explain = () => {
    const groups = [...new Set(map.colours[colour.value])].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    if (groups.length > palette.length) {
      legend.textContent = `${groups.length} names share ${palette.length} colours and ${shapes.length} shapes: point at one to read its name.`;
      return;
    }
    legend.replaceChildren(...groups.map((group, at) => {
      const mark = document.createElementNS(SVG, "svg"), path = document.createElementNS(SVG, "path");
      for (const [name, value] of [["width", 12], ["height", 12], ["aria-hidden", "true"]]) mark.setAttribute(name, value);
      path.setAttribute("d", PATHS[shapes[at % shapes.length]]); path.setAttribute("fill", palette[at]); mark.append(path);
      return make("span", {}, mark, " " + group);
    }));
  };
  // Names are set as text, never as markup: they come from the data.
  const point = (_handler, event, item, value) => {
    tip.hidden = value === undefined || value === null;  // null when the pointer leaves
    if (tip.hidden) return;
    const index = item.datum.index;
    const [id, name, picture] = map.images[index];
    const lines = [make("b", { textContent: name }), make("div", { textContent: map.colours[colour.value][index] }), make("small", { textContent: id })];
    tip.replaceChildren(...(picture ? [make("img", { src: picture, alt: "" })] : []), ...lines);
    const right = event.clientX + tip.offsetWidth + 24 > innerWidth, low = event.clientY + tip.offsetHeight + 24 > innerHeight;
    tip.style.left = `${Math.max(0, right ? event.clientX - tip.offsetWidth - 12 : event.clientX + 12)}px`;
    tip.style.top = `${Math.max(0, low ? event.clientY - tip.offsetHeight - 12 : event.clientY + 12)}px`;
  };

  map.spec.data.find(data => data.name === "points").values = rows();
  vegaEmbed("#map", map.spec, { ast: true, actions: false, defaultStyle: false, renderer: "canvas", tooltip: point }).then(({ view }) => {
    const draw = () => {
      view.change("points", view.changeset().remove(() => true).insert(rows())).run();
      explain();
    };
    for (const control of [model, method, colour, search]) control.addEventListener("input", draw);
    explain();
    tools.append(
      button("Save as SVG", async () => save("map-of-embeddings.svg", await view.toSVG(), "image/svg+xml")),
      button("Save its points as CSV", () => {
        const head = ["picture", "name", colour.value, "x", "y"];
        const lines = rows().map(row => [map.images[row.index][0], map.images[row.index][1], map.colours[colour.value][row.index], String(row.x), String(row.y)]);
        save("map-of-embeddings.csv", FORMATS.CSV([head, ...lines]), "text/csv");
      }));
    document.getElementById("map").dataset.drawn = "yes";
  });
}
