"""The files of deploy/ for Slurm and Kubernetes, as far as they can be checked without a cluster."""

import re
import subprocess

import yaml
from fakes.checkout import ROOT

from pipeline.config import Config


def settings_exist(scenario, setting):
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    section, name = setting.split(".")
    assert name in Config.model_validate(params).scenario(scenario).model_dump()[section]


def test_the_slurm_script_is_a_script_and_its_example_names_a_setting():
    script = ROOT / "deploy" / "slurm.sh"
    subprocess.run(["bash", "-n", script], check=True)
    scenario, setting, values = re.search(r"sbatch \S+ (\S+) (\S+) (.*)", script.read_text()).groups()
    settings_exist(scenario, setting)
    assert f"--array=0-{len(values.split()) - 1}" in script.read_text()


def test_the_kubernetes_job_has_a_value_for_each_completion():
    job = yaml.safe_load((ROOT / "deploy" / "job.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    given = {entry["name"]: entry["value"] for entry in container["env"]}
    settings_exist(given["SCENARIO"], given["SETTING"])
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == len(given["VALUES"].split())
    subprocess.run([*container["command"][:1], "-n", "-c", *container["args"]], check=True)
