"""The command line: `snn-codec train | encode | decode | info | evaluate | analyse`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from snn_codec import __version__
from snn_codec.errors import UserError
from snn_codec.files import check_writable

EVENT_SUFFIX = ".h5"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0, or 2 with one line on stderr for each thing that cannot be used."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except UserError as error:
        return fatal(error)
    except KeyboardInterrupt:
        return 130


def fatal(error: Exception) -> int:
    """Say what is wrong in one line, and give the exit status for it."""
    print(f"snn-codec: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="snn-codec", description="Piano recordings as spike rasters, and back."
    )
    parser.add_argument("--version", action="version", version=f"snn-codec {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    def coding(added: argparse.ArgumentParser, what: str) -> None:
        added.add_argument("inputs", nargs="+", type=Path, metavar=what, help="files, or folders of them")
        added.add_argument("-o", "--output", type=Path, help="file, or folder if there are several inputs")
        added.add_argument("--model", default="free", help="a shipped model or a checkpoint folder (free)")
        added.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps (cpu)")
        added.add_argument("--force", action="store_true", help="replace files that exist")
        added.add_argument("--json", action="store_true", help="print one JSON object")

    encode = command("encode", _encode, "Turn recordings into events.")
    coding(encode, "RECORDING")
    encode.add_argument("--batch-size", type=int, default=1, help="chunks computed at once (1)")
    coding(command("decode", _decode, "Turn events into sound (16 bit, 22 050 Hz, mono)."), "EVENTS")

    info = command("info", _info, "Say what an event file holds.")
    info.add_argument("file", type=Path)
    info.add_argument("--json", action="store_true", help="print one JSON object")

    evaluate = command("evaluate", _evaluate, "Measure a model on a data set, clip by clip.")
    evaluate.add_argument("--model", default="free", help="a shipped model or a checkpoint folder (free)")
    evaluate.add_argument(
        "--data", type=Path, required=True, help="folder in the MAESTRO layout, or of audio files"
    )
    evaluate.add_argument("--split", default="validation", help="train, validation or test (validation)")
    evaluate.add_argument("--json", type=Path, metavar="OUT", help="write summary and rows to this file")
    evaluate.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps (cpu)")
    evaluate.add_argument("--force", action="store_true", help="replace OUT if it exists")

    analyse = command("analyse", _analyse, "Set events against the notes that were played.")
    _analyse_options(analyse)

    train = command("train", _train, "Train a model.")
    train.add_argument("preset", help="a preset's name or a JSON file; --list shows presets")
    train.add_argument("--data", type=Path, nargs="+", required=True, help="folders of recordings")
    train.add_argument(
        "--run", type=Path, required=True, dest="folder", help="folder for log and checkpoints"
    )
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="change a setting, as in training.steps=1000",
    )
    train.add_argument("--resume", action="store_true", help="go on where the run stopped")
    train.add_argument("--init-from", metavar="CHECKPOINT", help="start from these weights")
    train.add_argument("--accelerator", default="auto", help="cpu, cuda, mps (auto)")
    train.add_argument("--devices", type=int, default=1, help="devices, or processes on a CPU (1)")
    train.add_argument("--nodes", type=int, default=1, help="machines, each started with this command (1)")
    train.add_argument("--workers", type=int, default=1, help="processes that read data (1)")
    train.add_argument("--threads", type=int, help="threads of each process")
    train.add_argument("--force", action="store_true", help="start a run folder anew")
    return parser


def _analyse_options(added: argparse.ArgumentParser) -> None:
    added.add_argument(
        "inputs", nargs="+", type=Path, help="recordings, event files, or a folder in the MAESTRO layout"
    )
    added.add_argument(
        "-o", "--output", type=Path, required=True, metavar="REPORT", help="folder to write to"
    )
    added.add_argument(
        "--midi",
        nargs="+",
        type=Path,
        default=[],
        help="MIDI files or folders of them (those beside the inputs)",
    )
    added.add_argument(
        "--model",
        nargs="+",
        default=["free"],
        help="shipped models or checkpoint folders, side by side (free)",
    )
    added.add_argument("--split", default="validation", help="train, validation or test (validation)")
    added.add_argument(
        "--half-width", type=int, default=6, metavar="STEPS", help="lags counted around zero (6)"
    )
    added.add_argument(
        "--offset-ms", type=float, default=0.0, help="how much later the sound is than the MIDI"
    )
    added.add_argument("--pages", type=int, default=1, help="recordings to write interactive pages of (1)")
    added.add_argument("--readout", action="store_true", help="read onsets from the events by a linear layer")
    added.add_argument("--save", action="store_true", help="write all arrays to results.h5")
    added.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps (cpu)")
    added.add_argument("--force", action="store_true", help="replace files that exist")
    added.add_argument("--json", action="store_true", help="print one JSON object")


def _analyse(options: argparse.Namespace) -> int:
    from snn_codec.analysis.command import Options, analyse, lines

    wanted = Options(
        midi=options.midi,
        split=options.split,
        half_width=options.half_width,
        offset_ms=options.offset_ms,
        pages=options.pages,
        readout=options.readout,
        save=options.save,
        force=options.force,
    )
    codecs = []
    for model in options.model:
        loaded = _load(argparse.Namespace(model=model, device=options.device))
        name = Path(model).name
        codecs.append((f"{name}-{len(codecs) + 1}" if name in dict(codecs) else name, loaded))
    with _progress("analysing", 1) as advance:
        found = analyse(options.inputs, options.output, codecs, wanted, advance)
    print(json.dumps(found) if options.json else "\n".join([*lines(found), f"report in {options.output}"]))
    return 0


def _encode(options: argparse.Namespace) -> int:
    from snn_codec import audio

    codec = _load(options)

    def one(source: Path, target: Path) -> dict[str, Any]:
        from snn_codec.storage import spiketrains

        check_writable(target, force=options.force)
        length = audio.info(source)
        with _progress(source.name, length.samples / length.sample_rate) as advance:
            events = codec.encode_blocks(
                audio.read_blocks(source), length.sample_rate, batch_size=options.batch_size, progress=advance
            )
        spiketrains.write(target, {source.name: events}, force=options.force)
        return {"seconds": events.duration, "events": events.n_events} | _size(events, target)

    return _convert_all(options, audio.SUFFIXES, EVENT_SUFFIX, one)


def _decode(options: argparse.Namespace) -> int:
    from snn_codec import audio
    from snn_codec.storage import spiketrains

    codec = _load(options)

    def one(source: Path, target: Path) -> dict[str, Any]:
        check_writable(target, force=options.force)
        events = spiketrains.read(source)

        def blocks() -> Iterator[Any]:
            done = 0
            with _progress(source.name, events.duration) as advance:
                for block in codec.decode_blocks(events):
                    yield block
                    done += len(block)
                    advance(done / events.sample_rate)

        try:
            clipped = audio.write(target, blocks(), events.sample_rate, force=options.force)
        except UserError as error:
            raise UserError(str(error) if str(target) in str(error) else f"{source}: {error}") from error
        return {"seconds": events.duration, "clipped_samples": clipped}

    return _convert_all(options, (EVENT_SUFFIX,), ".wav", one)


def _info(options: argparse.Namespace) -> int:
    from snn_codec.storage import spiketrains

    found = {}
    for name in spiketrains.names(options.file):
        events = spiketrains.read(options.file, name)
        found[name] = {
            "units": events.n_units,
            "steps": events.n_steps,
            "sample_rate": events.sample_rate,
            "hop": events.hop,
            "samples": events.n_samples,
            "seconds": events.duration,
            "model": events.fingerprint,
            "events": events.n_events,
            "density": events.density,
            "events_per_second": events.events_per_second,
            "bits": events.costs,
        }
    result = {"file": str(options.file), "bytes": options.file.stat().st_size, "recordings": found}
    if options.json:
        print(json.dumps(result))
        return 0
    print(f"{options.file}: {result['bytes']} bytes, {len(found)} recording(s)")
    for name, row in found.items():
        rate = {kind: f"{bits / row['seconds'] / 1000:.3f}" for kind, bits in row["bits"].items()}
        print(
            f"{name}: {row['seconds']:.2f} s, {row['units']} units x {row['steps']} steps, "
            f"{row['events']} events ({row['events_per_second']:.1f} a second, density {row['density']:.4f}), "
            f"model {row['model'] or '-'}"
        )
        print(
            "  kbps by the paper's formulas: " + ", ".join(f"{kind} {value}" for kind, value in rate.items())
        )
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from snn_codec.evaluation.evaluate import evaluate, summary
    from snn_codec.files import replacing
    from snn_codec.training.datasets import recordings

    if options.json:
        check_writable(options.json, force=options.force)
    codec = _load(options)
    paths = recordings(options.data, options.split)
    with _progress(f"evaluating {len(paths)} recordings", 1) as advance:
        rows = evaluate(codec, paths, advance)
    result = {
        "model": str(options.model),
        "fingerprint": codec.fingerprint,
        "data": str(options.data),
        "split": options.split,
        "summary": summary(rows),
    }
    if options.json:
        with replacing(options.json, force=options.force) as temporary:
            temporary.write_text(json.dumps(result | {"clips": rows}, indent=1) + "\n")
    print(f"{options.model} ({codec.fingerprint}) on {options.split} of {options.data}: {len(rows)} clips")
    for name, row in result["summary"].items():
        print(f"  {name:18} {row['mean']:9.3f}  (95 % interval {row['low']:.3f} to {row['high']:.3f})")
    return 0


def _train(options: argparse.Namespace) -> int:
    from snn_codec import config
    from snn_codec.training.trainer import Run, train

    settings = config.load(options.preset, options.settings)
    run = Run(
        data=options.data,
        folder=options.folder,
        resume=options.resume,
        init_from=options.init_from,
        accelerator=options.accelerator,
        devices=options.devices,
        nodes=options.nodes,
        workers=options.workers,
        threads=options.threads,
        force=options.force,
    )
    best = train(settings, run)
    print(f"the best checkpoint is {best}")
    return 0


def _load(options: argparse.Namespace):  # noqa: ANN202 - importing Codec for the annotation costs a second
    import h5py  # noqa: F401 - before denormals are off, or numpy 1.26 warns about its own constants
    import torch

    from snn_codec.codec import Codec

    torch.set_flush_denormal(True)
    try:
        return Codec.load(options.model, options.device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"--device {options.device}: cannot be used here ({reason}); use --device cpu"
        ) from error


def _convert_all(
    options: argparse.Namespace,
    suffixes: Sequence[str],
    suffix: str,
    one: Callable[[Path, Path], dict[str, Any]],
) -> int:
    """Run `one` on every input, go on after a bad one, report, and give the exit status."""
    rows, status = [], 0
    for source, target in _targets(options, suffixes, suffix):
        began = time.perf_counter()
        try:
            row = {"input": str(source), "output": str(target)} | one(source, target)
        except UserError as error:
            status = fatal(error)
            continue
        took = time.perf_counter() - began
        row |= {"took": took, "real_time_factor": row["seconds"] / took}
        rows.append(row)
        if not options.json:
            extra = (
                f", {row['kbps']:.3f} kbps, {row['events_per_second']:.0f} events/s" if "kbps" in row else ""
            )
            print(
                f"{source} -> {target}: {row['seconds']:.2f} s{extra}, {row['real_time_factor']:.0f} x real time"
            )
            if row.get("clipped_samples"):
                print(f"  {row['clipped_samples']} samples were beyond full scale and were clipped")
    if options.json:
        print(json.dumps({"files": rows}))
    return status


def _targets(options: argparse.Namespace, suffixes: Sequence[str], suffix: str) -> list[tuple[Path, Path]]:
    pairs: list[tuple[Path, Path]] = []
    output: Path | None = options.output
    several = len(options.inputs) > 1 or options.inputs[0].is_dir()
    if several and output is not None and output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file, but there are several inputs; give a folder")
    for source in options.inputs:
        if source.is_dir():
            found = sorted(
                p for p in source.rglob("*") if p.suffix.lower() in suffixes and not p.name.startswith(".")
            )
            if not found:
                raise UserError(f"{source}: holds no file ending in {', '.join(suffixes)}")
            base = output or source
            pairs += [(p, base / p.relative_to(source).with_suffix(suffix)) for p in found]
        elif output is None:
            pairs.append((source, source.with_suffix(suffix)))
        elif several or output.is_dir():
            pairs.append((source, output / source.with_suffix(suffix).name))
        else:
            pairs.append((source, output))
    taken: dict[Path, Path] = {}
    for source, target in pairs:
        if target in taken:
            raise UserError(
                f"{source} and {taken[target]} would both become {target}; give them different names"
            )
        taken[target] = source
    if several and output is not None:
        for target in taken:
            target.parent.mkdir(parents=True, exist_ok=True)
    return pairs


def _size(events: Any, path: Path) -> dict[str, float]:
    best = min(events.costs, key=events.costs.get)
    return {
        "events_per_second": events.events_per_second,
        "density": events.density,
        "file_bytes": path.stat().st_size,
        "format": best,
        "kbps": events.kbps(-(-events.costs[best] // 8) + len(events.levels)),
    }


@contextmanager
def _progress(text: str, total: float) -> Iterator[Callable[[float], None]]:
    """A bar on stderr, if that is a terminal; the function given takes what is done, in the units of `total`."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        bar = progress.add_task(text, total=total)
        yield lambda done: progress.update(bar, completed=done)


if __name__ == "__main__":
    sys.exit(main())
