// Pictures and maps on canvases, and elements of a page.

function element(tag, attributes = {}, ...children) {
  const made = tag === "svg" || tag === "circle" || tag === "path" || tag === "g" || tag === "line" || tag === "title" || tag === "text"
    ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

function canvasOf(label) {
  return element("canvas", { role: "img", "aria-label": label });
}

function putPixels(canvas, width, height, colour) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d"), image = context.createImageData(width, height);
  for (let n = 0; n < width * height; n++) {
    colour(n, image.data, 4 * n);
    image.data[4 * n + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

// a picture (3, H, W) in [0, 1]
function drawPicture(canvas, { shape: [, height, width], data }) {
  const size = height * width;
  putPixels(canvas, width, height, (n, out, at) => {
    for (let c = 0; c < 3; c++) out[at + c] = Math.round(255 * Math.min(1, Math.max(0, data[c * size + n])));
  });
}

// one value a pixel, in the colours of a table of 256 from `low` to `high`
function drawMap(canvas, values, height, width, table, low, high) {
  const scale = high > low ? 255 / (high - low) : 0;
  putPixels(canvas, width, height, (n, out, at) => {
    const row = 3 * Math.min(255, Math.max(0, Math.round((values[n] - low) * scale)));
    for (let c = 0; c < 3; c++) out[at + c] = table[row + c];
  });
}

// many maps as one sheet, in a given order, all in one colour scale
function drawSheet(canvas, maps, order, height, width, columns, table, limit, chosen) {
  const rows = Math.ceil(order.length / columns), across = columns * (width + 1) + 1, down = rows * (height + 1) + 1;
  Object.assign(canvas, { width: across, height: down });
  const context = canvas.getContext("2d"), image = context.createImageData(across, down), scale = 127.5 / (limit || 1);
  order.forEach((c, slot) => {
    const left = (slot % columns) * (width + 1) + 1, top = Math.floor(slot / columns) * (height + 1) + 1, map = maps[c];
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
      const row = 3 * Math.min(255, Math.max(0, Math.round(127.5 + scale * map[y * width + x])));
      const at = 4 * ((top + y) * across + left + x);
      for (let k = 0; k < 3; k++) image.data[at + k] = table[row + k];
      image.data[at + 3] = 255;
    }
  });
  context.putImageData(image, 0, 0);
  for (const [c, colour] of chosen) {
    const slot = order.indexOf(c);
    context.strokeStyle = colour;
    context.lineWidth = 2;
    context.strokeRect((slot % columns) * (width + 1) + 0.5, Math.floor(slot / columns) * (height + 1) + 0.5, width + 1, height + 1);
  }
}

// direction as hue, length as saturation: (h, w, 2) backward flow, length 0.3 gets full colour
function drawFlow(canvas, { shape: [height, width], data }) {
  putPixels(canvas, width, height, (n, out, at) => {
    const x = (n % width) / (width - 1) * 2 - 1, y = Math.floor(n / width) / (height - 1) * 2 - 1;
    const dx = data[2 * n] - x, dy = data[2 * n + 1] - y;
    const hue = ((Math.atan2(dy, dx) / (2 * Math.PI)) % 1 + 1) % 1 * 6, strength = Math.min(1, Math.hypot(dx, dy) / 0.3);
    [5, 3, 1].forEach((shift, c) => {
      const k = (shift + hue) % 6;
      out[at + c] = Math.round(255 * (1 - strength * Math.max(0, Math.min(k, 4 - k, 1))));
    });
  });
}

// where values (h, w) cross a level, as a path in pixels of the picture
function contourOf(values, height, width, level) {
  const parts = [], at = (row, column) => values[row * width + column] - level;
  for (let row = 0; row + 1 < height; row++) for (let column = 0; column + 1 < width; column++) {
    const corners = [[row, column], [row, column + 1], [row + 1, column + 1], [row + 1, column]], cuts = [];
    corners.forEach((corner, n) => {
      const next = corners[(n + 1) % 4], a = at(...corner), b = at(...next);
      if (a < 0 !== b < 0) cuts.push([0, 1].map((axis) => corner[axis] + ((next[axis] - corner[axis]) * a) / (a - b) + 0.5));
    });
    for (let n = 0; n + 1 < cuts.length; n += 2) parts.push(`M${cuts[n][1].toFixed(2)},${cuts[n][0].toFixed(2)}L${cuts[n + 1][1].toFixed(2)},${cuts[n + 1][0].toFixed(2)}`);
  }
  return parts.join("");
}

function figure(title, canvas, ...below) {
  return element("figure", {}, element("figcaption", {}, title), element("div", { class: "frame" }, canvas), ...below);
}

function button(text, act, attributes = {}) {
  return element("button", { type: "button", onclick: act, ...attributes }, text);
}

function choice(label, options, act) {
  const select = element("select", { "aria-label": label, onchange: () => act(select.value) });
  for (const [value, text] of options) select.append(element("option", { value }, text));
  return { select, box: element("label", {}, `${label} `, select) };
}

// `begin` comes before the first of the changes that belong together, by mouse or by keys
function slider(label, attributes, begin, act) {
  let moving = false;
  const follow = () => {
    if (!moving) begin();
    moving = true;
    act(Number(input.value));
  };
  const rest = () => { moving = false; };
  const ends = { onchange: rest, onpointerdown: rest, onpointerup: rest, onblur: rest };
  const input = element("input", { type: "range", "aria-label": label, oninput: follow, ...ends, ...attributes });
  const value = element("output", {});
  return { input, value, box: element("label", { class: "slider" }, `${label} `, input, value) };
}

// where on a canvas somebody pointed, as (row, column) of a grid
function cellAt(event, canvas, rows, columns) {
  const box = canvas.getBoundingClientRect();
  const inside = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
  return [inside((event.clientY - box.top) / box.height, rows), inside((event.clientX - box.left) / box.width, columns)];
}
