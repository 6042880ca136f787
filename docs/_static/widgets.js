/* The widgets' loader speaks to MathJax 2, the page has MathJax 3: pass its one request on. */
(function () {
  const hub = {
    Queue: (request) => {
      const ready = window.MathJax.startup && window.MathJax.startup.promise;
      if (ready && request[2]) ready.then(() => window.MathJax.typesetPromise([request[2]]));
    },
  };
  const heard = (value) => { if (value && !value.Hub) value.Hub = hub; return value; };
  let current = heard(window.MathJax);
  Object.defineProperty(window, "MathJax", { configurable: true, get: () => current, set: (value) => { current = heard(value); } });
})();
