// What stands in for a kernel's model on a page of its own: values, changes, messages.

class PageModel {
  constructor(values, reply) {
    this.values = values;
    this.reply = reply;  // (content, buffers, send) answers a message
    this.listeners = {};
    this.changed = new Set();
  }
  get(name) { return this.values[name]; }
  set(name, value) { this.values[name] = value; this.changed.add(name); }
  on(event, listener) { (this.listeners[event] ??= []).push(listener); }
  fire(event, ...values) { (this.listeners[event] || []).forEach((listener) => listener(...values)); }
  save_changes() {
    const names = [...this.changed];
    this.changed.clear();
    names.forEach((name) => this.fire(`change:${name}`));
  }
  send(content, callbacks, buffers = []) {
    const send = (message, parts = []) => this.fire("msg:custom", message, parts);
    Promise.resolve(this.reply(this, content, buffers, send)).catch((error) => send({ kind: "problem", id: content.id, text: String(error.message || error) }));
  }
}

// a file that is dropped beside the explorer is not to replace the page
["dragover", "drop"].forEach((name) => document.addEventListener(name, (event) => event.preventDefault()));

// the panels and the state that a link carries after its #
function linked(setup) {
  let given = {};
  try {
    const read = JSON.parse(decodeURIComponent(location.hash.slice(1)) || "{}");
    if (read && typeof read === "object" && !Array.isArray(read)) given = read;
  } catch { /* a damaged link opens the first state */ }
  const { panels = [], theme, ...state } = given, known = [panels].flat().filter((name) => setup.panels.includes(name));
  if (theme === "light" || theme === "dark") {
    document.body.dataset.theme = theme;
    document.documentElement.style.colorScheme = theme;
  }
  if (window.parent !== window) {  // within another page, which gives as much room as is needed
    new ResizeObserver(() => window.parent.postMessage({ mcnetHeight: Math.ceil(document.body.getBoundingClientRect().height) + 2 }, "*")).observe(document.body);
  }
  return { setup: known.length ? { ...setup, panels: known } : setup, state };
}

// descriptions of arrays, each with its bytes in the order in which they stand
function withArrays(values, cut) {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, value && value.shape && value.type ? { ...value, data: cut(value.bytes) } : value]));
}

// what a file of its own carries: bytes as text, four in five characters (mcnet.explore.page.as_text), compressed
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;/=>?@^_`{|}~";

function fromText(text) {
  const digit = new Uint8Array(128), words = Math.floor(text.length / 5), bytes = new Uint8Array(4 * words);
  for (let n = 0; n < DIGITS.length; n++) digit[DIGITS.charCodeAt(n)] = n;
  const view = new DataView(bytes.buffer);
  for (let word = 0, at = 0; word < words; word++) {
    let value = 0;
    for (let k = 0; k < 5; k++) value = value * 85 + digit[text.charCodeAt(at++)];
    view.setUint32(4 * word, value);
  }
  return bytes;
}

async function unpack(name) {
  const element = document.getElementById(`mcnet-${name}`), bytes = fromText(element.textContent);
  const packed = bytes.subarray(0, Number(element.dataset.bytes));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function packedSetup() {
  const text = JSON.parse(document.getElementById("mcnet-setup").textContent), bytes = await unpack("arrays");
  let at = 0;
  return withArrays(text, (size) => bytes.subarray(at, (at += size)));
}
