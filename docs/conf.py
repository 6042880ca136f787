"Sphinx: the look of the site. What it shows is made by build.py."

from configparser import ConfigParser
from pathlib import Path

config = ConfigParser(delimiters=["="])
config.read(Path(__file__).resolve().parent.parent / "settings.ini", encoding="utf-8")
settings = config["DEFAULT"]

project = settings["lib_name"]
author = settings["author"]
copyright = settings["copyright"]
release = settings["version"]

extensions = ["myst_nb", "sphinx_copybutton"]
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {"embed.js": {}}
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath", "html_image"]
myst_heading_anchors = 3
mathjax_path = "mathjax.js"
copybutton_selector = ".cell_input div.highlight pre, div.highlight-bash pre"

html_theme = "furo"
html_title = f"mcnet {release}"
html_static_path = ["_static", "_vendor"]
html_css_files = ["mcnet.css"]
html_show_sphinx = False
html_copy_source = False
pygments_style = "friendly"
pygments_dark_style = "monokai"
html_theme_options = {"navigation_with_keys": True}
