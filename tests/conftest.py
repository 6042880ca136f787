"For the whole test run, before anything imports torch."

import os
import sys

import pytest
from browser import CHROMIUM

# One thread in each worker and in all that it starts: threads of two workers on two cores mostly wait for each other,
# and that waiting is no rest: it takes several times the processor time of the work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Some machines forbid to keep compiled modules: each of some hundred processes would then compile the package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.fixture(scope="module")
def browser():
    "A chromium without a window."
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()
