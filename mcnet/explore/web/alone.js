// A page without a kernel: a stored answer first; the network itself, in WebAssembly, at the first touch.

const whole = () => new Promise((done) => {
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", done, { once: true });
  else done();
});

let network = null;  // a promise of both sessions
const loadNetwork = () => (network ??= (async () => {
  await whole();
  const script = URL.createObjectURL(new Blob([await unpack("ort")], { type: "text/javascript" }));
  const ort = await import(script);
  ort.env.wasm.wasmBinary = await unpack("wasm");
  ort.env.wasm.numThreads = 1;
  const open = async (name) => ort.InferenceSession.create(await unpack(name), { executionProviders: ["wasm"] });
  const sessions = { ort, source: await open("source"), frame: await open("frame") };
  URL.revokeObjectURL(script);
  return sessions;
})());

const floats = (ort, data, shape) => new ort.Tensor("float32", data instanceof Float32Array ? data : Float32Array.from(data), shape);

// the same operation as mcnet.explore.surgery.cut_bank
function cutBank({ shape: [, channels, height, width], data }, { swaps, gains, paint }) {
  const bank = data.slice(), places = height * width, row = (c) => bank.subarray(c * places, (c + 1) * places);
  const refuse = (what, number, count) => { throw new Error(`there is no ${what} ${number}; this bank has ${count}, counted from 0`); };
  for (const c of [...swaps.flat(), ...gains.map(([c]) => c)]) if (!(c >= 0 && c < channels)) refuse("channel", c, channels);
  for (const [place] of paint) if (!(place >= 0 && place < places)) refuse("place", place, places);
  for (const [one, other] of swaps) {
    const kept = row(one).slice();
    row(one).set(row(other));
    row(other).set(kept);
  }
  for (const [c, factor] of gains) row(c).forEach((value, m) => { row(c)[m] = value * factor; });
  for (const [place, factor] of paint) for (let c = 0; c < channels; c++) bank[c * places + place] *= factor;
  return bank;
}

// everything that `frame.onnx` takes
function frameInputs(ort, setup, state, encoded) {
  const { surgery } = state, size = setup.size, count = setup.points, places = setup.grid[0] * setup.grid[1];
  const points = keypointsOf(setup, state), bank = state.bank === "own" ? setup.bank : setup[`bank ${state.bank}`];
  const dealt = surgery.control.endsWith("dealt anew"), numbers = BigInt64Array.from({ length: places }, (_, m) => BigInt(m));
  const order = BigInt64Array.from(setup.order, BigInt), list = (values) => new ort.Tensor("int64", values, [places]);
  const one = (value) => floats(ort, [value], [1]), picture = size * size;
  const flow = setup.flow ? rowOf(setup.flow, state.frame, 2 * picture) : new Float32Array(2 * picture);
  const visible = setup.visible ? rowOf(setup.visible, state.frame, picture) : new Float32Array(picture);
  return {
    ...encoded,
    driving_value: floats(ort, points.flatMap((p) => p.place.map((v) => Math.min(1, Math.max(-1, v)))), [1, count, 2]),
    ...(setup.driving_jacobian ? { driving_jacobian: floats(ort, points.flatMap((p) => p.jacobian), [1, count, 2, 2]) } : {}),
    bank: floats(ort, cutBank(bank, surgery), bank.shape),
    sharpness: one(surgery.sharpness), keep: one(surgery.control === "silenced" ? 0 : 1), even: one(surgery.control === "same answer" ? 1 : 0),
    value_order: list(dealt ? order : numbers), key_order: list(surgery.control.startsWith("keys and values") ? order : numbers),
    flow: floats(ort, flow, [1, size, size, 2]), visible: floats(ort, visible, [1, 1, size, size]),
    use_flow: one(["true flow", "both true"].includes(state.oracle) ? 1 : 0),
    use_visible: one(["true visibility", "both true"].includes(state.oracle) ? 1 : 0),
    hole: floats(ort, holeAround(size, state), [1, 1, size, size]),
  };
}

function createAlone(setup) {
  let encoded = null, same = true;  // the source's keypoints and features; whether it is still the stored person

  const pick = (session, inputs) => Object.fromEntries(Object.entries(inputs).filter(([name]) => session.inputNames.includes(name)));
  async function encode({ ort, source }) {
    const picture = floats(ort, Float32Array.from(setup.source.data, (value) => value / 255), [1, 3, setup.size, setup.size]);
    return { source: picture, ...(await source.run({ source: picture })) };
  }

  async function run(state, names, send) {
    if (!network) send({ kind: "progress", text: "the network is being loaded …" });
    const sessions = await loadNetwork();
    encoded ??= await encode(sessions);
    return sessions.frame.run(pick(sessions.frame, frameInputs(sessions.ort, setup, state, encoded)), names);
  }

  async function effects(state, send) {
    const change = [], silent = (gains) => ({ ...state, surgery: { ...setup.start.surgery, gains } });
    const plain = (await run(silent([]), ["image"], send)).image.data;
    for (let c = 0; c < setup.channels; c++) {
      send({ kind: "progress", text: `silencing channel ${c + 1} of ${setup.channels} …` });
      change.push(sum(meanDifference((await run(silent([[c, 0]]), ["image"], send)).image.data, plain)) / setup.size ** 2);
    }
    send({ kind: "progress", text: "" });
    return { shape: [setup.channels], data: Float32Array.from(change) };
  }

  async function answer(state, wants, send) {
    const names = Object.fromEntries(wants.filter((name) => !["bank", "effects"].includes(name)).map((name) => [name, OF_A_LEVEL.includes(name) ? name + state.level : name]));
    const first = !network, made = await run(state, Object.values(names), send), found = {};
    if (first) send({ kind: "progress", text: "" });
    for (const [name, output] of Object.entries(names)) found[name] = { shape: made[output].dims.slice(1), data: made[output].data };
    if (wants.includes("bank")) {
      const bank = state.bank === "own" ? setup.bank : setup[`bank ${state.bank}`];
      found.bank = { shape: bank.shape.slice(1), data: cutBank(bank, state.surgery) };
    }
    if (wants.includes("effects")) found.effects = await effects(state, send);
    return found;
  }

  function stored(state, wants) {
    const differs = (name) => keyOf(name, state) !== keyOf(name, setup.start);
    if (!same || wants.some((name) => differs(name) || !setup[`stored ${name}`])) return null;
    return Object.fromEntries(wants.map((name) => [name, setup[`stored ${name}`]]));
  }

  async function reply(model, content, buffers, send) {
    if (content.kind === "picture") return take(model, content.name, buffers[0]);
    const found = stored(content.state, content.wants) || (await answer(content.state, content.wants, send));
    const parts = Object.entries(found);
    send({ kind: "answer", id: content.id, state: content.state, parts: parts.map(([name, { shape }]) => ({ name, shape })) }, parts.map(([, { data }]) => data));
  }

  async function take(model, name, bytes) {
    const picture = new Image(), blob = new Blob([bytes]), address = URL.createObjectURL(blob), size = setup.size, data = new Uint8Array(3 * size * size);
    const unread = () => { throw new Error(`${name} is no picture that this browser can read (few read TIFF or HEIC), or damaged; save it as jpg or png`); };
    try {
      await new Promise((done, fail) => Object.assign(picture, { onload: done, onerror: fail, src: address })).catch(unread);
      const { naturalWidth: width, naturalHeight: height } = picture, side = Math.min(width, height);  // from its header: nothing is decoded yet
      if (width * height > setup.largest) throw new Error(`${name} is too large: ${width.toLocaleString("en")} × ${height.toLocaleString("en")} pixels, more than ${setup.largest / 1e6} million; make it smaller`);
      if (side < 16) throw new Error(`${name} has ${width}×${height} pixels; at least 16×16 are needed to see a face`);
      const bitmap = await createImageBitmap(blob).catch(unread);  // which refuses half a picture
      const canvas = Object.assign(document.createElement("canvas"), { width: size, height: size }), context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.fillStyle = "#fff";  // behind what is transparent
      context.fillRect(0, 0, size, size);
      context.drawImage(bitmap, (width - side) / 2, (height - side) / 2, side, side, 0, 0, size, size);
      bitmap.close();
      const pixels = context.getImageData(0, 0, size, size).data;
      for (let n = 0; n < size * size; n++) for (let c = 0; c < 3; c++) data[c * size * size + n] = pixels[4 * n + c];
    } finally {
      URL.revokeObjectURL(address);
    }
    const before = { setup, encoded, same };
    try {
      setup = { ...setup, source: { shape: [1, 3, size, size], data }, drawn: false, visible: null, flow: null, oracles: ["learned"], start: { ...setup.start, view: "warped" } };
      same = false;
      encoded = await encode(await loadNetwork());
      Object.assign(setup, carried(setup, encoded));
    } catch (error) {
      ({ setup, encoded, same } = before);
      throw error;
    }
    model.set("setup", setup);
    model.save_changes();
  }
  return reply;
}

// what changed in the driving frames since the one at rest, given to somebody else's keypoints
function carried(setup, encoded) {
  const count = setup.points, value = Float32Array.from(encoded.source_value.data), jacobian = encoded.source_jacobian?.data, rest = setup.rest;
  const places = setup.driving_value.data.map((v, n) => v - setup.driving_value.data[rest * count * 2 + (n % (count * 2))] + value[n % (count * 2)]);
  const found = { source_value: { shape: [1, count, 2], data: value }, driving_value: { shape: setup.driving_value.shape, data: places } };
  if (!jacobian) return found;
  const turned = new Float32Array(setup.driving_jacobian.data.length);
  for (let row = 0; row < setup.frames * count; row++) {
    const k = row % count, [a, b, c, d] = rowOf(setup.driving_jacobian, rest * count + k, 4), det = a * d - b * c;
    const change = product([...rowOf(setup.driving_jacobian, row, 4)], [d / det, -b / det, -c / det, a / det]);
    turned.set(product(change, [...jacobian.subarray(4 * k, 4 * k + 4)]), 4 * row);
  }
  return { ...found, source_jacobian: { shape: [1, count, 2, 2], data: Float32Array.from(jacobian) }, driving_jacobian: { shape: setup.driving_jacobian.shape, data: turned } };
}

async function begin() {
  const setup = prepare(await packedSetup());
  render({ model: new PageModel(linked(setup), createAlone(setup)), el: document.getElementById("explorer") });
}
begin();
