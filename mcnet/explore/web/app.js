// One state, one question at a time: whatever is touched changes the state, whatever is drawn follows from an answer.

function prepare(setup) {
  const unpack = (value) => (value && value.shape && value.type ? toTensor(value) : value);
  return Object.fromEntries(Object.entries(setup).map(([name, value]) => [name, unpack(value)]));
}

function withDefaults(start, given) {
  return { ...start, ...given, surgery: { ...start.surgery, ...(given.surgery || {}) } };
}

function onlyChanges(start, state) {
  const differs = (a, b) => JSON.stringify(a) !== JSON.stringify(b);
  const changed = Object.fromEntries(Object.entries(state).filter(([name, value]) => name !== "surgery" && differs(value, start[name])));
  const cut = Object.entries(state.surgery).filter(([name, value]) => differs(value, start.surgery[name]));
  return cut.length ? { ...changed, surgery: Object.fromEntries(cut) } : changed;
}

// what is wrong with a state, in a sentence; the limits are those of mcnet.explore.engine and mcnet.explore.surgery
function faultOf(setup, state) {
  const { surgery } = state, known = Object.keys(setup.start), cuts = Object.keys(setup.start.surgery), none = "this is no state of the explorer; copy it again, or start anew";
  if (!surgery || typeof surgery !== "object" || Array.isArray(surgery)) return none;
  const strange = [...Object.keys(state).filter((name) => !known.includes(name)), ...Object.keys(surgery).filter((name) => !cuts.includes(name))];
  if (strange.length) return `a state has nothing called ${strange[0].slice(0, 40)}; it has ${[...known, ...cuts].join(", ")}`;
  const places = setup.grid[0] * setup.grid[1];
  const rows = [  // name, rows, how long a row is, how many of its numbers count something, and up to what
    ["points", state.points, 3, 1, setup.points], ["shears", state.shears, 5, 1, setup.points], ["place", [state.place], 2, 0, 0],
    ["gains", surgery.gains, 2, 1, setup.channels], ["swaps", surgery.swaps, 2, 2, setup.channels], ["paint", surgery.paint, 2, 1, places],
  ];
  for (const [name, list, length, whole, count] of rows) {
    if (!Array.isArray(list) || !list.every(Array.isArray)) return none;
    const wrong = list.find((row) => row.length !== length || !row.every(Number.isFinite));
    if (wrong) return `${name} has [${String(wrong).slice(0, 40)}]; give ${length} finite numbers`;
    const beyond = list.flatMap((row) => row.slice(0, whole)).find((n) => !Number.isInteger(n) || n < 0 || n >= count);
    if (beyond !== undefined) return `${name} names ${beyond}; choose 0 to ${count - 1}`;
  }
  if (state.place.some((v) => Math.abs(v) > 1)) return `place is ${state.place}; choose x and y from -1 to 1`;
  if ([...state.points, ...state.shears].some(([, ...row]) => row.some((v) => Math.abs(v) > 100))) return "a keypoint is moved or sheared by more than 100; choose less";
  if ([...surgery.gains, ...surgery.paint].some(([, factor]) => Math.abs(factor) > 8)) return "a factor is beyond ±8; choose one within, 0 silences";
  const numbers = [["frame", 0, setup.frames - 1, 1], ["level", 0, setup.levels.length - 1, 1], ["channel", 0, setup.channels - 1, 1], ["keypoint", 0, setup.points - 1, 1], ["moment", 0, setup.births.steps.length - 1, 1], ["hole", 0, 1, 0]];
  for (const [name, low, high, whole] of numbers) {
    if (!Number.isFinite(state[name]) || (whole && !Number.isInteger(state[name])) || state[name] < low || state[name] > high) return `${name} is ${state[name]}; choose ${low} to ${high}`;
  }
  if (!(Number.isFinite(surgery.sharpness) && surgery.sharpness >= 1e-6 && surgery.sharpness <= 32)) return `sharpness is ${surgery.sharpness}; choose 0.000001 to 32; 1 is as trained`;
  const words = [[surgery.control, setup.controls], [state.oracle, setup.oracles], [state.kind, setup.kinds], [state.sort, setup.sorts], [state.view, setup.views], [state.bank, ["own", ...setup.banks]]];
  const unknown = words.find(([word, others]) => !others.includes(word));
  return unknown ? `${unknown[0]} is not known here; choose ${unknown[1].join(", ")}` : "";
}

// what only says where to look: it changes no tensor
const LOOKS = ["channel", "sort", "kind", "view", "keypoint", "moment"], OF_A_LEVEL = ["memory", "key", "value", "query", "answer"];

// two states with one key have one tensor of that name
function keyOf(name, state) {
  if (name === "effects") {  // of the network as it is, whatever is done to its memory
    const { frame, bank, points, shears, oracle, hole, place } = state;
    return JSON.stringify([frame, bank, points, shears, oracle, hole, hole ? place : 0]);
  }
  const ignored = [...LOOKS, ...(state.hole ? [] : ["place"]), ...(OF_A_LEVEL.includes(name) ? [] : ["level"])];
  return JSON.stringify(Object.entries(state).filter(([entry]) => !ignored.includes(entry)).sort());
}

function createApp(model, tell) {
  const setup = prepare(model.get("setup"));
  const start = withDefaults(setup.start, {});
  const given = withDefaults(start, model.get("state") || {}), fault = faultOf(setup, given);  // of a link, or a cell
  tell(fault);
  const app = { model, setup, start, state: fault ? start : given, answer: {}, shown: null, kept: null };
  const panels = [], past = [], future = [];
  let waiting = null, again = false, count = 0, known = {};  // for each tensor the key of its state

  app.add = (panel) => panels.push(panel);
  app.draw = () => { if (app.shown) panels.forEach((panel) => panel.draw()); };
  app.wants = () => [...new Set(panels.flatMap((panel) => panel.wants()))];
  app.busy = () => waiting !== null;
  app.settled = () => new Promise((done) => { const look = () => (app.busy() ? setTimeout(look, 20) : done()); look(); });
  app.keep = () => { app.kept = { image: app.answer.image, state: app.shown }; app.draw(); };
  app.forget = () => { app.kept = null; panels.forEach((panel) => panel.forget?.()); };

  app.ask = () => {
    if (waiting !== null) { again = true; return; }
    const wants = app.wants().filter((name) => known[name] !== keyOf(name, app.state));
    if (!wants.length) { app.shown = app.state; app.draw(); return; }
    waiting = ++count;
    app.element?.setAttribute("aria-busy", "true");
    model.send({ kind: "ask", id: waiting, subject: app.setup.subject, state: app.state, wants });
  };

  app.change = (patch, { remember = true } = {}) => {
    const next = { ...app.state, ...patch }, fault = faultOf(app.setup, next);
    tell(fault);
    if (fault) { app.draw(); return; }
    if (remember) app.remember();
    app.state = next;
    publish();
  };
  app.cut = (patch, options) => app.change({ surgery: { ...app.state.surgery, ...patch } }, options);
  app.remember = () => { past.push(app.state); future.length = 0; };
  const travel = (from, to) => {
    if (!from.length) return;
    to.push(app.state);
    app.state = from.pop();
    tell("");
    publish();
  };
  app.undo = () => travel(past, future);
  app.redo = () => travel(future, past);
  app.canUndo = () => past.length > 0;
  app.canRedo = () => future.length > 0;
  app.reset = () => app.change(app.start);

  function publish() {
    model.set("state", app.state);
    model.save_changes();
    app.ask();
  }

  model.on("change:state", () => {  // somebody else has set it, for instance a cell of the notebook
    const given = withDefaults(app.start, model.get("state") || {}), fault = faultOf(app.setup, given);
    if (JSON.stringify(given) === JSON.stringify(app.state)) return;
    tell(fault);
    if (fault) return;
    app.remember();
    app.state = given;
    app.ask();
  });
  model.on("change:setup", () => {
    Object.assign(app, { setup: { ...prepare(model.get("setup")), panels: app.setup.panels }, kept: null });
    known = {};
    tell("");
    app.start = withDefaults(app.setup.start, {});
    app.state = app.start;
    past.length = future.length = 0;
    app.setUp();
    publish();
  });
  model.on("msg:custom", (message, buffers) => {
    if (message.kind === "progress") { tell(message.text); return; }
    if (message.id !== waiting) { if (message.kind === "problem") tell(message.text); return; }
    waiting = null;
    app.element?.removeAttribute("aria-busy");
    if (message.kind === "answer") {
      message.parts.forEach((part, k) => {
        app.answer[part.name] = toTensor({ ...part, type: "f4", data: buffers[k] });
        known[part.name] = keyOf(part.name, message.state);
      });
      app.shown = message.state;
      if (known.effects !== keyOf("effects", app.shown)) delete app.answer.effects;  // they were measured on another picture
    } else {
      tell(message.text);
      if (!again) {  // what was asked for cannot be: keep what there is, or begin with the first state
        const begin = !app.shown && JSON.stringify(app.state) !== JSON.stringify(app.start);
        app.state = app.shown || app.start;
        again = begin;
      }
    }
    app.draw();
    if (again) { again = false; app.ask(); }
  });
  return app;
}
