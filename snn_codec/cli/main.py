"""The command line: `snn-codec encode`, `decode`, `info`, `convert`, `train`, `evaluate`, `simulate`, `export` ..."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from snn_codec import __version__, checkpoints
from snn_codec.errors import UserError
from snn_codec.evaluation import command as evaluation
from snn_codec.files import below, check_writable
from snn_codec.listening import commands as listening_commands
from snn_codec.progress import bar as _progress
from snn_codec.surrogate_study import commands as surrogate_commands

PIPE = Path("-")
MAKER = "the shipped one that made the first of EVENTS"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0, or 2 with one line on stderr for each thing that cannot be used."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except UserError as error:
        return fatal(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or flushing at exit fails again
        return 141


def fatal(error: Exception) -> int:
    """Say what is wrong in one line, and give the exit status for it."""
    print(f"snn-codec: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    from snn_codec.hardware import commands as hardware_commands

    parser = argparse.ArgumentParser(
        prog="snn-codec", description="Piano recordings as spike rasters, and back."
    )
    parser.add_argument("--version", action="version", version=f"snn-codec {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    def model(added: argparse.ArgumentParser, default: str | None = "free", which: str = "free") -> None:
        added.add_argument(
            "--model", default=default, help=f"a shipped model or a checkpoint folder ({which})"
        )

    def coding(added: argparse.ArgumentParser, what: str, output: str, which: str) -> None:
        added.add_argument("inputs", nargs="+", type=Path, metavar=what, help="files, or folders of them")
        added.add_argument("-o", "--output", type=Path, help=output)
        model(added, None, which)
        added.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps (cpu)")
        evaluation.add_spread_to(added)
        added.add_argument("--force", action="store_true", help="replace files that exist")
        added.add_argument("--json", action="store_true", help="print one JSON object")

    encode = command("encode", _encode, "Turn recordings into events.")
    coding(
        encode,
        "RECORDING",
        ".spk or .h5 file, - for a bitstream on stdout, or folder for several inputs",
        "free; mu-sparse with --level, --kbps or --min-si-snr",
    )
    encode.add_argument(
        "--format", choices=("spk", "h5"), help="bitstream or HDF5 spike trains (by OUTPUT, else spk)"
    )
    encode.add_argument("--batch-size", type=int, default=1, help="chunks computed at once (1)")
    encode.add_argument(
        "--search",
        type=int,
        default=0,
        metavar="STEPS",
        help="search so long for better events, as 20 (0: don't)",
    )
    amount = encode.add_mutually_exclusive_group()
    amount.add_argument(
        "--level", type=float, help="compression level, 0 (most events) to 31, in eighths (mu-sparse only)"
    )
    amount.add_argument("--kbps", type=float, help="the file's true rate, met to 5 %% (mu-sparse only)")
    amount.add_argument(
        "--min-si-snr",
        type=float,
        metavar="DB",
        help="the fewest bytes with at least this SI-SNR in every chunk (mu-sparse only)",
    )

    decode = command("decode", _decode, "Turn events into sound (16 bit, 22 050 Hz, mono).")
    coding(decode, "EVENTS", "file, or folder if there are several inputs (EVENTS may be -: stdin)", MAKER)
    decode.add_argument("--recording", metavar="NAME", help="which one of an .h5 file that holds several")
    decode.add_argument(
        "--decoder", default="plain", help="plain, gan, diffusion: which of the checkpoint's decoders (plain)"
    )
    decode.add_argument(
        "--steps", type=int, default=0, help="of a diffusion decoder's sampler (as many as it was made for)"
    )
    decode.add_argument("--seed", type=int, default=0, help="of a diffusion decoder's noise (0)")
    decode.add_argument("--guidance", type=float, default=1.0, help="scale of guidance by the events (1)")
    decode.add_argument(
        "--salvage",
        action="store_true",
        help="decode what is left of a damaged bitstream, silence for the rest",
    )

    info = command("info", _info, "Say what an event file holds, and where its bytes are.")
    info.add_argument("file", type=Path)
    model(info, None, MAKER)
    info.add_argument("--json", action="store_true", help="print one JSON object")

    convert = command("convert", _convert, "Write events in another form, or several files' events to one.")
    convert.add_argument("inputs", nargs="+", type=Path, metavar="EVENTS", help="files, or folders of them")
    convert.add_argument("output", type=Path, help="file; or an existing folder, for a file a recording")
    convert.add_argument(
        "--to", metavar="KIND", help="spk, h5, shd, nwb, nirdata, csv, npz (by OUTPUT's suffix)"
    )
    convert.add_argument("--recording", metavar="NAME", help="only this one of those in .h5 files")
    model(convert, None, MAKER)
    convert.add_argument("--gzip", action="store_true", help="compress .h5 (libsonata cannot read that)")
    convert.add_argument("--force", action="store_true", help="replace files that exist")

    evaluate = command("evaluate", evaluation.run, "Measure a model or a codec on a data set, clip by clip.")
    evaluation.add_to(evaluate)

    analyse = command("analyse", _analyse, "Set events against the notes that were played.")
    _analyse_options(analyse)

    train = command("train", _train, "Train a model.")
    train.add_argument(
        "preset", nargs="?", help="a preset's name or a JSON file (cpu-free; of a phase, its own)"
    )
    train.add_argument(
        "--phase",
        choices=("plain", "gan", "diffusion"),
        help="train a further decoder for the model of --init-from (what PRESET says, or plain)",
    )
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

    entropy = command(
        "train-entropy",
        _train_entropy,
        "Train the entropy model that makes a checkpoint's bitstreams shorter.",
    )
    entropy.add_argument("model", help="a checkpoint folder; the entropy model is written into it")
    entropy.add_argument("--data", type=Path, nargs="+", required=True, help="folders of recordings")
    entropy.add_argument("--hours", type=float, default=10, help="of recordings to train on, at most (10)")
    entropy.add_argument("--steps", type=int, default=6000, help="of the optimiser (6000)")
    entropy.add_argument("--seed", type=int, default=0)
    entropy.add_argument("--device", default="cpu", help="for encoding: cpu, cuda, cuda:1, mps (cpu)")
    entropy.add_argument("--force", action="store_true", help="replace the one that is there")
    surrogate_commands.add(command)
    hardware_commands.add(command, model)

    listen = commands.add_parser("listen", help="Ask people: a MUSHRA test, its analysis, a page to compare.")
    listening_commands.add_to(listen)
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

    kind = options.format or (_event_kind(options.output) if options.output else "spk")
    prompted = (options.level, options.kbps, options.min_si_snr) != (None, None, None)
    options.model = options.model or ("mu-sparse" if prompted else checkpoints.DEFAULT)
    return _convert_all(options, audio.SUFFIXES, f".{kind}", partial(_encode_one, options, kind))


def _encode_one(
    options: argparse.Namespace, kind: str, codec: Any, source: Path, target: Path
) -> dict[str, Any]:
    from snn_codec import audio
    from snn_codec.rate_control import at_quality, at_rate
    from snn_codec.storage import event_files

    if target != PIPE:
        check_writable(target, force=options.force)
    length = audio.info(source)
    rate, unreached = length.sample_rate, []
    coding = {"batch_size": options.batch_size, "search": options.search}
    total = 1 if options.kbps is not None else length.samples / rate
    blocks = partial(audio.read_blocks, source)
    with _progress(source.name, total, shown=_alone(options)) as advance:
        if options.kbps is not None:
            events = at_rate(codec, blocks, rate, options.kbps, **coding, progress=advance).events
        elif options.min_si_snr is not None:
            events, _, unreached = at_quality(
                codec, blocks, rate, options.min_si_snr, search=options.search, progress=advance
            )
        else:
            events = codec.encode_blocks(blocks(), rate, level=options.level, **coding, progress=advance)
    for chunk in unreached:
        times = (n * events.chunk_steps * events.hop / events.sample_rate for n in (chunk, chunk + 1))
        print(
            "snn-codec: {}: no level has {:g} dB in chunk {} ({:.2f} s to {:.2f} s)".format(
                source, options.min_si_snr, chunk, *times
            ),
            file=sys.stderr,
        )
    result = {"seconds": events.duration, "events": events.n_events}
    result |= {"events_per_second": events.events_per_second, "density": events.density}
    if options.min_si_snr is not None:
        result["chunks_below"] = unreached
    if target == PIPE:
        n_bytes = _to_pipe(events, codec.entropy_model)
    else:
        event_files.write(
            target, kind, [(source.name, events)], entropy_model=codec.entropy_model, force=options.force
        )
        n_bytes = target.stat().st_size
    return result | {"file_bytes": n_bytes, "kbps": events.kbps(n_bytes)}


def _event_kind(output: Path) -> str:
    """The kind of event file that this output asks for.

    Raises:
        UserError: Its suffix is that of something else.
    """
    from snn_codec.storage import event_files

    if output == PIPE or output.is_dir() or not output.suffix:
        return "spk"
    if output.suffix.lower() not in event_files.SUFFIXES:
        raise UserError(f"{output}: events are written to .spk or .h5 files; convert makes the other forms")
    return output.suffix.lower().lstrip(".")


def _to_pipe(events: Any, entropy_model: Any) -> int:
    """Write a bitstream to stdout; how many bytes it has."""
    from snn_codec.storage import spk

    class Counted:
        size = 0
        name = "stdout"

        def write(self, data: bytes) -> None:
            sys.stdout.buffer.write(data)
            self.size += len(data)

        def flush(self) -> None:
            sys.stdout.buffer.flush()

    counted = Counted()
    spk.write(counted, events, entropy_model=entropy_model)
    return counted.size


def _decode(options: argparse.Namespace) -> int:
    from snn_codec.storage import event_files

    options.model = options.model or _maker(options.inputs)
    return _convert_all(options, event_files.SUFFIXES, ".wav", partial(_decode_one, options))


def _maker(inputs: Sequence[Path]) -> str:
    """The shipped model that made the first event file, or the default one."""
    from snn_codec.storage import event_files

    for path in inputs:
        found = below(path, event_files.SUFFIXES)[:1] if path.is_dir() else [path]
        if found and found[0] != PIPE:
            return checkpoints.shipped(event_files.fingerprint(found[0])) or checkpoints.DEFAULT
    return checkpoints.DEFAULT


def _decode_one(options: argparse.Namespace, codec: Any, source: Path, target: Path) -> dict[str, Any]:
    from snn_codec import audio
    from snn_codec.storage import event_files, spk

    check_writable(target, force=options.force)
    damages: list[Any] = []
    if source == PIPE:
        events = spk.read(sys.stdin.buffer, entropy_model=codec.entropy_model)
    elif options.salvage and event_files.is_bitstream(source):
        events, damages = spk.salvaged(source, entropy_model=codec.entropy_model)
    else:
        events = event_files.read(source, options.recording, entropy_model=codec.entropy_model)

    def blocks() -> Iterator[Any]:
        done = 0
        with _progress(source.name, events.duration, shown=_alone(options)) as advance:
            for block in codec.decode_blocks(events):
                yield block
                done += len(block)
                advance(done / events.sample_rate)

    try:
        clipped = audio.write(target, blocks(), events.sample_rate, force=options.force)
    except UserError as error:
        raise UserError(str(error) if str(target) in str(error) else f"{source}: {error}") from error
    for damage in damages:
        print(f"snn-codec: {source}: {damage} and is silent", file=sys.stderr)
    return {
        "seconds": events.duration,
        "clipped_samples": clipped,
        "damaged_chunks": [damage.chunk for damage in damages],
    }


def _info(options: argparse.Namespace) -> int:
    from snn_codec.storage import event_files, spk
    from snn_codec.storage.entropy_model import EntropyModel

    path = options.file
    options.model = options.model or _maker([path])
    result: dict[str, Any] = {"file": str(path), "bytes": None, "recordings": {}}
    if event_files.is_bitstream(path):
        result["parts"] = spk.breakdown(path)
        with open(path, "rb") as file:
            header = spk.Reader(file, name=str(path)).header
        result["context"] = header.entropy_model
        folder = checkpoints.find(options.model)
        entropy_model = EntropyModel.of(folder) if header.entropy_model else None
        if "learned" in result["parts"]["chunks"] and (
            entropy_model is None or entropy_model.fingerprint != header.entropy_model
        ):
            # its bytes can be told without the entropy model, its events cannot
            result["recordings"][path.stem] = {
                "units": header.n_units, "sample_rate": header.sample_rate, "hop": header.hop,
                "samples": result["parts"]["samples"], "model": header.fingerprint,
                "seconds": result["parts"]["samples"] / header.sample_rate,
            }  # fmt: skip
        else:
            result["recordings"][path.stem] = _described(spk.read(path, entropy_model=entropy_model))
    else:
        result["recordings"] = {name: _described(events) for name, events in event_files.recordings(path)}
    result["bytes"] = path.stat().st_size
    if options.json:
        print(json.dumps(result))
        return 0
    print(f"{path}: {result['bytes']} bytes, {len(result['recordings'])} recording(s)")
    for name, row in result["recordings"].items():
        _print_recording(name, row)
    if "parts" in result:
        _print_parts(result)
    return 0


def _described(events: Any) -> dict[str, Any]:
    from snn_codec.levels import LEVEL_PARTS, UNREACHED

    return {
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
        "compression": [None if code == UNREACHED else code / LEVEL_PARTS for code in events.levels],
    }


def _print_recording(name: str, row: dict[str, Any]) -> None:
    print(f"{name}: {row['seconds']:.2f} s, {row['units']} units, model {row['model'] or '-'}")
    if "events" not in row:
        print(
            "  its events are coded with an entropy model that --model does not have; they cannot be counted"
        )
        return
    print(
        f"  {row['steps']} steps, {row['events']} events ({row['events_per_second']:.1f} a second, "
        f"density {row['density']:.4f})"
    )
    rates = (f"{kind} {bits / row['seconds'] / 1000:.3f}" for kind, bits in row["bits"].items())
    print(f"  kbps by the paper's formulas: {', '.join(rates)}")
    found = [level for level in row["compression"] if level is not None]
    if found:
        print(f"  compression levels: {min(found):g} to {max(found):g}")
    below = [str(chunk) for chunk, level in enumerate(row["compression"]) if level is None]
    if below:
        print(f"  chunks whose quality no level could lift to what was asked for: {', '.join(below)}")


def _print_parts(result: dict[str, Any]) -> None:
    parts, (row,) = result["parts"], result["recordings"].values()
    print(f"  kbps of this file: {result['bytes'] * 8 / row['seconds'] / 1000:.3f}")
    names = ("header", "framing", "levels", "events", "checksums", "trailer")
    print("  bytes: " + ", ".join(f"{name} {parts[name]}" for name in names))
    print("  chunks: " + ", ".join(f"{count} {name}" for name, count in parts["chunks"].items()))
    if result["context"]:
        print(f"  entropy model: {result['context']}")


def _convert(options: argparse.Namespace) -> int:
    from snn_codec.storage import event_files
    from snn_codec.storage.entropy_model import EntropyModel

    if options.to is not None and options.to not in event_files.KINDS:
        raise UserError(f"--to {options.to}: must be one of {', '.join(event_files.KINDS)}")
    entropy_model = EntropyModel.of(checkpoints.find(options.model or _maker(options.inputs)))
    read: list[str] = []
    with _progress("converting", None):
        written = event_files.convert(
            options.inputs,
            options.output,
            options.to,
            name=options.recording,
            entropy_model=entropy_model,
            compress=options.gzip,
            force=options.force,
            progress=read.append,
        )
    size = sum(path.stat().st_size for path in written)
    print(f"{len(read)} recording(s) -> {options.output}: {len(written)} file(s), {size} bytes")
    return 0


def _train(options: argparse.Namespace) -> int:
    from snn_codec import settings as config
    from snn_codec.training.trainer import Run, train

    settings = config.load(options.preset or config.PHASE_PRESETS[options.phase], options.settings)
    config.check_phase(settings, options.phase)
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


def _train_entropy(options: argparse.Namespace) -> int:
    from snn_codec.storage.entropy_model import FILE_NAME
    from snn_codec.training.datasets import recordings
    from snn_codec.training.rate import RateTraining, bits_per_cell, events_of, train_context

    target = check_writable(checkpoints.find(options.model) / FILE_NAME, force=options.force)
    if options.steps < 1 or not options.hours > 0:
        raise UserError(f"--steps {options.steps}, --hours {options.hours}: must be more than 0")
    codec = _load(options)
    matrices = []
    for split in ("train", "validation"):
        paths = [path for folder in options.data for path in recordings(folder, split)]
        with _progress(f"encoding the {split} split", 1) as advance:
            matrices.append(events_of(codec, paths, options.hours, options.seed, advance))
    settings = RateTraining(steps=options.steps, seed=options.seed)
    with _progress("training", settings.steps) as advance:
        model = train_context(
            matrices[0], settings, checkpoint=codec.fingerprint, progress=lambda step, bits: advance(step)
        )
    model.save(target, force=options.force)
    print(f"{target}: entropy model {model.fingerprint} for the checkpoint {codec.fingerprint}")
    print("bits a cell, validation:")
    for name, bits in bits_per_cell(matrices[1], model).items():
        print(f"  {name:10} {bits:.4f}, {(1 - bits) * 100:.1f} % under the dense cost")
    return 0


def _load(options: argparse.Namespace, device: str | None = None):  # noqa: ANN202 - importing Codec for the annotation costs a second
    from snn_codec.loading import load

    return load(options.model, device or options.device, **_decoder_options(options))


def _decoder_options(options: argparse.Namespace) -> dict[str, Any]:
    """What `Codec.load` has to know of the decoder, for commands that let the user choose one."""
    from snn_codec.decoders import Sampling

    if "guidance" not in options:
        return {}
    return {
        "decoder": options.decoder,
        "sampling": Sampling(options.steps, options.seed, options.guidance),
    }


def _convert_all(
    options: argparse.Namespace,
    suffixes: Sequence[str],
    suffix: str,
    one: Callable[[Any, Path, Path], dict[str, Any]],
) -> int:
    """Run `one` with the model on every input, go on after a bad one, report, and give the exit status."""
    from snn_codec.parallel import Parallelism, Ranks

    rows, status = [], 0
    report = sys.stderr if options.output == PIPE else sys.stdout
    parallelism = Parallelism(options.workers, options.devices, options.nodes)
    if parallelism != Parallelism() and PIPE in (*options.inputs, options.output):
        raise UserError("-: one recording goes through a pipe, in one process")
    ranks = Ranks(parallelism, options.device)
    codec = _load(options, ranks.device)  # also where workers load their own, so that one process complains
    targets = _targets(options, suffixes, suffix)
    prepare = partial(_load, options, ranks.device) if parallelism.workers > 1 else lambda: codec
    text = f"{len(targets)} files"
    with _progress(text, 1, shown=ranks.is_main and not _alone(options)) as advance:
        for row in ranks.map(partial(_guarded, one), prepare, targets, advance):
            if isinstance(row, UserError):
                status = fatal(row)
                continue
            rows.append(row)
            if not options.json:
                _print_row(row, report)
    if options.json and ranks.is_main:
        print(json.dumps({"files": rows}), file=report)
    return status


def _alone(options: argparse.Namespace) -> bool:
    """Whether one process does it all, which then shows how far it is in each file."""
    return options.workers * options.devices * options.nodes == 1


def _guarded(
    one: Callable[[Any, Path, Path], dict[str, Any]], codec: Any, job: tuple[Path, Path]
) -> dict[str, Any] | UserError:
    source, target = job
    began = time.perf_counter()
    try:
        row = {"input": str(source), "output": str(target)} | one(codec, source, target)
    except UserError as error:
        return error
    took = time.perf_counter() - began
    return row | {"took": took, "real_time_factor": row["seconds"] / took}


def _print_row(row: dict[str, Any], report: TextIO) -> None:
    extra = ""
    if "kbps" in row:
        extra = f", {row['kbps']:.3f} kbps, {row['events_per_second']:.0f} events/s"
    factor = row["real_time_factor"]
    digits = 0 if factor >= 10 else 1
    print(
        f"{row['input']} -> {row['output']}: {row['seconds']:.2f} s{extra}, {factor:.{digits}f} x real time",
        file=report,
    )
    if row.get("clipped_samples"):
        print(f"  {row['clipped_samples']} samples were beyond full scale and were clipped", file=report)


def _targets(options: argparse.Namespace, suffixes: Sequence[str], suffix: str) -> list[tuple[Path, Path]]:
    pairs: list[tuple[Path, Path]] = []
    output: Path | None = options.output
    several = len(options.inputs) > 1 or options.inputs[0].is_dir()
    if several and (output == PIPE or PIPE in options.inputs):
        raise UserError("-: one recording goes through a pipe; give one input")
    if PIPE in options.inputs and output is None:
        raise UserError("-: has no name; say with -o what to write")
    if several and output is not None and output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file, but there are several inputs; give a folder")
    for source in options.inputs:
        if source.is_dir():
            found = below(source, suffixes)
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
