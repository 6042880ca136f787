// The explorer: puts the panels together. A notebook gives a kernel's model, a file of its own one that answers by itself.

function render({ model, el }) {
  const message = element("p", { class: "message", role: "alert", "aria-live": "assertive" });
  const tell = (text) => { message.textContent = text; };
  const app = createApp(model, tell);
  const stage = stagePanel(app), tour = tourPanel(app);
  const chosen = { stage, memory: memoryPanel(app), asking: askingPanel(app), birth: birthPanel(app) }, whole = Object.keys(chosen).every((name) => app.setup.panels.includes(name));
  const shownPanels = app.setup.panels.map((name) => chosen[name]), panels = [...(whole ? [tour] : []), ...shownPanels];
  panels.forEach(app.add);

  const undo = button("undo", app.undo, { title: "Ctrl+Z" }), redo = button("redo", app.redo, { title: "Ctrl+Y" });
  const blink = button("blink A", () => {}, { "aria-pressed": "false", title: "hold to see A" });
  const press = (on) => { stage.blink(on); blink.setAttribute("aria-pressed", String(on)); };
  blink.addEventListener("pointerdown", () => press(true));
  ["pointerup", "pointerleave", "blur", "keyup"].forEach((name) => blink.addEventListener(name, () => press(false)));
  blink.addEventListener("keydown", (event) => { if ([" ", "Enter"].includes(event.key)) press(true); });
  const copied = (text, what) => navigator.clipboard?.writeText(text).then(() => tell(`${what} is on the clipboard.`), () => tell(text)) ?? tell(text);
  const changes = () => onlyChanges(app.start, app.state), shown = whole ? {} : { panels: app.setup.panels };
  const link = () => `${location.href.split("#")[0]}#${encodeURIComponent(JSON.stringify({ ...shown, ...changes() }))}`;
  const picture = element("input", { type: "file", accept: "image/*", class: "file", "aria-label": "a picture of your own", onchange: () => { take(picture.files[0]); picture.value = ""; } });

  async function take(file) {
    if (!file) return;
    if (file.size > 60e6) { tell(`${file.name} has ${Math.round(file.size / 1e6)} MB; take a picture of at most 60.`); return; }
    let bytes;
    try {
      bytes = await file.arrayBuffer();
    } catch {
      tell(`${file.name} cannot be read; take one picture file.`);
      return;
    }
    model.send({ kind: "picture", name: file.name }, undefined, [bytes]);
  }

  const tourButton = button("take the tour", tour.open, { class: "main" });
  const head = element("header", {},
    whole ? element("h2", {}, app.setup.title) : null,
    element("div", { class: "controls" }, undo, redo, button("start again", app.reset),
      button("keep as A", app.keep), blink,
      whole ? tourButton : null,
      button("copy as code", () => copied(`explorer.state = ${pythonText(changes())}`, "A cell of code")),
      button("copy as a link", () => copied(link(), "A link")),
      element("label", { class: "pick" }, "your own picture", picture)));
  const root = element("div", { class: "mcnet-explorer" }, head, message,
    element("div", { class: "body" }, whole ? tour.element : null, element("div", { class: "panels" }, ...shownPanels.map((panel) => panel.element))));
  app.element = root;
  root.explorer = app;  // for the console, and for tests
  root.addEventListener("keydown", (event) => {
    event.stopPropagation();  // in JupyterLab arrow keys on a slider are the slider's, not the notebook's
    if (!(event.ctrlKey || event.metaKey) || event.target.matches("input[type=text], textarea")) return;
    if (event.key === "z" && !event.shiftKey) app.undo();
    else if (event.key === "y" || event.key === "Z") app.redo();
    else return;
    event.preventDefault();
  });
  root.addEventListener("dragover", (event) => event.preventDefault());
  root.addEventListener("drop", (event) => { event.preventDefault(); take(event.dataTransfer.files[0]); });

  app.add({ wants: () => [], draw: () => { undo.disabled = !app.canUndo(); redo.disabled = !app.canRedo(); blink.disabled = !app.kept; } });
  app.setUp = () => {
    panels.forEach((panel) => panel.setUp());
    tourButton.hidden = !app.setup.drawn;  // it speaks of the drawn person
  };
  app.setUp();
  el.replaceChildren(root);
  app.ask();
}

// a state as a notebook's cell has it
function pythonText(value) {
  return JSON.stringify(value, null, 1).replace(/\n\s*/g, " ");
}
