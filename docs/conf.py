"""How Sphinx makes the site of ``docs/``: ``make docs``. Why these tools: ``docs/project/site.md``."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path

from sbmlump._version import __version__

project = "sbmlump"
author = "sbmlump developers"
copyright = "sbmlump developers"
version = release = __version__

extensions = [
    "myst_nb",  # Markdown pages, and those with code that is run
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]
nitpicky = False  # types in docstrings are prose ("float64 (n,)"), not names to be looked up

# -- Markdown: links to headings are checked, too
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

# -- code that is run, in a folder of its own with the project's models and its command at hand; every time, and an
# error ends the build, as does a cell that takes too long
ROOT = Path(__file__).resolve().parent.parent
os.environ["SBMLUMP_DOCS_DATA"] = str(ROOT / "data")
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
# kernels warn that they talk over ports, on a machine that nobody else need be on
logging.getLogger("traitlets").setLevel(logging.WARNING)
PROFILE = Path(tempfile.mkdtemp(prefix="sbmlump-docs-")) / "profile_default"
PROFILE.mkdir()
(PROFILE / "ipython_kernel_config.py").write_text("c.IPKernelApp.log_level = 40\n", encoding="utf-8")
# and say that they are a terminal that can move its cursor, for which commands show progress that a page cannot show
(PROFILE / "startup").mkdir()
(PROFILE / "startup" / "terminal.py").write_text('import os; os.environ["TERM"] = "dumb"\n', encoding="utf-8")
os.environ["IPYTHONDIR"] = str(PROFILE.parent)
nb_execution_mode = os.environ.get("SBMLUMP_DOCS_EXECUTION", "force")
if nb_execution_mode == "off":  # what begins with "!" is known to be no Python once a kernel has said what it runs
    suppress_warnings = ["misc.highlighting_failure"]
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_execution_show_tb = True
nb_execution_in_temp = True
nb_merge_streams = True
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # else pages ask other hosts for scripts

# -- the Python face
numpydoc_show_class_members = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # they stand in the docstrings
autodoc_default_options = {"members": True, "undoc-members": False}

# -- pages: nothing comes from another host
html_theme = "furo"
html_title = f"sbmlump {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_logo = "_static/logo.svg"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#a83a0c", "color-brand-content": "#a83a0c"},
    "dark_css_variables": {"color-brand-primary": "#f08a5d", "color-brand-content": "#f08a5d"},
}
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
