// Source, driving frame, prediction with keypoints to drag, and one more view of the same moment.

const ELLIPSE = 0.08;  // radius of the circle that a Jacobian maps to an ellipse, where the picture is 2 wide

// the driving keypoints of a state: where the frame has them, but for those that a hand has moved
function keypointsOf(setup, state) {
  const count = setup.points;
  return Array.from({ length: count }, (_, k) => {
    const row = state.frame * count + k, moved = state.points.find(([n]) => n === k), sheared = state.shears.find(([n]) => n === k);
    return {
      place: moved ? moved.slice(1) : [...rowOf(setup.driving_value, row, 2)],
      jacobian: !setup.driving_jacobian ? null : sheared ? sheared.slice(1) : [...rowOf(setup.driving_jacobian, row, 4)],
    };
  });
}

const replaced = (rows, k, row) => [...rows.filter((other) => other[0] !== k), [k, ...row]].sort((a, b) => a[0] - b[0]);

function overlay(app, values, jacobians, interactive) {
  const size = () => app.setup.size, pixel = (value) => ((value + 1) / 2) * (size() - 1) + 0.5;
  const svg = element("svg", { class: interactive ? "points live" : "points", role: interactive ? "group" : "img",
    "aria-label": interactive ? "keypoints of the driving frame; arrow keys move the one in focus, with Shift they shear it" : "keypoints of the source" });
  svg.draw = () => {
    const focused = svg.contains(document.activeElement) ? document.activeElement.getAttribute("data-k") : null;
    svg.setAttribute("viewBox", `0 0 ${size()} ${size()}`);
    svg.replaceChildren();
    values().forEach((place, k) => {
      const colour = app.setup.palette[k], jacobian = jacobians()?.[k];
      const group = element("g", {});
      if (jacobian) {
        const edge = Array.from({ length: 33 }, (_, n) => {
          const [cos, sin] = [Math.cos((n * Math.PI) / 16), Math.sin((n * Math.PI) / 16)].map((v) => ELLIPSE * v);
          return [place[0] + jacobian[0] * cos + jacobian[1] * sin, place[1] + jacobian[2] * cos + jacobian[3] * sin].map(pixel);
        });
        group.append(element("path", { d: `M${edge.map((p) => p.join(",")).join("L")}`, fill: "none", stroke: colour, class: "ellipse" }));
        if (interactive) {
          const handle = element("circle", { cx: edge[0][0], cy: edge[0][1], r: size() / 55, fill: "white", stroke: colour, class: "handle" });
          handle.addEventListener("pointerdown", (event) => drag(event, k, true));
          group.append(handle);
        }
      }
      const dot = element("circle", { cx: pixel(place[0]), cy: pixel(place[1]), r: size() / 38, fill: colour, class: "dot", "data-k": k });
      if (interactive) {
        Object.entries({ tabindex: 0, role: "button", "aria-label": `keypoint ${k} at ${place.map((v) => v.toFixed(2)).join(", ")}` })
          .forEach(([name, value]) => dot.setAttribute(name, value));
        dot.addEventListener("pointerdown", (event) => drag(event, k, false));
        dot.addEventListener("focus", () => { if (app.state.keypoint !== k) app.change({ keypoint: k }, { remember: false }); });
        dot.addEventListener("keydown", (event) => press(event, k));
      }
      dot.append(element("title", {}, `keypoint ${k}`));
      const number = element("text", { x: pixel(place[0]), y: pixel(place[1]), class: "number", "font-size": size() / 26, "aria-hidden": "true" }, String(k));
      group.append(dot, number);
      group.classList.toggle("faint", app.shown?.view === "one motion" && app.shown.keypoint !== k);
      svg.append(group);
    });
    if (focused !== null) svg.querySelector(`[data-k="${focused}"]`)?.focus();
  };

  const move = (k, place, options) => app.change({ points: replaced(app.state.points, k, place.map((v) => Math.min(1, Math.max(-1, v)))) }, options);
  const shear = (k, jacobian, options) => app.change({ shears: replaced(app.state.shears, k, jacobian) }, options);

  function drag(event, k, ellipse) {
    event.preventDefault();
    event.stopPropagation();
    app.remember();
    app.change({ keypoint: k }, { remember: false });
    const point = keypointsOf(app.setup, app.state)[k], first = point.jacobian?.slice();
    const toPlace = (e) => {
      const box = svg.getBoundingClientRect();
      return [(e.clientX - box.left) / box.width, (e.clientY - box.top) / box.height].map((share) => ((share * size() - 0.5) / (size() - 1)) * 2 - 1);
    };
    const follow = (e) => {
      const [x, y] = toPlace(e);
      if (ellipse) shear(k, [(x - point.place[0]) / ELLIPSE, first[1], (y - point.place[1]) / ELLIPSE, first[3]], { remember: false });
      else move(k, [x, y], { remember: false });
      svg.draw();
    };
    const stop = () => { window.removeEventListener("pointermove", follow); window.removeEventListener("pointerup", stop); window.removeEventListener("pointercancel", stop); };
    window.addEventListener("pointermove", follow);
    window.addEventListener("pointerup", stop);
    window.addEventListener("pointercancel", stop);
  }

  function press(event, k) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const { place, jacobian } = keypointsOf(app.setup, app.state)[k];
    if (event.shiftKey && jacobian) shear(k, [jacobian[0] + 0.1 * step[0], jacobian[1], jacobian[2] + 0.1 * step[1], jacobian[3]]);
    else move(k, place.map((value, axis) => value + 0.04 * step[axis]));
    svg.draw();
  }
  return svg;
}

// a picture on which the pixel that asks is marked, and can be chosen by mouse or by arrow keys
function markedPixel(app, canvas) {
  const marker = element("svg", { class: "points", "aria-hidden": "true" });
  let marking = false;
  const mark = (event) => {
    const size = app.setup.size, [row, column] = cellAt(event, canvas, size, size);
    app.change({ place: [(column / (size - 1)) * 2 - 1, (row / (size - 1)) * 2 - 1] }, { remember: false });
  };
  canvas.tabIndex = 0;
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const [height] = app.setup.levels[app.state.level], by = 2 / height;
    app.change({ place: app.state.place.map((value, axis) => Math.min(1, Math.max(-1, value + by * step[axis]))) });
  });
  return {
    marker,
    listen() {  // on the canvas' frame, once it has one
      const frame = canvas.parentElement;
      frame.classList.add("picking");
      frame.addEventListener("pointerdown", (event) => {
        if (event.target.closest(".dot, .handle")) return;
        marking = true;
        app.remember();
        mark(event);
      });
      frame.addEventListener("pointermove", (event) => { if (marking && event.buttons) mark(event); else marking = false; });
    },
    draw() {
      const size = app.setup.size, [height, width] = app.setup.levels[app.shown.level], [row, column] = askedCell(app);
      const { place, hole } = app.shown, pixel = (value) => ((value + 1) / 2) * (size - 1) + 0.5;
      marker.setAttribute("viewBox", `0 0 ${size} ${size}`);
      marker.replaceChildren(element("path", { class: "asked", d: `M${(column * size) / width},${(row * size) / height}h${size / width}v${size / height}h${-size / width}z` }));
      if (hole) marker.append(element("circle", { class: "hole", cx: pixel(place[0]), cy: pixel(place[1]), r: (hole / 2) * (size - 1) }));
    },
  };
}

const VIEW_NAMES = {
  error: "error", change: "change since A", warped: "source, pulled", pushed: "source, pushed", occlusion: "occlusion map", deformation: "deformation",
  "flow error": "error of the deformation", "one motion": "error of one motion", masks: "masks",
};
const HOLE = [255, 127, 14];
const FARTHEST = 8;  // pixels; from there on errors of a flow have the last colour

function stagePanel(app) {
  const pictures = Object.fromEntries(["source", "driving", "image", "view"].map((name) => [name, canvasOf(name)]));
  const rows = (tensor, row) => {
    const [height, width] = tensor.shape.slice(-2);
    return { shape: [3, height, width], data: Float32Array.from(rowOf(tensor, row, 3 * height * width), (value) => value / 255) };
  };
  const each = (tensor, width) => tensor && Array.from({ length: app.setup.points }, (_, k) => [...rowOf(tensor, k, width)]);
  const sourcePoints = overlay(app, () => each(app.setup.source_value, 2), () => each(app.setup.source_jacobian, 4), false);
  const points = overlay(app, () => keypointsOf(app.setup, app.state).map((p) => p.place), () => app.setup.driving_jacobian && keypointsOf(app.setup, app.state).map((p) => p.jacobian), true);
  const cover = () => element("svg", { class: "points", "aria-hidden": "true" });
  const marked = markedPixel(app, pictures.image), looking = cover(), lines = cover();
  let blinking = false;

  const numbers = element("output", { class: "numbers", "aria-live": "polite" });
  const legend = element("span", { class: "legend" });
  const views = choice("view", app.setup.views.map((name) => [name, VIEW_NAMES[name]]), (value) => app.change({ view: value }));
  const frame = slider("frame", { min: 0, step: 1 }, app.remember, (value) => app.change({ frame: value }, { remember: false }));
  const oracle = choice("motion", app.setup.oracles.map((name) => [name, name]), (value) => app.change({ oracle: value }));
  const put = (name, title, cover, ...below) => {
    const made = figure(title, pictures[name], ...below);
    if (cover) made.querySelector(".frame").append(...cover);
    made.dataset.name = name;
    return made;
  };
  const drivingTitle = element("span", {});
  const box = element("section", { class: "stage", "aria-label": "pictures" },
    element("div", { class: "row" },
      put("source", "source", [looking, sourcePoints], element("span", { class: "legend" }, "ring: where the marked pixel looks")), put("driving", drivingTitle),
      put("image", "prediction", [marked.marker, points], element("span", { class: "legend" }, "square: click to mark another pixel")), put("view", views.select, [lines], legend)),
    element("div", { class: "controls" }, frame.box, oracle.box,
      button("let go of the keypoints", () => app.change({ points: [], shears: [] })),
      element("label", { class: "tick" }, element("input", { type: "checkbox", checked: true, onchange: (e) => box.classList.toggle("bare", !e.target.checked) }), "keypoints")),
    numbers);

  marked.listen();

  function drawRing() {
    const size = app.setup.size, { place } = app.shown, pixel = (value) => ((value + 1) / 2) * (size - 1) + 0.5;
    const cell = (value) => Math.min(size - 1, Math.max(0, Math.round(((value + 1) / 2) * (size - 1)))), n = cell(place[1]) * size + cell(place[0]);
    const [x, y] = [0, 1].map((axis) => pixel(app.answer.deformation.data[2 * n + axis]));
    looking.setAttribute("viewBox", `0 0 ${size} ${size}`);
    looking.replaceChildren(element("circle", { class: "asked", cx: x, cy: y, r: size / 24 }));
  }

  // the true flow and visibility of the frame that is shown; null where nobody knows
  function truthOf() {
    const { size, flow, visible } = app.setup, count = size * size;
    if (!flow) return null;
    return { flow: rowOf(flow, app.shown.frame, 2 * count), hidden: Float32Array.from(rowOf(visible, app.shown.frame, count), (v) => 1 - v) };
  }

  const unknown = "nobody knows the truth of a photograph";
  const drawViews = {
    error: (truth) => drawError(truth, "0 to 0.3 of 1", unknown),
    change: () => drawError(app.kept?.image, "0 to 0.3 of 1", "first keep a picture as A"),
    warped: () => drawPicture(pictures.view, app.answer.warped) || "every pixel fetches its colour: no holes, but the front of the face may be fetched twice",
    pushed: drawPushed,
    occlusion: drawOcclusion,
    deformation() {
      drawFlow(pictures.view, app.answer.deformation);
      return [element("i", { class: "wheel", role: "img", "aria-label": "colour wheel" }), " the side to which a pixel looks; 0.3 has full colour"];
    },
    "flow error": () => drawFlowError(app.answer.deformation.data, "the deformation is right"),
    "one motion"() {
      const k = app.shown.keypoint, from = { place: rowOf(app.setup.source_value, k, 2), jacobian: app.setup.source_jacobian && rowOf(app.setup.source_jacobian, k, 4) };
      return drawFlowError(taylorFlow(app.setup.size, from, keypointsOf(app.setup, app.state)[k]), `the motion of keypoint ${k} alone is right`, app.setup.palette[k]);
    },
    masks: () => drawMasks(pictures.view, app.answer.masks, app.setup.palette) || "each pixel in the colours of the keypoints it follows; grey: none",
  };
  const NEEDS = { warped: ["warped"], occlusion: ["occlusion"], masks: ["masks"] };

  function drawError(other, said, missing) {
    const size = app.setup.size, values = other ? meanDifference(app.answer.image.data, other.data) : new Float32Array(size * size);
    drawMap(pictures.view, values, size, size, app.setup.sequential.data, 0, 0.3);
    return other ? said : missing;
  }

  function drawPushed() {
    const size = app.setup.size, from = pushed(app.answer.deformation.data, size), picture = app.setup.source.data, count = size * size;
    putPixels(pictures.view, size, size, (n, out, at) => {
      for (let c = 0; c < 3; c++) out[at + c] = from[n] < 0 ? HOLE[c] : picture[c * count + from[n]];
    });
    return `each pixel of the source is put where it goes, once; orange: ${percent(sum(from.map((n) => (n < 0 ? 1 : 0))) / count)} of the picture gets none`;
  }

  function drawOcclusion() {
    const { data, shape: [, height, width] } = app.answer.occlusion, truth = truthOf();
    drawMap(pictures.view, data, height, width, app.setup.sequential.data, 0, 1);
    if (!truth) return "0 paint anew, 1 keep the warped source";
    const share = sum(truth.hidden) / truth.hidden.length;
    if (share < 0.01) return "0 paint anew, 1 keep the warped source; here the source shows everything";
    lines.append(...outlined(contourOf(truth.hidden, height, width, 0.5)));
    const precision = averagePrecision(data.map((v) => 1 - v), truth.hidden);
    return `0 paint anew, 1 keep the warped source; line: what the source does not show. As a finder of it the map has an average precision of ${precision.toFixed(2)}; chance has ${share.toFixed(2)}, the hidden share`;
  }

  function drawFlowError(flow, words, colour = "#fff") {
    const size = app.setup.size, truth = truthOf();
    const errors = truth ? flowErrors(flow, truth.flow, size) : new Float32Array(size * size);
    drawMap(pictures.view, errors, size, size, app.setup.sequential.data, 0, FARTHEST);
    if (!truth) return unknown;
    lines.append(...outlined(contourOf(errors, size, size, 1), colour));
    return `0 to ${FARTHEST} pixels; line: 1 pixel; ${words} to a pixel for ${percent(sum(errors.map((e) => (e < 1 ? 1 : 0))) / errors.length)} of the picture`;
  }

  const outlined = (path, colour = "#fff") => [element("path", { class: "under", d: path }), element("path", { class: "line", d: path, stroke: colour })];

  function drawView(truth) {
    lines.setAttribute("viewBox", `0 0 ${app.setup.size} ${app.setup.size}`);
    lines.replaceChildren();
    legend.replaceChildren(...[drawViews[app.shown.view](truth)].flat());
  }

  return {
    element: box,
    wants: () => ["image", "deformation", ...(NEEDS[app.state.view] || [])],
    setUp() {
      frame.input.max = app.setup.frames - 1;
      drivingTitle.textContent = app.setup.drawn ? "what should come out" : "driving frame";
      oracle.box.hidden = !app.setup.drawn;
      drawPicture(pictures.source, rows(app.setup.source, 0));
      sourcePoints.draw();
    },
    blink(on) { blinking = on; if (app.shown) this.draw(); },
    draw() {
      const driving = rows(app.setup.driving, app.shown.frame), truth = app.setup.drawn ? driving : null;
      const picture = blinking && app.kept ? app.kept.image : app.answer.image;
      box.classList.toggle("blinking", blinking);
      drawPicture(pictures.driving, driving);
      drawPicture(pictures.image, picture);
      points.draw();
      marked.draw();
      drawRing();
      drawView(truth);
      frame.input.value = app.state.frame;
      frame.value.textContent = `${app.state.frame + 1} of ${app.setup.frames}`;
      oracle.select.value = app.state.oracle;
      views.select.value = app.state.view;
      numbers.textContent = describe(truth, picture);
    },
  };

  function describe(truth, picture) {
    const words = [], size = app.setup.size ** 2;
    app.scored = "";
    if (truth) {
      const { hidden } = truthOf(), share = sum(hidden) / size, before = app.kept?.state.frame === app.shown.frame ? app.kept.image : null;
      const score = (mask) => [before, picture].filter(Boolean).map((one) => psnr(one.data, truth.data, mask).toFixed(2)).join(" → ");
      app.scored = `${score()} dB`;
      words.push(`PSNR${before ? " of A → now" : ""}: ${app.scored}`);
      words.push(...(share > 0.01 ? [`where the source shows the place ${score(hidden.map((v) => 1 - v))}`, `where it does not (${Math.round(100 * share)} % of the picture) ${score(hidden)}`] : ["the source shows everything"]));
    }
    if (app.kept) words.push(`differs from A by ${(255 * sum(meanDifference(picture.data, app.kept.image.data)) / size).toFixed(2)} of 255`);
    return words.join(" · ");
  }
}

function drawMasks(canvas, { shape: [count, height, width], data }, palette) {
  const colours = ["#888888", ...palette].map((text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16)));
  putPixels(canvas, width, height, (n, out, at) => {
    for (let c = 0; c < 3; c++) {
      let mixed = 0;
      for (let k = 0; k < count; k++) mixed += data[k * height * width + n] * colours[k][c];
      out[at + c] = Math.round(mixed);
    }
  });
}

// the cell of the current level's grid that holds the asked place
function askedCell(app) {
  const [height, width] = app.setup.levels[app.shown.level];
  const cell = (value, count) => Math.min(count - 1, Math.max(0, Math.floor(((value + 1) / 2) * (1 - 1e-6) * count)));
  return [cell(app.shown.place[1], height), cell(app.shown.place[0], width)];
}
