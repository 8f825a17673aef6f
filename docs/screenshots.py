"""Take the pictures of this documentation from a finished `make demo`.

    .venv/bin/python docs/screenshots.py [--root FOLDER] [--output FOLDER] [--photographs FOLDER]

The root is the folder of the demo, with ``.labelstudio`` and ``mlflow.db``. Both servers run on loopback, and stop
at the end. The program submits no answer and changes no run. It needs the ``dev`` extra (playwright) and a chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Browser, Page, Route, sync_playwright

from labelstudio.exchange.records import AnnotationError
from labelstudio.exchange.regions import DISREGARD, PREFILLED
from labelstudio.server import local
from labelstudio.server.process import free_port
from pipeline.tracking.store import EXPERIMENT

SIZE = (1280, 800)
SETTLE_MS = 3000  # pages draw canvases and charts some time after they report that they are ready
ANSWERS = re.compile("/api/(?!dm/)")  # dm: the data manager, which creates a tab for a first visitor
# MLflow's storage of a returning visitor: no greetings, and no pages for language models.
MLFLOW_VISITED = {
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.panelOpen_v1": "false",
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
}


def main(root: Path, output: Path, chromium: str, photographs: Path | None) -> None:
    """Write label-studio.png, prefilled.png, effect.png, mlflow*.png and report*.png; of photographs, two more."""
    data_dir, database = (root / ".labelstudio").absolute(), (root / "mlflow.db").absolute()
    if missing := [str(path) for path in (data_dir, database) if not path.exists()]:
        sys.exit(f"error: no {' and no '.join(missing)}. Fix: run `make demo` first, or set `--root` to its folder.")
    output.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        with label_studio(data_dir) as here:
            save(show_an_answer(browser, here), output / "label-studio.png")
            save(show_an_answer(browser, here, prefilled=True), output / "prefilled.png")
            save(show_an_effect(browser, here), output / "effect.png")
        with mlflow(database) as url:
            save(show_the_comparison(browser, url), output / "mlflow.png")
            save(show_the_comparison(browser, url, "&compareRunsMode=CHART"), output / "mlflow-curves.png")
            save(show_the_pictures(browser, url), output / "mlflow-pictures.png")
        if photographs:
            screening = photographs / "report" / "screening" / "isic.html"
            save(show_a_page(browser, screening, height=1180), output / "screening.png")
            external = show_the_report(browser, photographs, "The external test set isic-val", height=900)
            save(external, output / "report-external.png")
        save(show_the_report(browser, root), output / "report.png")
        save(show_the_report(browser, root, "Queries and marks"), output / "report-asked.png")
        browser.close()


def save(page: Page, path: Path) -> None:
    """Save a picture of the page, and close the page."""
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=path)
    page.context.close()
    print(f"{path}  {path.stat().st_size // 1024} KiB")


# --- Label Studio ---


@contextmanager
def label_studio(data_dir: Path) -> Iterator[local.Server]:
    """The demo's Label Studio; it is stopped at the end if it did not run before."""
    ours = local.status(data_dir) is None
    try:
        yield local.start(data_dir)
    finally:
        if ours:
            local.stop(data_dir)


def show_an_answer(browser: Browser, here: local.Server, *, prefilled: bool = False) -> Page:
    """Return the labelling page, as it was just before the simulated expert submitted an answer.

    Label Studio shows that page for unanswered tasks only. So this function serves an answered task as the next
    unanswered task. The page's own answers and drafts are blocked. ``prefilled``: the marks are shown as those of a
    pre-filled round.
    """
    page = log_in(browser, here)
    project, task = find_answer(page, here.url)
    for region in task["predictions"][0]["result"] if prefilled else []:
        labels = region["value"].get("labels", [])
        if DISREGARD in labels:
            labels.insert(0, PREFILLED)
    page.route("**/api/dm/actions?id=next_task*", lambda route: answer_with(route, task))
    page.goto(f"{here.url}/projects/{project}/data?labeling=1")
    page.wait_for_selector("text=Labeling Instructions")
    page.keyboard.press("Escape")
    page.wait_for_selector("text=Labeling Instructions", state="hidden")
    page.wait_for_selector("button:has-text('Submit')")
    if not prefilled:
        page.click("text=Where the model looked")
    return page


def show_an_effect(browser: Browser, here: local.Server) -> Page:
    """Return the page with the first picture of the marks' effect."""
    page = log_in(browser, here)
    page.goto(f"{here.url}/projects/{find_project(page, here.url, 'effect')}/data?labeling=1")
    page.wait_for_selector("text=Of the model's attention")
    return page


def log_in(browser: Browser, here: local.Server) -> Page:
    """Return a page that is logged in as the simulated expert, and can change nothing."""
    page = new_page(browser)
    page.route(ANSWERS, lambda route: route.continue_() if route.request.method == "GET" else route.abort())
    page.goto(f"{here.url}/user/login/")
    page.fill("input[name=email]", here.expert["email"])
    page.fill("input[name=password]", here.expert["password"])
    with page.expect_navigation():
        page.click("button[type=submit]")
    return page


def find_project(page: Page, url: str, title: str) -> int:
    """Return the id of the first project with this text in its title."""
    projects = page.request.get(f"{url}/api/projects?title={title}").json()["results"]
    if not projects:
        sys.exit(f"error: {url} has no project {title!r}. Fix: run `make demo` first.")
    return int(projects[0]["id"])


def find_answer(page: Page, url: str) -> tuple[int, dict[str, Any]]:
    """Return the simulated expert's project and its first task with the most even mix of marked and unmarked boxes."""
    project = find_project(page, url, "simulated")
    tasks = page.request.get(f"{url}/api/tasks?project={project}&fields=all&page_size=100").json()["tasks"]
    best = max((task for task in tasks if task["annotations"]), key=mix)
    task: dict[str, Any] = page.request.get(f"{url}/api/tasks/{best['id']}?project={project}").json()
    for prediction in task["predictions"]:
        prediction["result"] = best["annotations"][0]["result"]
    return project, task | {"annotations": []}


def mix(task: dict[str, Any]) -> int:
    """Return the number of boxes of the rarer kind."""
    labels = [region["value"]["labels"] for region in task["annotations"][0]["result"] if region["type"] == "labels"]
    marked = sum(DISREGARD in some for some in labels)
    return min(marked, len(labels) - marked)


def answer_with(route: Route, body: dict[str, Any]) -> None:
    """Answer the page's request with this body."""
    route.fulfill(json=body)


# --- MLflow ---


@contextmanager
def mlflow(database: Path) -> Iterator[str]:
    """The URL of an MLflow server with this database."""
    port = free_port(None, preferred=15100)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", f"sqlite:///{database}"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        cwd=database.parent,
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_it_serves(url, process)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def wait_until_it_serves(url: str, process: subprocess.Popen[bytes], patience_s: float = 120) -> None:
    """Return as soon as the server answers; exit if it never answers."""
    deadline = time.monotonic() + patience_s
    while process.poll() is None and time.monotonic() < deadline:
        try:
            requests.get(f"{url}/health", timeout=5).raise_for_status()
            return
        except requests.RequestException:
            time.sleep(0.5)
    sys.exit("error: MLflow does not start. Fix: see why with `mlflow ui --backend-store-uri sqlite:///mlflow.db`.")


def show_the_comparison(browser: Browser, url: str, mode: str = "") -> Page:
    """Return the experiment in its stored view: its note and runs, or, with a mode, its charts."""
    page = new_page(browser)
    settings = json.dumps(MLFLOW_VISITED)
    page.add_init_script(f"for (const [k, v] of Object.entries({settings})) localStorage.setItem(k, v)")
    found = page.request.get(f"{url}/ajax-api/2.0/mlflow/experiments/get-by-name?experiment_name={EXPERIMENT}")
    page.goto(
        f"{url}/#/experiments/{found.json()['experiment']['experiment_id']}/runs?viewStateShareKey=comparison{mode}"
    )
    page.click("button[aria-label='Toggle sidebar']")
    page.wait_for_timeout(SETTLE_MS)
    if mode:
        page.set_viewport_size({"width": SIZE[0], "height": 1300})
        page.wait_for_selector(".js-plotly-plot")
    else:
        page.click("button[data-component-id='mlflow.experiment.metadata_editor.expand_button']")
        page.set_viewport_size({"width": SIZE[0], "height": 1150})
    page.get_by_role("button", name="MLflow Assistant").evaluate("button => button.style.display = 'none'")
    page.mouse.move(0, 0)
    return page


def show_the_pictures(browser: Browser, url: str) -> Page:
    """Return the charts, scrolled to the rounds' queries with their slider."""
    page = show_the_comparison(browser, url, "&compareRunsMode=CHART")
    page.get_by_text("Queries and explanations").evaluate("section => section.scrollIntoView()")
    return page


def show_the_report(
    browser: Browser, root: Path, heading: str = "The effect of the experts' feedback", *, height: int = 1300
) -> Page:
    """Return report/index.html, scrolled to the first heading or table with this text."""
    page = show_a_page(browser, root / "report" / "index.html", height=height)
    page.locator("h1, h2, h3, figcaption", has_text=heading).first.evaluate("heading => heading.scrollIntoView()")
    return page


def show_a_page(browser: Browser, file: Path, *, height: int) -> Page:
    """Return the page in a file."""
    page = new_page(browser)
    page.set_viewport_size({"width": SIZE[0], "height": height})
    page.goto(file.absolute().as_uri())
    return page


def new_page(browser: Browser) -> Page:
    """Return an empty page of a browser without history."""
    page = browser.new_context(viewport={"width": SIZE[0], "height": SIZE[1]}).new_page()
    page.set_default_timeout(60_000)
    return page


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(), help="the folder of the demo; default: this folder")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "images", help="default: %(default)s")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="default: %(default)s")
    parser.add_argument("--photographs", type=Path, help="the folder of a run on docs/screening.md's two data sets")
    options = parser.parse_args()
    if not options.chromium:
        parser.error("no chromium is installed. Fix: install one, or set `--chromium` to its path.")
    try:
        main(options.root, options.output, options.chromium, options.photographs)
    except AnnotationError as error:
        sys.exit(f"error: {error}")
