// Any memory: who hears what. All numbers are here from the beginning; a choice only draws them anew.

const CONTROL_WORDS = {
  "as learned": "as it is", "silenced": "every value is zero", "same answer": "every value is the mean of all",
  "values dealt anew": "each value belongs to another key", "keys and values dealt anew": "each entry stands in another's place",
};
const SORTS = { number: "number", use: "how often they are heard", share: "what this question hears", effect: "what moves most without them" };
const SHOWN = 5;  // entries that a question hears most
const BAR = "#2f80c8", ANOTHER = "#d55e00";  // seen on white and on black

const percentOf = (share) => (share === 0 ? "0 %" : share < 1e-5 ? "< 0.001 %" : `${Number((100 * share).toPrecision(2))} %`);
const movedBy = (share) => (share < 1e-5 ? "nothing" : percentOf(share));

// arrays out of a description; bytes are pictures, 0 to 255 for 0 to 1
function unpackView(told) {
  const unpack = (value) => {
    if (!(value && value.shape && value.type)) return value;
    const { shape, data } = toTensor(value);
    return { shape, data: value.type === "u1" && shape.length > 2 ? Float32Array.from(data, (byte) => byte / 255) : data };
  };
  const setup = Object.fromEntries(Object.entries(told).map(([name, value]) => [name, unpack(value)]));
  const resolve = (value) => {  // an array stands for its name, wherever it is used
    if (Array.isArray(value)) return value.map(resolve);
    if (!value || typeof value !== "object") return value;
    return value.array ? setup[value.array] : Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, resolve(inner)]));
  };
  return { ...setup, asked: resolve(told.asked), looks: resolve(told.looks), outcomes: resolve(told.outcomes) };
}

function createViewer(setup) {
  const viewer = { setup, state: { ...setup.start } };
  viewer.asked = () => setup.asked[viewer.state.asked];
  viewer.look = (control = viewer.state.control) => setup.looks[control][viewer.state.asked];
  viewer.questions = () => viewer.look().shares.shape[0];
  viewer.entries = () => viewer.look().shares.shape[1];
  viewer.shares = (question = viewer.state.question) => rowOf(viewer.look().shares, question, viewer.entries());
  viewer.hearers = (entry = viewer.state.entry) => Float32Array.from({ length: viewer.questions() }, (_, n) => viewer.look().shares.data[n * viewer.entries() + entry]);
  viewer.use = () => {
    const total = new Float32Array(viewer.entries());
    for (let n = 0; n < viewer.questions(); n++) viewer.shares(n).forEach((share, m) => { total[m] += share / viewer.questions(); });
    return total;
  };
  viewer.outcome = () => (Object.keys(setup.outcomes[viewer.state.asked]).length ? setup.outcomes[viewer.state.asked] : null);
  viewer.effects = (name = Object.keys(viewer.outcome() ?? {})[0]) => {  // of the entries as they stand; where nothing is made, none
    if (name === undefined || !viewer.outcome()) return undefined;
    const own = viewer.outcome()[name].effects.data.subarray(setup.controls.length);
    return Float32Array.from({ length: viewer.entries() }, (_, m) => own[viewer.look().order?.[m] ?? m]);
  };
  viewer.moved = () => viewer.look().moved.data;
  viewer.kind = () => viewer.look().entries[viewer.state.kind];
  viewer.order = () => {
    const numbers = Array.from({ length: viewer.entries() }, (_, m) => m), weight = { use: viewer.use, share: viewer.shares, effect: viewer.effects }[viewer.state.sort]?.();
    return weight ? numbers.sort((a, b) => weight[b] - weight[a]) : numbers;
  };
  viewer.top = () => {
    const shares = viewer.shares();
    return [...shares.keys()].sort((a, b) => shares[b] - shares[a]).filter((m) => shares[m] > 0).slice(0, SHOWN);
  };
  viewer.entryName = (m) => {
    const grid = viewer.kind().grid, own = setup.names?.[viewer.look().order?.[m] ?? m];
    return own ?? (grid ? `place (${Math.floor(m / grid[1])}, ${m % grid[1]})` : `entry ${m}`);
  };
  viewer.questionName = (n) => {
    const { grid, names, seconds } = viewer.asked();
    return names?.[n] ?? (grid ? `place (${Math.floor(n / grid[1])}, ${n % grid[1]})` : seconds ? `${(n * seconds).toFixed(2)} s` : `question ${n}`);
  };
  viewer.accept = (patch) => {  // whatever is not there leaves what there was
    const next = { ...viewer.state, ...patch }, number = (value, count) => Math.min(count - 1, Math.max(0, Math.round(Number(value) || 0)));
    next.asked = number(next.asked, setup.asked.length);
    if (!setup.controls.includes(next.control)) next.control = viewer.state.control;
    if (!Object.hasOwn(SORTS, next.sort)) next.sort = viewer.state.sort;
    if (next.sort === "effect" && !Object.keys(setup.outcomes[next.asked]).length) next.sort = "number";
    if (patch.question === undefined) next.question = samePlace(setup.asked[viewer.state.asked].grid, setup.asked[next.asked].grid, next.question);
    if (patch.entry === undefined) next.entry = sameEntry(setup.looks, viewer.state, next);
    const { shares, entries } = setup.looks[next.control][next.asked];
    if (!Object.hasOwn(entries, next.kind)) next.kind = Object.hasOwn(entries, viewer.state.kind) ? viewer.state.kind : Object.keys(entries)[0];
    viewer.state = { ...next, question: number(next.question, shares.shape[0]), entry: number(next.entry, shares.shape[1]) };
  };
  return viewer;
}

// the question at the same place of another grid
function samePlace(from, to, question) {
  if (!from || !to) return question;
  const scaled = (n, k) => Math.floor(((n + 0.5) / from[k]) * to[k]);
  return scaled(Math.floor(question / from[1]), 0) * to[1] + scaled(question % from[1], 1);
}

// where the chosen entry stands when keys and values are dealt together, and where it stood
function sameEntry(looks, from, to) {
  if (from.control === to.control || from.asked !== to.asked) return to.entry;
  const dealt = ({ control, asked }) => (control.startsWith("keys and values") ? looks[control][asked].order : null), before = dealt(from), after = dealt(to);
  const own = before ? before[to.entry] : to.entry;
  return after ? after.indexOf(own) : own;
}

// ---- pieces

// one thing out of many, on a canvas: by mouse, and by arrow keys
function chooser(title, label, geometry, act, ...below) {
  const canvas = element("canvas", { role: "slider", tabindex: "0", "aria-label": label, "aria-valuemin": 0 }), mark = element("i", { class: "mark" });
  const box = element("figure", {}, element("figcaption", {}, title), element("div", { class: "frame" }, canvas, mark), ...below);
  canvas.addEventListener("click", (event) => {
    const { rows, columns, count } = geometry(), [row, column] = cellAt(event, canvas, rows, columns);
    if (row * columns + column < count) act(row * columns + column);
  });
  canvas.addEventListener("keydown", (event) => {
    const { columns, count, slot } = geometry();
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -slot, End: count - 1 - slot }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    if (slot + step >= 0 && slot + step < count) act(slot + step);
  });
  const draw = (paint, text) => {
    paint(canvas);
    const { rows, columns, count, slot } = geometry();
    place(mark, Math.floor(slot / columns) / rows, (slot % columns) / columns, 1 / rows, 1 / columns);
    for (const [name, value] of [["valuemax", count - 1], ["valuenow", slot], ["valuetext", text]]) canvas.setAttribute(`aria-${name}`, value);
  };
  return { box, canvas, caption: box.firstChild, draw };
}

function place(mark, top, left, height, width) {
  Object.assign(mark.style, { top: `${100 * top}%`, left: `${100 * left}%`, height: `${100 * height}%`, width: `${100 * width}%` });
}

// bars of 64 steps, upright or to the right; one of them in another colour
function drawBars(canvas, values, highest, chosen, upright = true) {
  const count = values.length, size = 64;
  Object.assign(canvas, upright ? { width: count, height: size } : { width: size, height: count });
  const context = canvas.getContext("2d");
  values.forEach((value, n) => {
    const length = value > 0 ? Math.max(1, Math.round((size * value) / (highest || 1))) : 0;
    context.fillStyle = n === chosen ? ANOTHER : BAR;
    if (upright) context.fillRect(n, size - length, 1, length);
    else context.fillRect(0, n, length, 1);
  });
}

// what is measured along time, the first of its numbers below
function drawTrack(canvas, { shape: [height, width], data }, table) {
  const turned = Float32Array.from(data, (_, n) => data[(height - 1 - Math.floor(n / width)) * width + (n % width)]);
  drawMap(canvas, turned, height, width, table, turned.reduce((a, b) => Math.min(a, b)), turned.reduce((a, b) => Math.max(a, b)));
}

const columnsOf = (count, height, width) => Math.min(count, Math.max(1, Math.ceil(Math.sqrt((count * height) / width))));
const gridOf = (count, [, , height, width]) => ({ columns: columnsOf(count, height, width), rows: Math.ceil(count / columnsOf(count, height, width)) });

// pictures (M, 3, h, w) or maps (M, 1, h, w) side by side, in a given order
function drawAlbum(canvas, { shape: [, depth, height, width], data }, order, columns, table, gap = 1) {
  const rows = Math.ceil(order.length / columns), limit = depth === 3 ? 1 : largestOf(data) || 1, area = height * width;
  Object.assign(canvas, { width: columns * (width + gap) - gap, height: rows * (height + gap) - gap });
  const context = canvas.getContext("2d"), one = document.createElement("canvas");
  order.forEach((m, slot) => {
    const inner = data.subarray(m * depth * area, (m + 1) * depth * area);
    if (depth === 3) drawPicture(one, { shape: [3, height, width], data: inner });
    else drawMap(one, inner, height, width, table, -limit, limit);
    context.drawImage(one, (slot % columns) * (width + gap), Math.floor(slot / columns) * (height + gap));
  });
}

// one entry or one answer, whatever it is made of
function drawThing(canvas, { shape, data }, number, form, table, limit) {
  const size = shape.slice(1).reduce((a, b) => a * b, 1), inner = data.subarray(number * size, (number + 1) * size), [height, width] = shape.slice(-2);
  canvas.className = form === "rows" ? "strip" : "thumb";
  if (form === "pictures") drawPicture(canvas, { shape: [3, height, width], data: inner });
  else if (form === "panes") drawMap(canvas, inner, height, width, table, -limit, limit);
  else drawMap(canvas, inner, 1, size, table, -limit, limit);
}

const legendOf = (table, low, high) => [element("i", { class: "scale", style: `background:${rampOf(table)}` }), ` ${low} to ${high}`];

function rampOf(table) {
  const stops = Array.from({ length: 9 }, (_, n) => Array.from(table.subarray(3 * Math.min(255, n * 32), 3 * Math.min(255, n * 32) + 3)));
  return `linear-gradient(90deg, ${stops.map((colour) => `rgb(${colour.join(",")})`).join(", ")})`;
}

// ---- panels

// who asks: places of a picture, moments of a track, pictures, or numbers
function questionPanel(viewer, act) {
  const { signed, sequential } = viewer.setup, legend = element("span", { class: "legend" }), told = element("p", { class: "legend" });
  const geometry = () => {
    const { grid, track, pictures } = viewer.asked(), count = viewer.questions();
    const shape = grid ? { rows: grid[0], columns: grid[1] } : pictures && !track ? gridOf(count, pictures.shape) : { rows: 1, columns: count };
    return { ...shape, count, slot: viewer.state.question };
  };
  const main = chooser("who asks", "question", geometry, (question) => act({ question }));
  const inRow = () => (viewer.asked().grid ? geometry() : { ...geometry(), rows: 1, columns: viewer.questions() });
  const inverse = chooser("", "question, among those who hear the chosen entry", inRow, (question) => act({ question }), legend);
  const mosaic = chooser("all answers, each at its place", "question, among the answers", geometry, (question) => act({ question }));
  const box = element("section", { class: "questions", "aria-label": "the questions" }, main.box, mosaic.box, inverse.box);
  main.box.append(told);
  return { box, draw() {
    const { grid, picture, track, pictures } = viewer.asked(), { rows, columns, count } = geometry(), { answer, form } = viewer.look();
    const n = viewer.state.question, heard = perplexity(viewer.shares());
    const text = `${viewer.questionName(n)} hears ${heard.toPrecision(3)} of ${viewer.entries()} entries`;
    const numbers = Array.from({ length: count }, (_, k) => k), counts = () => Float32Array.from(numbers, (k) => perplexity(viewer.shares(k)));
    box.classList.toggle("places", !!grid);
    main.box.classList.toggle("wide", !grid && (!pictures || !!track));
    main.box.classList.toggle("bars", !(picture || track || pictures || grid));
    main.draw((canvas) => {
      if (picture) drawPicture(canvas, picture);
      else if (track) drawTrack(canvas, track, sequential.data);
      else if (pictures) drawAlbum(canvas, pictures, numbers, columns, signed.data);
      else if (grid) drawMap(canvas, counts(), rows, columns, sequential.data, 1, viewer.entries());
      else drawBars(canvas, counts(), viewer.entries(), n);
    }, text);
    main.canvas.classList.toggle("smooth", !!picture);
    told.textContent = picture || track || pictures ? "" : grid ? `bright: hears many of the ${viewer.entries()} entries` : "how many entries each of them hears";
    mosaic.box.hidden = !(grid && form === "pictures");
    if (!mosaic.box.hidden) mosaic.draw((canvas) => drawAlbum(canvas, answer, numbers, columns, signed.data, 0), text);
    const hearers = viewer.hearers(), most = largestOf(hearers), name = viewer.entryName(viewer.state.entry);
    inverse.caption.textContent = `who hears ${name}`;
    ["wide", "bars"].forEach((word) => inverse.box.classList.toggle(word, !grid));
    inverse.draw((canvas) => (grid ? drawMap(canvas, hearers, rows, columns, sequential.data, 0, most) : drawBars(canvas, hearers, most, n)), `${viewer.questionName(n)} hears ${percentOf(hearers[n])} of ${name}`);
    legend.replaceChildren(...(grid ? legendOf(sequential.data, "0", percentOf(most)) : [`0 to ${percentOf(most)}`]));
  } };
}

// what the chosen question hears, and what it is told
function hearingPanel(viewer, act) {
  const { signed, sequential } = viewer.setup, list = element("ol", { class: "heard" }), legend = element("span", { class: "legend" });
  const geometry = () => ({ rows: viewer.kind().grid?.[0] ?? 1, columns: viewer.kind().grid?.[1] ?? 1, count: viewer.entries(), slot: viewer.state.entry });
  const map = chooser("how much of each place", "entry, by place", geometry, (entry) => act({ entry }), legend);
  const title = element("h3", {}), things = element("div", { class: "things" }), words = element("output", { class: "facts", "aria-live": "polite" });
  const box = element("section", { class: "hearing", "aria-label": "what the question hears" }, title, map.box, list, things, words);
  const thing = (caption, tensor, number, form, limit) => {
    const canvas = canvasOf(caption);
    drawThing(canvas, tensor, number, form, signed.data, limit);
    return element("figure", {}, element("figcaption", {}, caption), canvas);
  };
  return { box, draw() {
    const { question, entry, control } = viewer.state, { answer, form } = viewer.look(), kind = viewer.kind(), shares = viewer.shares(), before = viewer.look("as learned");
    const best = viewer.top(), most = largestOf(shares), { pictures } = viewer.asked();
    title.textContent = `${viewer.questionName(question)} hears …`;
    map.box.hidden = !kind.grid;
    if (kind.grid) map.draw((canvas) => drawMap(canvas, shares, ...kind.grid, sequential.data, 0, most), `${viewer.entryName(entry)}: ${percentOf(shares[entry])}`);
    legend.replaceChildren(...legendOf(sequential.data, "0", `${percentOf(most)}; an equal share is ${percentOf(1 / shares.length)}`));
    const limit = kind.form === "pictures" ? 1 : largestOf(kind.tensor.data) || 1;
    const focused = list.getRootNode().activeElement, held = focused && list.contains(focused) ? focused.dataset.entry : null;
    list.replaceChildren(...best.map((m) => {
      const canvas = kind.grid || m >= kind.tensor.shape[0] ? null : element("canvas", { "aria-hidden": "true" });
      if (canvas) drawThing(canvas, kind.tensor, m, kind.form, signed.data, limit);
      const share = element("span", { class: "share" }, element("i", { style: `width:${100 * shares[m]}%` }));
      return element("li", {}, element("button", { type: "button", "aria-pressed": String(m === entry), "data-entry": m, onclick: () => act({ entry: m }) },
        canvas, element("span", { class: "name" }, viewer.entryName(m)), share, element("b", {}, percentOf(shares[m]))));
    }));
    if (held !== null) list.querySelector(`[data-entry="${held}"]`)?.focus();
    const size = largestOf(before.answer.data) || 1;
    things.replaceChildren(...[
      pictures && thing("the question", pictures, question, "pictures", 1), thing("the answer", answer, question, form, size),
      control !== "as learned" && thing("as learned it was", before.answer, question, form, size)].filter(Boolean));
    words.textContent = `${viewer.questionName(question)} hears ${perplexity(shares).toPrecision(3)} of ${shares.length} entries` +
      (control === "as learned" ? "." : `; its answer moves by ${movedBy(viewer.moved()[question])}.`) + (form === "pictures" ? "" : ` The answer's numbers are drawn from −${size.toPrecision(2)} to ${size.toPrecision(2)}.`);
  } };
}

// what the entries are: pictures, channels of places, or rows of numbers
function entryPanel(viewer, act) {
  const { signed } = viewer.setup, legend = element("span", { class: "legend" });
  const geometry = () => {
    const { form, tensor } = viewer.kind(), order = viewer.order(), count = order.length;
    const shape = form === "rows" ? { rows: count, columns: 1 } : gridOf(count, tensor.shape);
    return { ...shape, count, slot: order.indexOf(viewer.state.entry) };
  };
  const album = chooser("", "entry", geometry, (slot) => act({ entry: viewer.order()[slot] }), legend);
  const sheet = canvasOf(""), maps = element("figure", {}, element("figcaption", {}), element("div", { class: "frame" }, sheet), element("span", { class: "legend" }));
  const box = element("section", { class: "entries", "aria-label": "the entries" }, album.box, maps);
  return { box, draw() {
    const { form, tensor, grid } = viewer.kind(), { kind, entry } = viewer.state, limit = largestOf(tensor.data) || 1, known = Math.min(tensor.shape[0], viewer.entries());
    album.box.hidden = !!grid;
    maps.hidden = !grid;
    const scale = () => legendOf(signed.data, `−${limit.toPrecision(2)}`, limit.toPrecision(2));
    if (grid) {
      const [height, width] = grid, channels = tensor.shape[1], places = height * width;
      const all = Array.from({ length: channels }, (_, c) => Float32Array.from({ length: places }, (__, m) => tensor.data[m * channels + c]));
      drawSheet(sheet, all, all.map((_, c) => c), height, width, columnsOf(channels, height, width), signed.data, limit, []);
      maps.firstChild.textContent = `${kind}: ${channels} numbers at ${height} × ${width} places`;
      sheet.setAttribute("aria-label", `${channels} maps of ${kind}`);
      maps.lastChild.replaceChildren(...scale());
      return;
    }
    const order = viewer.order().filter((m) => m < known), size = tensor.data.length / tensor.shape[0];
    album.caption.textContent = `${kind}: ${known} entries of ${form === "rows" ? `${size} numbers` : `${tensor.shape.slice(-2).join(" × ")} pixels`}`;
    album.draw((canvas) => {
      if (form === "rows") drawMap(canvas, Float32Array.from(order.flatMap((m) => [...rowOf(tensor, m, size)])), order.length, size, signed.data, -limit, limit);
      else drawAlbum(canvas, tensor, order, geometry().columns, signed.data);
      canvas.classList.toggle("tall", form === "rows");
    }, viewer.entryName(entry));
    legend.replaceChildren(...(form === "pictures" ? [] : scale()));
  } };
}

// questions downwards, entries to the right; above what one question hears, beside it who hears one entry, below the use
function matrixPanel(viewer, act) {
  const { sequential } = viewer.setup, matrix = element("canvas", { tabindex: "0", role: "application" }), row = element("i", { class: "mark" }), column = element("i", { class: "mark" });
  const above = canvasOf(""), beside = canvasOf(""), below = canvasOf(""), legend = element("p", { class: "legend" });
  const line = (text) => element("span", { class: "axis" }, text), hears = line("");
  const box = element("section", { class: "matrix", "aria-label": "who hears what" },
    element("h3", {}, "Who hears what"),
    element("div", { class: "joint" },
      hears, element("span"), above, element("span"),
      element("div", { class: "frame" }, matrix, row, column), beside,
      below, element("span"), line("how often each entry is heard by all questions together")),
    legend);
  matrix.addEventListener("click", (event) => {
    const [n, slot] = cellAt(event, matrix, viewer.questions(), viewer.entries());
    act({ question: n, entry: viewer.order()[slot] });
  });
  matrix.addEventListener("keydown", (event) => {
    const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ?? [0, 0], order = viewer.order();
    if (!down && !right) return;
    event.preventDefault();
    act({ question: viewer.state.question + down, entry: order[order.indexOf(viewer.state.entry) + right] ?? viewer.state.entry });
  });
  return { box, draw() {
    const { question, entry } = viewer.state, { shares } = viewer.look(), [count, width] = shares.shape, order = viewer.order(), slot = order.indexOf(entry);
    const sorted = Float32Array.from(shares.data, (_, n) => shares.data[n - (n % width) + order[n % width]]), most = largestOf(sorted);
    drawMap(matrix, sorted, count, width, sequential.data, 0, most);
    matrix.style.height = `${Math.min(380, Math.max(120, 5 * count))}px`;
    place(row, question / count, 0, 1 / count, 1);
    place(column, 0, slot / width, 1, 1 / width);
    const own = Float32Array.from(order, (m) => viewer.shares()[m]), use = viewer.use(), hearers = viewer.hearers(), name = viewer.entryName(entry);
    drawBars(above, own, largestOf(own), slot);
    drawBars(beside, hearers, largestOf(hearers), question, false);
    drawBars(below, Float32Array.from(order, (m) => use[m]), largestOf(use), slot);
    hears.textContent = `what ${viewer.questionName(question)} hears of each entry (highest ${percentOf(largestOf(own))})`;
    for (const [canvas, text] of [[above, hears.textContent], [beside, `who hears ${name}`], [below, "how often each entry is heard"]]) canvas.setAttribute("aria-label", text);
    matrix.setAttribute("aria-label", `who hears what: ${viewer.questionName(question)} hears ${percentOf(viewer.shares()[entry])} of ${name}; up and down choose the question, left and right the entry`);
    legend.replaceChildren(`${count} questions downwards, ${width} entries to the right, sorted by ${SORTS[viewer.state.sort]}; beside them, who hears ${name} (highest ${percentOf(largestOf(hearers))}). `,
      ...legendOf(sequential.data, "0", percentOf(most)));
  } };
}

// how far the answers move under each control
function controlPanel(viewer, act) {
  const { controls } = viewer.setup, name = `control-${Math.random().toString(36).slice(2)}`, body = element("tbody");
  const rows = controls.map((control) => {
    const input = element("input", { type: "radio", name, value: control, onchange: () => act({ control }) }), all = element("b"), own = element("td"), bar = element("i");
    body.append(element("tr", {}, element("th", { scope: "row" }, element("label", {}, input, element("span", {}, control, element("small", {}, CONTROL_WORDS[control])))),
      element("td", {}, element("span", { class: "share" }, bar), all), own));
    return { control, input, all, own, bar };
  });
  const head = element("thead", {}, element("tr", {}, ...["the memory is", "all answers move by", "this one"].map((text) => element("th", { scope: "col" }, text))));
  const legend = element("p", { class: "legend" });
  const box = element("section", { class: "trials", "aria-label": "controls" }, element("h3", {}, "What moves the answer"), element("table", {}, head, body), legend);
  return { box, draw() {
    legend.textContent = `in parts of an answer's mean size; as learned, the answers differ from their own mean by ${percentOf(viewer.asked().varied)}`;
    const moved = rows.map(({ control }) => viewer.look(control).moved.data), mean = moved.map((values) => sum(values) / values.length), most = Math.max(1, ...mean);
    rows.forEach(({ control, input, all, own, bar }, n) => {
      input.checked = control === viewer.state.control;
      all.textContent = n ? movedBy(mean[n]) : "–";
      own.textContent = n ? movedBy(moved[n][viewer.state.question]) : "–";
      bar.style.width = `${(100 * mean[n]) / most}%`;
      bar.parentNode.hidden = !n;
    });
  } };
}

function render({ model, el }) {
  const viewer = createViewer(unpackView(model.get("setup"))), { setup } = viewer;
  const act = viewer.choose = (patch) => {
    viewer.accept(patch);
    model.set("state", viewer.state);
    model.save_changes();
    draw();
  };
  const panels = [questionPanel, hearingPanel, entryPanel, outcomePanel, matrixPanel, controlPanel].map((panel) => panel(viewer, act));
  const asked = choice("asked with", setup.asked.map(({ name }, n) => [n, name || `asking ${n + 1}`]), (value) => act({ asked: Number(value) }));
  const kinds = choice("entries shown", [], (kind) => act({ kind }));
  const sorts = choice("entries sorted by", Object.entries(SORTS).filter(([sort]) => sort !== "effect" || setup.outcomes.some((outcome) => Object.keys(outcome).length)), (sort) => act({ sort })), facts = element("p", { class: "facts" });
  asked.box.hidden = setup.asked.length === 1;
  const root = element("div", { class: "mcnet-explorer mcnet-viewer" },
    element("header", {}, element("h2", {}, setup.title), facts, element("div", { class: "controls" }, asked.box, kinds.box, sorts.box)),
    element("div", { class: "upper" }, ...panels.slice(0, 3).map(({ box }) => box)), panels[3].box, element("div", { class: "lower" }, ...panels.slice(4).map(({ box }) => box)));
  const unheard = (count, how) => count ? ` ${count} ${count === 1 ? "is" : "are"} ${how}.` : "";
  function draw() {
    const { usage } = viewer.asked(), { state } = viewer;
    kinds.select.replaceChildren(...Object.keys(viewer.look().entries).map((kind) => element("option", { value: kind }, kind)));
    asked.select.value = state.asked;
    kinds.select.value = state.kind;
    sorts.select.value = state.sort;
    facts.textContent = `${viewer.questions()} questions to ${viewer.entries()} entries. One question hears ${usage.mean_perplexity.toPrecision(3)} of them, all together hear ${usage.perplexity_of_mean.toPrecision(3)}.` +
      `${unheard(usage.silent, "never heard")}${unheard(usage.dead - usage.silent, "hardly ever heard")}`;
    panels.forEach((panel) => panel.draw());
  }
  root.addEventListener("keydown", (event) => event.stopPropagation());  // in JupyterLab arrow keys are the viewer's, not the notebook's
  root.viewer = viewer;  // for the console, and for tests
  const take = () => viewer.accept(model.get("state") || {});
  model.on("change:state", () => { take(); draw(); });  // a cell of the notebook has set it
  take();
  draw();
  el.replaceChildren(root);
}
