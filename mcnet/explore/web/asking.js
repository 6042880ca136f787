// One pixel asks: where it reads, how widely, what it hears; and the other way round, who reads a place.

function askingPanel(app) {
  const picture = canvasOf("prediction; arrow keys move the marked pixel"), marked = markedPixel(app, picture);
  const askLegend = element("span", { class: "legend" }), asks = figure("prediction", picture, askLegend);
  asks.querySelector(".frame").append(marked.marker);
  marked.listen();
  const map = canvasOf("where this pixel reads in the memory"), heardMap = canvasOf("how many places each pixel hears");
  const readersMap = canvasOf("who reads the chosen place");
  const levels = choice("level", app.setup.levels.map(([h, w], n) => [n, `${n}: ${h} × ${w}${n === 0 ? ", the deepest" : ""}`]), (value) => app.change({ level: Number(value) }));
  const sharpness = slider("sharpness", { min: -5, max: 5, step: 0.25 }, app.remember, (value) => app.cut({ sharpness: 2 ** value }, { remember: false }));
  const hole = slider("a hole around the pixel", { min: 0, max: 1, step: 0.05 }, app.remember, (value) => app.change({ hole: value }, { remember: false }));
  const words = element("output", { class: "facts", "aria-live": "polite" }), equation = element("pre", { class: "equation" });
  const mapLegend = element("span", { class: "legend" }), heardLegend = element("span", { class: "legend" }), readersLegend = element("span", { class: "legend" });
  let chosen = null;  // a place of the memory; none: the one that is heard most

  const box = element("section", { class: "asking", "aria-label": "asking" },
    element("h3", {}, "Asking"),
    element("div", { class: "controls" }, levels.box, sharpness.box, hole.box),
    element("div", { class: "row" },
      asks,
      figure("where it reads", map, mapLegend),
      figure("number of places heard", heardMap, heardLegend),
      figure("who reads the marked place", readersMap, readersLegend)),
    words, equation);
  // how much the questions differ within the hole, and elsewhere: cells that lie in it as a whole, and the others
  function inTheHole(query) {
    if (!app.shown.hole) return "";
    const size = app.setup.size, open = holeAround(size, app.shown), [rows, columns] = query.shape.slice(1), share = new Float32Array(rows * columns);
    open.forEach((value, n) => { share[Math.floor((Math.floor(n / size) * rows) / size) * columns + Math.floor(((n % size) * columns) / size)] += value; });
    const [inside, outside] = [true, false].map((within) => [...share.keys()].filter((n) => (share[n] === 0) === within));
    if (!inside.length) return " The hole is smaller than a pixel of this level.";
    return ` In the hole ${inside.length} pixels ask questions that differ by ${spreadOf(query, inside).toPrecision(2)}, elsewhere by ${spreadOf(query, outside).toPrecision(2)}.`;
  }

  map.tabIndex = 0;
  map.addEventListener("pointerdown", (event) => {
    const [height, width] = app.setup.grid, [row, column] = cellAt(event, map, height, width);
    chosen = row * width + column;
    app.draw();
  });
  map.addEventListener("keydown", (event) => {
    const [height, width] = app.setup.grid;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -width, ArrowDown: width }[event.key];
    if (!step) return;
    event.preventDefault();
    chosen = Math.min(height * width - 1, Math.max(0, (chosen ?? 0) + step));
    app.draw();
  });

  return {
    element: box,
    wants: () => ["image", "query", "key", "value", "answer"],
    setUp() { chosen = null; },
    forget() { chosen = null; },
    draw() {
      const { query, key, value, answer } = app.answer;
      if (!query) return;
      const [height, width] = app.setup.grid, [rows, columns] = query.shape.slice(1), [row, column] = askedCell(app);
      const temperature = app.setup.temperature / app.shown.surgery.sharpness, place = row * columns + column;
      const shares = attentionRow(query, key, place, temperature), order = [...shares.keys()].sort((a, b) => shares[b] - shares[a]);
      drawPicture(picture, app.answer.image);
      marked.draw();
      askLegend.textContent = `click or drag: which pixel asks${app.scored ? `; PSNR ${app.scored}` : ""}`;
      const loudest = chosen ?? order[0], table = app.setup.sequential.data, most = shares[order[0]];
      drawMap(map, shares, height, width, table, 0, most);
      outline(map, loudest, width);
      mapLegend.textContent = `0 to ${percent(most)}; an equal share is ${percent(1 / shares.length)}`;
      const { heard, readers, step } = readAll(query, key, temperature, loudest);
      drawMap(heardMap, heard, rows, columns, table, 1, shares.length);
      const busiest = largestOf(readers);
      drawMap(readersMap, readers, rows, columns, table, 0, busiest);
      readersLegend.textContent = `place ${Math.floor(loudest / width)}, ${loudest % width}, framed on the left: 0 to ${percent(busiest)}`;
      levels.select.value = app.state.level;
      sharpness.input.value = Math.log2(app.state.surgery.sharpness);
      sharpness.value.textContent = `× ${app.state.surgery.sharpness.toFixed(2)}`;
      const best = order.slice(0, 3).map((m) => `(${Math.floor(m / width)}, ${m % width}) ${percent(shares[m])}`).join(", ");
      hole.input.value = app.state.hole;
      hole.value.textContent = app.state.hole ? `radius ${app.state.hole.toFixed(2)}` : "none";
      const [least, mean, widest] = [Math.min(...heard), sum(heard) / heard.length, Math.max(...heard)].map((v) => v.toFixed(1));
      heardLegend.textContent = `1 to ${shares.length} (all); mean ${mean}${step > 1 ? `; every ${step}th pixel is asked` : ""}`;
      words.textContent = `Pixel (${row}, ${column}) of ${rows} × ${columns} hears as if ${perplexity(shares).toFixed(1)} of ${shares.length} places spoke alike; ` +
        `most of it (row, column): ${best}. Over all pixels: from ${least} to ${widest} places, ${mean} on average.${inTheHole(query)}`;
      equation.textContent = inNumbers(query, key, value, answer, place, order[0], shares, temperature);
    },
  };
}

const percent = (share) => `${share >= 0.1 ? (100 * share).toFixed(0) : (100 * share).toPrecision(2)} %`;

function outline(canvas, place, width) {
  const context = canvas.getContext("2d");
  context.strokeStyle = "#ff7f0e";
  context.lineWidth = 0.5;
  context.strokeRect((place % width) + 0.25, Math.floor(place / width) + 0.25, 0.5, 0.5);
}

// the equation of the attention with this pixel's numbers, for the place that it hears most
function inNumbers(query, key, value, answer, place, best, shares, temperature) {
  const asked = query.shape[1] * query.shape[2], places = shares.length, scores = likeness(query, key, place, temperature);
  const largest = answer ? Array.from({ length: answer.shape[0] }, (_, c) => Math.abs(answer.data[c * asked + place])).reduce((top, v, c, all) => (v > all[top] ? c : top), 0) : 0;
  const heard = sum(shares.map((share, m) => share * value.data[largest * places + m]));
  const total = sum(Array.from(scores, (score) => Math.exp(score - scores[best])));
  return [
    `q·k / τ       = ${(scores[best] * temperature).toFixed(3)} / ${temperature.toFixed(3)} = ${scores[best].toFixed(3)}      for the place heard most`,
    `softmax       = exp(${scores[best].toFixed(3)}) / Σₘ exp(q·kₘ / τ) = 1 / ${total.toFixed(2)} = ${shares[best].toFixed(4)}`,
    `answer[${largest}]`.padEnd(14) + `= Σₘ shareₘ · V[${largest}, m] = ${heard.toFixed(4)}      the network has ${answer ? answer.data[largest * asked + place].toFixed(4) : "—"}`,
  ].join("\n");
}
