// How a bank came about: the memory of a small painter of the course at some moments of its training.

function birthPanel(app) {
  const runs = [["on", "with the consistency loss"], ["off", "without it"]], kinds = [["value", "values V"], ["bank", "the bank Mₒ"]];
  const sheets = runs.map(([run, name]) => kinds.map(([kind, what]) => canvasOf(`${what} ${name}`)));
  const moment = slider("training", { min: 0, step: 1 }, app.remember, (value) => app.change({ moment: value }, { remember: false }));
  const words = element("output", { class: "facts", "aria-live": "polite" }), legend = element("span", { class: "legend" });
  const box = element("section", { class: "birth", "aria-label": "the birth of a bank" },
    element("h3", {}, "The birth of a bank"),
    element("p", { class: "legend" }, "Not this network's, but that of a painter of 32 × 32 pixels from the course, trained twice from the same start: what differs is the consistency loss, which pulls values towards the features of faces."),
    element("div", { class: "controls" }, moment.box),
    element("div", { class: "row" }, ...runs.flatMap(([run, name], r) => kinds.map(([kind, what], k) => figure(`${what} ${name}`, sheets[r][k])))),
    legend, words);

  return {
    element: box,
    wants: () => [],
    setUp() { moment.input.max = app.setup.births.steps.length - 1; },
    draw() {
      const { steps, limits, numbers } = app.setup.births, at = app.state.moment;
      runs.forEach(([run], r) => kinds.forEach(([kind], k) => {
        const { shape: [, count, height, width], data } = app.setup[`birth ${kind} ${run}`], size = count * height * width;
        const values = Float32Array.from(data.subarray(at * size, (at + 1) * size), (byte) => byte - 128);
        drawSheet(sheets[r][k], channelsOf({ shape: [count, height, width], data: values }), [...Array(count).keys()], height, width, 8, app.setup.signed.data, 127, []);
      }));
      legend.replaceChildren(element("i", { class: "scale", style: `background:${gradient(app.setup.signed.data)}` }), ` values −${limits.value.toFixed(2)} to ${limits.value.toFixed(2)}, bank −${limits.bank.toFixed(2)} to ${limits.bank.toFixed(2)}, at all moments`);
      moment.input.value = at;
      moment.value.textContent = `step ${steps[at]} of ${steps[steps.length - 1]}`;
      const told = (run) => `the values are like a mean face to r = ${numbers[run].faceness[at].toFixed(2)}, and the hole is painted with ${numbers[run].hidden[at].toFixed(2)} dB`;
      words.textContent = `With the loss ${told("on")}; without it ${told("off")}.`;
    },
  };
}
