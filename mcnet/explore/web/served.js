// A page whose kernel is the program that served it: every message is one request.

async function askServer(model, content, buffers, send) {
  const body = content.kind === "picture" ? buffers[0] : JSON.stringify(content);
  const ended = () => { throw new Error("the program behind this page has ended; run mcnet explore again, and open the address that it prints"); };
  const response = await fetch(content.kind === "picture" ? `picture?name=${encodeURIComponent(content.name)}` : "ask", { method: "POST", body }).catch(ended);
  if (!response.ok) throw new Error(`the program answers ${response.status}; is mcnet explore still running?`);
  const bytes = new Uint8Array(await response.arrayBuffer()), length = new DataView(bytes.buffer).getUint32(0);
  const message = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  let at = 4 + length;
  const cut = (size) => bytes.subarray(at, (at += size));
  if (message.setup) {
    model.set("setup", withArrays(message.setup, (size) => cut(size)));
    model.save_changes();
  } else send(message, (message.parts || []).map((part) => cut(4 * part.shape.reduce((a, b) => a * b, 1))));
}

async function begin() {
  const text = JSON.parse(document.getElementById("mcnet-setup").textContent);
  const bytes = new Uint8Array(await (await fetch("arrays")).arrayBuffer());
  let at = 0;
  const setup = withArrays(text, (size) => bytes.subarray(at, (at += size)));
  render({ model: new PageModel(linked(setup), askServer), el: document.getElementById("explorer") });
}
begin();
