"Sphinx: the look of the site. What it shows is made by build.py."

import html
import json
from configparser import ConfigParser
from pathlib import Path

HERE = Path(__file__).resolve().parent
config = ConfigParser(delimiters=["="])
config.read(HERE.parent / "settings.ini", encoding="utf-8")
settings = config["DEFAULT"]

project = settings["lib_name"]
author = settings["author"]
copyright = settings["copyright"]
release = settings["version"]

extensions = ["myst_nb", "sphinx_copybutton"]
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {"widgets.js": {}, "embed.js": {}}
myst_enable_extensions = [
    "amsmath",
    "attrs_block",
    "attrs_inline",
    "colon_fence",
    "deflist",
    "dollarmath",
    "html_image",
]
myst_heading_anchors = 3
mathjax_path = "mathjax.js"
copybutton_selector = ".cell_input div.highlight pre, div.highlight-bash pre"

html_theme = "furo"
html_title = f"mcnet {release}"
html_static_path = ["_static", "_vendor", "images"]
html_css_files = ["mcnet.css"]
html_js_files = ["live.js"]
html_favicon = "_static/favicon.svg"
html_show_sphinx = False
html_copy_source = False
html_search_scorer = str(HERE / "scorer.js")
pygments_style = "friendly"
pygments_dark_style = "monokai"
address = f"{settings['doc_host']}{settings['doc_baseurl']}"
html_baseurl = f"{address}/"
repository = settings["git_url"]
pages = json.loads((HERE.parent / "_proc" / "about.json").read_text(encoding="utf-8"))  # written by build.py
html_theme_options = {
    "navigation_with_keys": False,  # arrow keys belong to the sliders
    "footer_icons": [{"name": "Repository", "url": repository, "html": "Repository", "class": ""}],
}


def describe(app, pagename, templatename, context, doctree):
    "Give a page its neighbours in the story, which are not those of the navigation, and its description."
    known = pages.get(pagename)
    if known is None:
        return
    for key, neighbour in zip(("prev", "next"), known["neighbours"]):
        context[key] = neighbour and {
            "link": app.builder.get_relative_uri(pagename, neighbour[0]),
            "title": html.escape(neighbour[1]),
        }
    tags = {"og:title": context["title"], "og:description": known["description"], "og:type": "article"}
    tags |= {"og:url": f"{address}/{pagename}.html", "og:image": f"{address}/_static/demo.png"}
    lines = [f'<meta name="description" content="{html.escape(known["description"])}">']
    lines += [f'<meta property="{key}" content="{html.escape(value)}">' for key, value in tags.items()]
    context["metatags"] = context.get("metatags", "") + "\n".join(lines)


def setup(app):
    app.connect("html-page-context", describe, priority=900)
