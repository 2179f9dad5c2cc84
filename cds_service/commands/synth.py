"""`cds-service synth`: synthetic charts of spine patients, of any number, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import click

from cds_service.commands.policy_output import reported
from cds_service.replay.synth_files import FORMATS, write


@click.command()
@click.option("--patients", type=click.IntRange(1), required=True, metavar="N", help="How many patients.")
@click.option("--seed", type=int, default=1, show_default=True, metavar="S", help="The same seed, the same charts.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIR",
              help="Folder to write to.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="bundles", show_default=True,
              help="A Bundle per patient, a Bulk Data export, or hook requests.")  # fmt: skip
@reported
def synth(patients: int, seed: int, out: Path, form: str) -> None:
    """Write charts of spine patients with orders, coded as messily as real ones. Nobody in them is real."""
    written = write(patients, seed, out, form)
    click.echo(f"{written:,} synthetic patients in {out} ({form}, seed {seed}).")
