"""Encode a recording, store its events, decode them again, and measure what is left of the sound.

python examples/encode_decode.py [FOLDER TO WRITE TO]
"""

import sys
from pathlib import Path

from snn_codec import Codec, read_audio, read_events, write_audio, write_events
from snn_codec.metrics import si_snr

recording = Path(__file__).parent.parent / "data" / "recording" / "bach-bwv846.flac"
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
folder.mkdir(parents=True, exist_ok=True)

codec = Codec.load("free")  # a shipped model, or the folder of a checkpoint
sound, rate = read_audio(recording, stop=10 * 22050)
events = codec.encode(sound, rate)
print(events)
print(f"{events.events_per_second:.0f} events/s, {100 * events.density:.0f} % of the cells")

spk = folder / "bach.spk"
write_events(spk, events, force=True)
print(f"{spk}: {spk.stat().st_size} bytes, {events.kbps(spk.stat().st_size):.2f} kbps")

again = read_events(spk)
assert again == events  # the file holds the events exactly
decoded = codec.decode(again)
write_audio(folder / "bach.wav", decoded, events.sample_rate, force=True)
print(f"{folder / 'bach.wav'}: SI-SNR {si_snr(decoded, sound):.2f} dB")
