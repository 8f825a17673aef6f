"""`lookaway server …`: the local Label Studio of this checkout.

The commands import the server when they run: every other command starts faster without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.running import user_errors

if TYPE_CHECKING:
    from labelstudio.server.local import Server

app = typer.Typer(no_args_is_help=True, help="Start, find and stop the local Label Studio.")

DataDir = Annotated[Path | None, typer.Option(help="The folder of its database and passwords. Default: .labelstudio")]


@app.command()
def start(
    data_dir: DataDir = None,
    port: Annotated[int | None, typer.Option(help="Default: its last port, 8080, or the next free port.")] = None,
) -> None:
    """Start it, or find it running, and print its address."""
    from labelstudio.server import local

    with user_errors(again="lookaway server start"):
        print(local.start(data_dir, port).url)


@app.command()
def status(data_dir: DataDir = None) -> None:
    """Print its address, `starting` or `not running`; the exit code is 1 when nothing serves."""
    from labelstudio.server import local, process

    with user_errors(again="lookaway server status"):
        url = local.status(data_dir)
        print(url or ("starting" if process.is_running(data_dir or local.default_dir()) else "not running"))
        raise typer.Exit(0 if url else 1)


@app.command()
def login(data_dir: DataDir = None) -> None:
    """Print its address and the passwords of the expert and of the administrator; start it if necessary."""
    from labelstudio.server import local

    with user_errors(again="lookaway server login"):
        server = local.start(data_dir)
        print(server.url)
        print_passwords(server)


def print_passwords(server: Server) -> None:
    """Print the accounts of the expert and of the administrator."""
    print(f"expert         {server.expert['email']}  {server.expert['password']}")
    print(f"administrator  {server.admin['email']}  {server.admin['password']}")


@app.command()
def invite(data_dir: DataDir = None) -> None:
    """Print a link with which people sign up, each under their own name."""
    from labelstudio.server import local

    with user_errors(again="lookaway server invite"):
        print(local.invite(data_dir))


@app.command()
def stop(data_dir: DataDir = None) -> None:
    """Stop it; every answer stays in its data folder."""
    from labelstudio.server import local

    with user_errors(again="lookaway server stop"):
        print("stopped" if local.stop(data_dir) else "nothing was running")
