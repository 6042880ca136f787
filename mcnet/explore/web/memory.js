// The maps of the memory: all of them as one sheet, one of them large, and the knife.

const KIND_NAMES = { bank: "the bank Mₒ", memory: "Mₛ, the bank bent for this frame", key: "keys K", value: "values V" };
const SORT_NAMES = { number: "number", energy: "size", effect: "what silencing does" };

function memoryPanel(app) {
  const sheet = canvasOf("all channels of the memory"), large = canvasOf("one channel"), overview = canvasOf("overview");
  const kinds = choice("maps", app.setup.kinds.map((name) => [name, KIND_NAMES[name]]), (value) => app.change({ kind: value }));
  const sorts = choice("sorted by", app.setup.sorts.map((name) => [name, SORT_NAMES[name]]), (value) => app.change({ sort: value }, { remember: false }));
  const control = choice("the memory is", app.setup.controls.map((name) => [name, name]), (value) => app.cut({ control: value }));
  const banks = choice("bank", [["own", "this network's own"], ...app.setup.banks.map((name) => [name, name])], (value) => app.change({ bank: value }));
  const gain = slider("factor", { min: -2, max: 2, step: 0.1 }, app.remember, (value) => app.cut({ gains: withGain(app.state.channel, value) }, { remember: false }));
  const facts = element("output", { class: "facts", "aria-live": "polite" });
  const range = element("span", { class: "legend" }), done = element("p", { class: "done" });
  let painting = false, swapping = false, order = [], columns = 16, first = null;

  const paintTick = element("input", { type: "checkbox", onchange: (event) => { painting = event.target.checked; large.classList.toggle("painting", painting); } });
  const swapButton = button("swap with …", () => { swapping = !swapping; app.draw(); }, { "aria-pressed": "false" });
  const withGain = (channel, factor) => [...app.state.surgery.gains.filter(([c]) => c !== channel), ...(factor === 1 ? [] : [[channel, factor]])];
  const gainOf = (channel) => app.state.surgery.gains.find(([c]) => c === channel)?.[1] ?? 1;

  const box = element("section", { class: "memory", "aria-label": "the memory" },
    element("h3", {}, "The memory"),
    element("div", { class: "controls" }, kinds.box, sorts.box, control.box, app.setup.banks.length ? banks.box : null),
    element("div", { class: "row" },
      figure("all channels", sheet, range),
      figure("the chosen channel", large, facts, gain.box,
        element("div", { class: "controls" },
          button("silence", () => app.cut({ gains: withGain(app.state.channel, gainOf(app.state.channel) === 0 ? 1 : 0) })), swapButton,
          element("label", { class: "tick" }, paintTick, "erase places by hand"))),
      figure("all channels in three colours", overview,
        element("span", { class: "legend" }, "the three mixtures of channels that differ most from place to place, as red, green and blue"))),
    done);

  sheet.tabIndex = 0;
  sheet.addEventListener("pointerdown", (event) => {
    const [row, column] = cellAt(event, sheet, Math.ceil(order.length / columns), columns);
    const slot = row * columns + column;
    if (slot < order.length) choose(order[slot]);
  });
  sheet.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    if (event.key === "Delete" || event.key === "s") app.cut({ gains: withGain(app.state.channel, gainOf(app.state.channel) === 0 ? 1 : 0) });
    if (!step) return;
    event.preventDefault();
    const slot = order.indexOf(app.state.channel) + step;
    if (slot >= 0 && slot < order.length) choose(order[slot]);
  });
  function choose(channel) {
    if (swapping && channel !== app.state.channel) {
      swapping = false;
      app.cut({ swaps: [...app.state.surgery.swaps, [app.state.channel, channel]] });
    } else {
      app.change({ channel }, { remember: false });
      app.draw();
    }
  }

  const paint = (event) => {
    const [height, width] = app.setup.grid, [row, column] = cellAt(event, large, height, width), place = row * width + column;
    const others = app.state.surgery.paint.filter(([p]) => p !== place), erased = others.length < app.state.surgery.paint.length;
    if (first === null) { first = erased ? 1 : 0; app.remember(); }
    if (erased === (first === 0)) return;
    app.cut({ paint: first === 1 ? others : [...others, [place, 0]] }, { remember: false });
  };
  large.addEventListener("pointerdown", (event) => { if (painting) { event.preventDefault(); large.setPointerCapture(event.pointerId); first = null; paint(event); } });
  large.addEventListener("pointermove", (event) => { if (painting && event.buttons) paint(event); });

  function sorted(maps) {
    const numbers = maps.map((_, c) => c);
    if (app.state.sort === "number") return numbers;
    const weight = app.state.sort === "energy" ? energyOf(maps) : app.answer.effects?.data;
    return weight ? numbers.sort((a, b) => weight[b] - weight[a]) : numbers;
  }

  return {
    element: box,
    wants: () => [app.state.kind, ...(app.state.sort === "effect" ? ["effects"] : [])],
    setUp() {},
    draw() {
      const tensor = app.answer[app.shown.kind], [height, width] = app.setup.grid;
      if (!tensor) return;
      const maps = channelsOf(tensor), limit = largestOf(tensor.data), channel = app.state.channel;
      order = sorted(maps);
      columns = maps.length > 256 ? 32 : maps.length > 64 ? 16 : 8;
      const silenced = app.state.surgery.gains.map(([c]) => [c, "#009e73"]);
      drawSheet(sheet, maps, order, height, width, columns, app.setup.signed.data, limit, [...silenced, [channel, "#0b63a5"]]);
      sheet.setAttribute("aria-label", `${maps.length} channels of ${KIND_NAMES[app.shown.kind]}; channel ${channel} is chosen, arrow keys choose another, s silences it`);
      range.replaceChildren(element("i", { class: "scale", style: `background:${gradient(app.setup.signed.data)}` }), ` −${limit.toFixed(2)} to ${limit.toFixed(2)}, all ${maps.length} on one scale`);
      drawMap(large, maps[channel], height, width, app.setup.signed.data, -limit, limit);
      const [low, high] = [Math.min(...maps[channel]), Math.max(...maps[channel])], effect = app.answer.effects?.data[channel];
      facts.textContent = `channel ${channel}: ${low.toFixed(2)} to ${high.toFixed(2)}, size ${energyOf([maps[channel]])[0].toFixed(3)}` +
        (effect === undefined ? "" : `, silenced it changes the picture by ${(255 * effect).toFixed(2)} of 255`);
      drawOverview(maps, height, width);
      gain.input.value = gainOf(channel);
      gain.value.textContent = `× ${gainOf(channel).toFixed(1)}`;
      swapButton.setAttribute("aria-pressed", String(swapping));
      kinds.select.value = app.state.kind;
      sorts.select.value = app.state.sort;
      control.select.value = app.state.surgery.control;
      banks.select.value = app.state.bank;
      done.textContent = summary(app.state.surgery);
    },
  };

  function drawOverview(maps, height, width) {
    const colours = projectPlaces(maps, app.setup.basis).map((values) => {
      const limit = largestOf(values) || 1;
      return values.map((value) => 0.5 + value / (2 * limit));
    });
    drawPicture(overview, { shape: [3, height, width], data: Float32Array.from(colours.flatMap((c) => [...c])) });
  }
}

function gradient(table) {
  const stops = Array.from({ length: 9 }, (_, n) => Array.from(table.subarray(3 * Math.min(255, n * 32), 3 * Math.min(255, n * 32) + 3)));
  return `linear-gradient(90deg, ${stops.map((colour) => `rgb(${colour.join(",")})`).join(", ")})`;
}

function summary({ gains, swaps, paint, control, sharpness }) {
  const words = [
    ...gains.map(([c, factor]) => (factor === 0 ? `channel ${c} silenced` : `channel ${c} × ${factor.toFixed(1)}`)),
    ...swaps.map(([a, b]) => `channels ${a} and ${b} exchanged`),
    ...(paint.length ? [`${paint.length} place${paint.length > 1 ? "s" : ""} erased`] : []),
    ...(control === "as learned" ? [] : [control]),
    ...(sharpness === 1 ? [] : [`attention ${sharpness.toFixed(2)} times as sharp`]),
  ];
  return words.length ? `Done to the memory: ${words.join("; ")}.` : "Nothing is done to the memory.";
}
