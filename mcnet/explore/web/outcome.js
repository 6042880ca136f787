// What becomes of what a network makes: under a control, or without one entry.

function outcomePanel(viewer, act) {
  const words = element("output", { class: "facts", "aria-live": "polite" }), rows = element("div", { class: "made" });
  const box = element("section", { class: "outcome", "aria-label": "what becomes of the picture" }, element("h3", {}, "What becomes of the picture"), words, rows);
  const parts = new Map(), plain = (x) => String(Number(x.toPrecision(3)));  // by name of what is made
  const part = (name) => {
    const canvas = () => canvasOf(""), before = canvas(), after = canvas(), where = canvas(), legend = element("span", { class: "legend" });
    const figures = [before, after, where].map((inner) => element("figure", {}, element("figcaption", {}), element("div", { class: "frame" }, inner)));
    figures[2].append(legend);
    const geometry = () => ({ rows: 1, columns: viewer.entries(), count: viewer.entries(), slot: viewer.order().indexOf(viewer.state.entry) });
    const bars = chooser("", `entry, by how far it moves the ${name}`, geometry, (slot) => act({ entry: viewer.order()[slot], control: "as learned" }));
    bars.box.classList.add("wide", "bars");
    const whole = element("div", { class: "row" }, ...figures, bars.box);
    return { whole, before, after, where, legend, captions: figures.map((figure) => figure.firstChild), bars };
  };
  return { box, draw() {
    const outcome = viewer.outcome(), { control, entry } = viewer.state, { controls, sequential } = viewer.setup, spared = control === "as learned";
    box.hidden = !outcome;
    if (!outcome) return;
    const number = spared ? controls.length + entry : controls.indexOf(control), name = spared ? `without ${viewer.entryName(entry)}` : control;
    const order = viewer.order(), effect = viewer.effects;
    const drawn = Object.entries(outcome).map(([made, { unit, pictures, where, most, effects }]) => {
      if (!parts.has(made)) parts.set(made, part(made));
      const { whole, before, after, where: map, legend, captions, bars } = parts.get(made), size = pictures.shape.slice(1), area = size.reduce((a, b) => a * b, 1);
      const one = (n) => ({ shape: size, data: pictures.data.subarray(n * area, (n + 1) * area) }), [, , height, width] = where.shape;
      drawPicture(before, one(0));
      drawPicture(after, one(number));
      drawMap(map, where.data.subarray(number * height * width, (number + 1) * height * width), height, width, sequential.data, 0, 1);
      [`${made}, as learned`, `${made}, ${name}`, "where it moves"].forEach((text, n) => { captions[n].textContent = text; });
      [before, after, map].forEach((canvas, n) => canvas.setAttribute("aria-label", captions[n].textContent));
      legend.replaceChildren(...legendOf(sequential.data, "0", `${plain(most.data[number])} ${unit}`));
      const alone = effect(made), each = Float32Array.from(order, (m) => alone[m]);
      bars.caption.textContent = `how far the ${made} moves without each entry: at most ${plain(largestOf(each))} ${unit}`;
      bars.draw((canvas) => drawBars(canvas, each, largestOf(each), order.indexOf(entry)), `${viewer.entryName(entry)}: ${plain(alone[entry])} ${unit}`);
      return whole;
    });
    if (drawn.length !== rows.children.length || drawn.some((row, n) => row !== rows.children[n])) rows.replaceChildren(...drawn);  // else the focus is lost
    const moves = Object.entries(outcome).map(([made, { unit, effects }]) => `the ${made} moves by ${plain(effects.data[number])} ${unit}`);
    words.textContent = `${name[0].toUpperCase()}${name.slice(1)}, ${moves.join(", ")}, on the mean over all places.`;
  } };
}
