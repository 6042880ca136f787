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
