// A path through the explorer: each stop asks before it shows.

function tourPanel(app) {
  const stops = app.setup.tour;
  const title = element("h3", {}), question = element("p", { class: "question" }), answer = element("p", { class: "answer", hidden: true }), place = element("span", { class: "legend" });
  let at = 0;
  const show = button("show me", () => {
    app.change(withDefaults(app.start, stops[at].state));
    answer.hidden = false;
    show.hidden = true;
    app.element.style.setProperty("--below", `${box.offsetHeight + 8}px`);  // the tour stays in sight, and covers nothing that is shown
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    app.element.querySelector(`section.${stops[at].panel}`).scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
  });
  const go = (step) => { at = Math.min(stops.length - 1, Math.max(0, at + step)); draw(); title.focus(); };
  const back = button("back", () => go(-1)), next = button("next", () => go(1)), leave = button("leave the tour", () => { box.hidden = true; });
  const box = element("section", { class: "tour", "aria-label": "tour", hidden: true }, title, question, answer,
    element("div", { class: "controls" }, show, back, next, leave, place));
  title.tabIndex = -1;
  function draw() {
    const stop = stops[at];
    title.textContent = `${at + 1} · ${stop.title}`;
    question.textContent = stop.question;
    answer.textContent = stop.answer;
    answer.hidden = true;
    show.hidden = false;
    back.disabled = at === 0;
    next.disabled = at === stops.length - 1;
    place.textContent = `${at + 1} of ${stops.length}`;
  }
  return {
    element: box,
    wants: () => [],
    setUp() { if (!app.setup.drawn) box.hidden = true; },
    draw() {},
    open() { box.hidden = false; draw(); title.focus(); },
  };
}
