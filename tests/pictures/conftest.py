"""Two small finished runs: one of closed form, one trained, both of a world of AR(1)."""

import shutil

import pytest
from click.testing import CliRunner

import latentbench as lb
from latentbench.cli import main
from latentbench.pictures.rows import runs_to_draw


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    shared = {
        "preset": "demo",
        "encoder": "latents",
        "corpus": "world:ar1",
        "cache": root / "cache",
        "progress": False,
        "set": [
            "task.horizons_ms=[80,160]",
            "task.context_ms=160",
            "evaluation.metrics=[nll,dnll,dnll_capacity,gain,r2i,pit_coverage_50,pit_coverage_90]",
        ],
    }
    lb.run(out=root / "a$b_<i>", predictor="linear", **shared)
    lb.run(out=root / "_trained", steps=40, **shared)
    return [root / "a$b_<i>", root / "_trained"]


@pytest.fixture(scope="session")
def sampled(folders):
    """A run of a model that gives samples and no density, of two seeds, which is hardly trained."""
    root = folders[0].parent
    head = {"head": "energy", "width": 8, "head_width": 8, "head_layers": 1}
    out = root / "sampled"
    lb.run(
        preset="phase1", out=out, encoder="latents", corpus={"name": "world:ar1", "frames": 60},
        predictor={"name": "neural", **head}, seeds=[1, 2], steps=20, metrics=["direction_cos"],
        horizons=(1, 4), cache=root / "cache", progress=False, set=["utterances.min_seconds=0"],
    )  # fmt: skip
    return out


@pytest.fixture
def runs(folders):
    return runs_to_draw(folders)


@pytest.fixture
def invoke():
    """Run a command; the result has exit_code, stdout and stderr."""

    def run(*arguments):
        return CliRunner().invoke(main, [str(one) for one in arguments])

    return run


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Headless Chromium, which writes down what it asks of the network."""
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        pytest.skip("chromium or chromedriver is not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    downloads = tmp_path_factory.mktemp("downloads")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    driver.downloads = downloads
    yield driver
    driver.quit()
