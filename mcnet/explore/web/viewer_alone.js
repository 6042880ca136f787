// A view in a page of its own: nobody is asked, everything is here.

async function begin() {
  const text = JSON.parse(document.getElementById("mcnet-setup").textContent), packed = document.getElementById("mcnet-arrays").textContent;
  const stream = new Blob([Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0))]).stream().pipeThrough(new DecompressionStream("gzip"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  let at = 0;
  const setup = withArrays(text, (size) => bytes.subarray(at, (at += size)));
  render({ model: new PageModel({ setup, state: linked({ panels: [] }).state }), el: document.getElementById("explorer") });
}
begin();
