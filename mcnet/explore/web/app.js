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

// what is wrong with a state, in a sentence; the limits are those of mcnet.explore.engine
function faultOf(setup, state) {
  const { surgery } = state, rows = [state.points, state.shears, surgery.gains, surgery.swaps, surgery.paint];
  if (![...rows, state.place].every(Array.isArray) || !rows.flat().every(Array.isArray)) return "this is no state of the explorer; copy it again, or start anew";
  if (![...state.place, ...rows.flat(2)].every(Number.isFinite)) return "the state has a number that is none; give finite numbers";
  const beyond = [...state.points, ...state.shears].find(([k]) => !(k >= 0 && k < setup.points));
  if (beyond) return `there is no keypoint ${beyond[0]}; this network has ${setup.points}, counted from 0`;
  if (!(surgery.sharpness > 0 && surgery.sharpness <= 32)) return `sharpness is ${surgery.sharpness}; choose more than 0, up to 32; 1 is as trained`;
  for (const [name, count] of [["frame", setup.frames], ["level", setup.levels.length], ["channel", setup.channels], ["keypoint", setup.points], ["moment", setup.births.steps.length]]) {
    if (!Number.isInteger(state[name]) || state[name] < 0 || state[name] >= count) return `${name} is ${state[name]}; choose 0 to ${count - 1}`;
  }
  if (!(state.hole >= 0 && state.hole <= 1)) return `hole is ${state.hole}; choose a radius from 0, which is none, to 1`;
  const words = [[surgery.control, setup.controls], [state.oracle, setup.oracles], [state.kind, setup.kinds], [state.sort, setup.sorts], [state.view, setup.views], [state.bank, ["own", ...setup.banks]]];
  const unknown = words.find(([word, known]) => !known.includes(word));
  return unknown ? `${unknown[0]} is not known here; choose ${unknown[1].join(", ")}` : "";
}

// what only says where to look: it changes no tensor
const LOOKS = ["channel", "sort", "kind", "view", "keypoint", "moment"], OF_A_LEVEL = ["memory", "key", "value", "query", "answer"];

// two states with one key have one tensor of that name
function keyOf(name, state) {
  if (name === "effects") return JSON.stringify([state.frame, state.bank]);
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
    model.send({ kind: "ask", id: waiting, state: app.state, wants });
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
      if (known.effects !== keyOf("effects", app.shown)) delete app.answer.effects;  // they were measured on another frame
    } else {
      tell(message.text);
      if (!again) app.state = app.shown || app.start;  // what was asked for cannot be: keep what there is
    }
    app.draw();
    if (again) { again = false; app.ask(); }
  });
  return app;
}
