#!/bin/bash
# A sweep on Slurm: an array job with one task for each value of one setting. After `make shared`, in the checkout:
#     sbatch deploy/slurm.sh decoy-digits-20pct query.cell 4 8 16
# `--array` below must have as many tasks as there are values. `dvc exp show` lists the results so far.
# See docs/scaling.md.
#SBATCH --job-name=lookaway
#SBATCH --array=0-2
#SBATCH --cpus-per-task=8
#SBATCH --gres=gpu:1
#SBATCH --mem=32G
#SBATCH --time=08:00:00
set -euo pipefail

scenario=$1 setting=$2 values=("${@:3}")
value=${values[$SLURM_ARRAY_TASK_ID]}
name=$(tr -c '[:alnum:]\n' - <<< "$setting-$value")
home=$SLURM_SUBMIT_DIR
export PATH="$home/.venv/bin:$PATH"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LOOKAWAY_HOME="$home"   # the answers outlive the clone
git clone --quiet "$home" "$work"
cp "$home/.env" "$work/.env"
cp "$home/.dvc/config.local" "$work/.dvc/config.local"
cd "$work"
dvc pull --quiet --run-cache --allow-missing
dvc exp run --allow-missing --name "$name" --set-param "scenarios.$scenario.$setting=$value"
dvc push --quiet --run-cache
dvc exp push --no-cache "$home" "$name"
