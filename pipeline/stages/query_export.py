"""query-export: select a round's queries and write them for the experts."""

from __future__ import annotations

from labelstudio.exchange.tasks import write_tasks
from pipeline.config import load
from pipeline.data import prepared, subset
from pipeline.errors import ConfigError
from pipeline.feedback import masks
from pipeline.paths import prepared_dir, step_dir, subset_file
from pipeline.query.selection import select
from pipeline.training import states


def main(scenario: str, round: str, after: str, queries: str) -> None:
    """Write queries.json, the pictures, and a tasks.json to import by hand."""
    config = load()
    settings = config.scenario(scenario)
    data = prepared.read(prepared_dir(settings.dataset))
    pool = subset.images(data, subset.read(subset_file(scenario), data), "train")
    wanted = int(queries)
    if wanted > len(pool.ids):
        raise ConfigError(
            f"params.yaml: round {round} asks for {wanted} queries, but {scenario} has only {len(pool.ids)} training "
            "images. Fix: lower `queries` of that round under `hitl.rounds`"
        )
    state = states.restore(step_dir(scenario, after) / "state.pt", settings.train)
    folder = step_dir(scenario, round)
    manifest = select(
        state,
        pool,
        entries=masks.read(step_dir(scenario, after) / "masks.npz"),
        scenario=scenario,
        round=round,
        count=wanted,
        settings=settings,
        seed=config.seed,
        folder=folder,
    )
    if not state.accelerator.is_main_process:
        return
    manifest.write(folder / "queries.json")
    write_tasks(manifest, folder, folder / "tasks.json")
    found = len(manifest.queries)
    print(f"{scenario}, round {round}: {found} queries from {len(pool.ids)} images, in {folder}")
    if found < wanted:
        why = "on the remaining images, experts have already judged most regions"
        if data.findings and len(data.classes) > 1:
            why = "with several findings, an image becomes a query once"
        print(f"only {found} of {wanted} queries: {why}")
