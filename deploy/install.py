"""Install the project into the environment of this Python, with one line of progress; called by the Makefile.

    python deploy/install.py '.[local-server]'

It needs nothing but Python and pip. If pip fails twice, all that it said the second time is printed.
"""

from __future__ import annotations

import subprocess
import sys
import time

# Versions are those that CI tested, so that a new release of a dependency breaks nothing here. Python compiles modules
# when it imports them; compiling all of them beforehand would take another minute.
PIP = ["-m", "pip", "install", "--disable-pip-version-check", "--no-compile", "--progress-bar", "off"]
PIP += ["-c", "constraints.txt", "-e"]
SHOWN = ("Collecting", "Downloading", "Building", "Installing", "Obtaining")  # the first words of a step
WIDTH = 60  # of the line's changing part, characters


def install(target: str) -> int:
    """Install the project with these extras, such as ``.[dev]``; return pip's exit status."""
    print(f"installing {target}, three to five minutes the first time", flush=True)
    status, said = _pip(target)
    if status:  # a registry that lacks a page for a moment looks to pip like a version that does not exist
        print("pip failed; trying once more", flush=True)
        status, said = _pip(target)
    if status:
        print(said, file=sys.stderr)
        print(f"error: pip could not install {target}. Fix: see pip's last lines above", file=sys.stderr)
    return status


def _pip(target: str) -> tuple[int, str]:
    """Run pip with one line of progress; return its exit status and all that it said."""
    began, said = time.monotonic(), list[str]()
    with subprocess.Popen(
        [sys.executable, *PIP, target], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as pip:
        assert pip.stdout
        for line in pip.stdout:
            said.append(line)
            if sys.stdout.isatty() and line.strip().startswith(SHOWN):
                seconds = round(time.monotonic() - began)
                print(f"\r{seconds // 60}:{seconds % 60:02d}  {line.strip()[:WIDTH]:{WIDTH}}", end="", flush=True)
    if sys.stdout.isatty():
        print("\r" + " " * (WIDTH + 8), end="\r")
    if not pip.returncode:
        print(f"installed in {time.monotonic() - began:.0f} s", flush=True)
    return pip.returncode, "".join(said)


if __name__ == "__main__":
    sys.exit(install(sys.argv[1]))
