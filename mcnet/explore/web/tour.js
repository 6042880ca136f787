// A path through the explorer: each stop prepares what it asks about, and asks before it shows.

function tourPanel(app) {
  const stops = app.setup.tour;
  const title = element("h3", {}), question = element("p", { class: "question" }), answer = element("p", { class: "answer", hidden: true }), place = element("span", { class: "legend" });
  let at = 0;
  const before = () => withDefaults(app.start, stops[at].before), after = () => withDefaults(before(), stops[at].state);
  const show = button("show me", async () => {
    show.disabled = true;
    if (JSON.stringify(app.state) !== JSON.stringify(before())) app.change(before());
    await app.settled();
    if (Object.keys(stops[at].state).some((name) => ![...LOOKS, "level"].includes(name))) app.keep();  // to compare with
    app.change(after());
    await app.settled();
    answer.hidden = false;
    show.hidden = true;
    box.classList.add("answered");
    (next.disabled ? leave : next).focus({ preventScroll: true });
    look();
  }, { class: "main" });
  const go = (step) => { at = Math.min(stops.length - 1, Math.max(0, at + step)); arrive(); };
  const back = button("back", () => go(-1)), next = button("next", () => go(1)), leave = button("leave the tour", () => close());
  const box = element("section", { class: "tour", "aria-label": "tour", hidden: true }, title, element("div", { class: "words" }, question, answer),
    element("div", { class: "controls" }, show, back, next, leave, place));
  title.tabIndex = -1;

  // the panel that a stop speaks of comes into sight, below the tour where that stands above
  function look() {
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const above = box.getBoundingClientRect().width > 0.8 * app.element.getBoundingClientRect().width;
    app.element.style.setProperty("--below", above ? `${box.offsetHeight + 8}px` : "0px");
    app.element.querySelector(`section.${stops[at].panel}`).scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
  }
  async function arrive() {
    const stop = stops[at];
    title.textContent = `${at + 1} · ${stop.title}`;
    question.textContent = stop.question;
    answer.textContent = stop.answer;
    answer.hidden = true;
    box.classList.remove("answered");
    show.hidden = show.disabled = false;
    back.disabled = at === 0;
    next.disabled = at === stops.length - 1;
    place.textContent = `${at + 1} of ${stops.length}`;
    app.forget();
    app.change(before());
    title.focus({ preventScroll: true });
    await app.settled();  // what is drawn for the stop may be higher or lower than what was there
    if (stop === stops[at] && !box.hidden) look();
  }
  function close() {
    box.hidden = true;
    app.element.querySelector(".body").classList.remove("touring");
  }
  return {
    element: box,
    wants: () => [],
    setUp() { if (!app.setup.drawn) close(); },
    draw() {},
    open() {
      box.hidden = false;
      app.element.querySelector(".body").classList.add("touring");
      arrive();
    },
  };
}
