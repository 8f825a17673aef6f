"""MLflow's runs in memory."""

from types import SimpleNamespace

from pipeline.tracking import runs


class MlflowRuns:
    """MLflow, as far as `runs.update` uses it."""

    def __init__(self):
        self.runs, self.deleted = [], []

    def search_runs(self, experiments, query):
        return [run for run in self.runs if f"'{run.data.tags[runs.KEY]}'" in query]

    def create_run(self, experiment, run_name, tags):
        info = SimpleNamespace(run_id=f"run-{len(self.runs) + len(self.deleted)}", start_time=0)
        self.runs.append(SimpleNamespace(info=info, data=SimpleNamespace(tags=dict(tags), params={}), points=[]))
        return self.runs[-1]

    def delete_run(self, run_id):
        self.deleted += [run for run in self.runs if run.info.run_id == run_id]
        self.runs = [run for run in self.runs if run.info.run_id != run_id]

    def get_run(self, run_id):
        (run,) = (run for run in self.runs if run.info.run_id == run_id)
        return run

    def set_tag(self, run_id, name, value):
        self.get_run(run_id).data.tags[name] = value

    def log_batch(self, run_id, params=(), metrics=()):
        run = self.get_run(run_id)
        assert not {param.key for param in params} & set(run.data.params), "a setting never changes"
        run.data.params |= {param.key: param.value for param in params}
        run.points += [(metric.key, metric.step, metric.value) for metric in metrics]
