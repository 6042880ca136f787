/* A still of the explorer becomes the explorer itself: one file for all pages, fetched when somebody asks for it. */
(function () {
  const root = document.documentElement.dataset.content_root || "./", frames = [];
  window.addEventListener("message", ({ data, source }) => {
    const frame = frames.find((one) => one.contentWindow === source);
    if (frame && data && data.mcnetHeight) frame.style.height = `${data.mcnetHeight}px`;
  });

  function theme() {
    const chosen = document.body.dataset.theme;
    return chosen === "light" || chosen === "dark" ? { theme: chosen } : {};
  }

  function offer(still) {
    const given = JSON.parse(still.dataset.explorer), button = document.createElement("button");
    Object.assign(button, { type: "button", className: "live", textContent: "▶ try it here" });
    button.addEventListener("click", () => {
      const frame = document.createElement("iframe");
      Object.assign(frame, { title: `live: ${still.alt}`, className: "live" });
      frames.push(frame);
      still.replaceWith(frame);
      button.remove();
      frame.src = `${root}explorer.html#${encodeURIComponent(JSON.stringify({ ...given, ...theme() }))}`;
      frame.focus();
    });
    still.after(button);
  }
  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("img[data-explorer]").forEach(offer));
})();
