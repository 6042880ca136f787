// A view in a page of its own: nobody is asked, everything is here.

async function begin() {
  const setup = await packedSetup();
  render({ model: new PageModel({ setup, state: linked({ panels: [] }).state }), el: document.getElementById("explorer") });
}
begin();
