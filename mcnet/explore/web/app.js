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

// what a state may be: the same limits as mcnet.explore.engine has, said before anybody is asked
function checkState(setup, state) {
  const numbers = [...state.place, ...state.points.flat(), ...state.shears.flat(), ...state.surgery.gains.flat(), ...state.surgery.paint.flat()];
  if (!numbers.every(Number.isFinite)) throw new Error("the state has a number that is none; give finite numbers");
  if (!(state.surgery.sharpness > 0 && state.surgery.sharpness <= 32)) throw new Error(`sharpness is ${state.surgery.sharpness}; choose more than 0, up to 32; 1 is as trained`);
  for (const [name, count] of [["frame", setup.frames], ["level", setup.levels.length], ["channel", setup.channels]]) {
    if (!Number.isInteger(state[name]) || state[name] < 0 || state[name] >= count) throw new Error(`${name} is ${state[name]}; choose 0 to ${count - 1}`);
  }
  for (const [value, known] of [[state.surgery.control, setup.controls], [state.oracle, setup.oracles], [state.kind, setup.kinds], [state.sort, setup.sorts]]) {
    if (!known.includes(value)) throw new Error(`${value} is not known here; choose ${known.join(", ")}`);
  }
}

function createApp(model, tell) {
  const setup = prepare(model.get("setup"));
  const start = withDefaults(setup.start, {});
  const app = { model, setup, start, state: withDefaults(start, model.get("state") || {}), answer: {}, shown: null, kept: null };
  const panels = [], past = [], future = [];
  let waiting = null, again = false, count = 0, effectsOf = null;

  app.add = (panel) => panels.push(panel);
  app.draw = () => { if (app.shown) panels.forEach((panel) => panel.draw()); };
  app.wants = () => [...new Set(panels.flatMap((panel) => panel.wants()))];
  app.busy = () => waiting !== null;

  app.ask = (more = []) => {
    if (waiting !== null) { again = true; return; }
    waiting = ++count;
    app.element?.setAttribute("aria-busy", "true");
    model.send({ kind: "ask", id: waiting, state: app.state, wants: [...new Set([...app.wants(), ...more])] });
  };

  app.change = (patch, { remember = true } = {}) => {
    if (remember) { past.push(app.state); future.length = 0; }
    app.state = { ...app.state, ...patch };
    publish();
  };
  app.cut = (patch, options) => app.change({ surgery: { ...app.state.surgery, ...patch } }, options);
  app.remember = () => { past.push(app.state); future.length = 0; };
  const travel = (from, to) => {
    if (!from.length) return;
    to.push(app.state);
    app.state = from.pop();
    publish();
  };
  app.undo = () => travel(past, future);
  app.redo = () => travel(future, past);
  app.canUndo = () => past.length > 0;
  app.canRedo = () => future.length > 0;
  app.reset = () => app.change(app.start);

  function publish() {
    tell("");
    try {
      checkState(app.setup, app.state);
    } catch (error) {
      tell(error.message);
      app.state = past.pop() ?? app.start;
      app.draw();
      return;
    }
    model.set("state", app.state);
    model.save_changes();
    app.ask();
  }

  model.on("change:state", () => {  // somebody else has set it, for instance a cell of the notebook
    const given = withDefaults(start, model.get("state") || {});
    if (JSON.stringify(given) === JSON.stringify(app.state)) return;
    app.remember();
    app.state = given;
    app.ask();
  });
  model.on("change:setup", () => {
    Object.assign(app, { setup: prepare(model.get("setup")), kept: null });
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
      message.parts.forEach((part, k) => { app.answer[part.name] = toTensor({ ...part, type: "f4", data: buffers[k] }); });
      app.shown = message.state;
      if (message.parts.some((part) => part.name === "effects")) effectsOf = message.state.frame;
      if (effectsOf !== message.state.frame) delete app.answer.effects;  // they were measured on another frame
    } else {
      tell(message.text);
      if (!again) app.state = app.shown || app.start;  // what was asked for cannot be: keep what there is
    }
    app.draw();
    if (again) { again = false; app.ask(); }
  });
  return app;
}
