"""Writes synthetic Heidelberg digits: espeak-ng speaks, the model cochlea of SHD hears, and the files are those of SHD.

`apt-get install espeak-ng` and `pip install lauscher==1.0.1 h5py` (in any environment; Ranvier is not needed), then
`python examples/heidelberg_digits.py FOLDER` writes FOLDER/shd_train.h5 and FOLDER/shd_test.h5: a quarter of an hour on
one core. Train with `ranvier train heidelberg-digits --data FOLDER`.

Twelve voices say the digits 0 to 9 in English (labels 0 to 9) and German (10 to 19), with random pitch, speed and
English accent. Speakers 4 and 5 are only in the test set, as in SHD; here, it has no other speakers.

The cochlea is lauscher (Cramer et al., The Heidelberg spiking data sets, IEEE TNNLS 33, 2022): a basilar membrane, and
hair cells, nerve fibres and a bushy cell for each of 700 channels. lauscher computes the membrane, and gives all
constants. Its loops over time would take minutes for each word, so they are written again for Numba, and are first
compared with lauscher's own. The 40 nerve fibres of a channel are alike, so only the number of their spikes is drawn.
Sound is sampled at 22 kHz, and fades in and out within 30 ms.
"""

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import wave
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
         "null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"]  # fmt: skip
VARIATIONS = 8  # recordings of each word by each speaker
VOICES = ["m1", "f1", "m2", "f2", "m3", "f3", "m4", "f4", "m5", "f5", "m6", "m7"]  # of espeak-ng, by speaker
ENGLISH = ["en-gb", "en-us", "en-gb-scotland", "en-gb-x-rp"]
TEST = (4, 5)  # speakers, as in SHD
CHANNELS, RATE = 700, 22_050  # samples per second of espeak-ng
STEPS = RATE // 2  # per second, of the cochlea
WINDOW = 22_048  # samples of sound; longer ones are cut (22,048 / 2 + 1 has small factors, for a quick transform)
TAIL = 0.05  # seconds after a word


class Word(NamedTuple):
    """A recording to be made; `seed` decides pitch, speed, accent and the noise of the nerve."""

    label: int
    speaker: int
    seed: int


def speak(word: Word) -> np.ndarray:
    """Return the sound [samples] of a word in -1..1, without the silence around it."""
    random = np.random.RandomState(word.seed)
    accent, pitch, speed = random.choice(ENGLISH), random.randint(30, 71), random.randint(120, 221)
    language = accent if word.label < 10 else "de"
    command = ["espeak-ng", "-v", f"{language}+{VOICES[word.speaker]}", "-p", str(pitch), "-s", str(speed), "--stdout"]
    said = subprocess.run([*command, WORDS[word.label]], capture_output=True, check=True).stdout
    with wave.open(BytesIO(said)) as file:
        if file.getframerate() != RATE or file.getnchannels() != 1:
            raise ValueError(f"espeak-ng: wanted one channel of {RATE} Hz, got {file.getparams()}")
        sound = np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32768.0
    (loud,) = np.nonzero(np.abs(sound) > 0.01 * np.abs(sound).max())
    return sound[loud[0] : loud[-1] + 1][:WINDOW]


@cache
def transfer() -> np.ndarray:
    """Return the response of the basilar membrane [channels, frequencies], as lauscher computes it for each sound."""
    from lauscher.transformations import BasilarMembrane

    membrane = BasilarMembrane(channels=CHANNELS)
    omega = 2 * np.pi * np.linspace(1, STEPS, WINDOW // 2 + 1)
    return np.stack([membrane._v(omega, place) for place in membrane.ch])


def velocity(sound: np.ndarray) -> np.ndarray:
    """Return the velocity of the basilar membrane [channels, steps] at half the rate of the sound."""
    from lauscher.audiowaves import MonoAudioWave
    from lauscher.transformations import HanningWindow, RmsNormalizer

    heard = MonoAudioWave(sound, RATE).transform(RmsNormalizer(0.3)).transform(HanningWindow(0.03, 0.03)).samples
    spectrum = np.fft.fft(heard, WINDOW)[: WINDOW // 2 + 1]
    return np.fft.ifft(transfer() * spectrum).real[:, : int(len(sound) / 2 + TAIL * STEPS)]


@numba.njit
def hair_cells(bm, dt, y, g, l, r, x, a, b, h, m):  # noqa: E741, names as in lauscher
    """Return the probability of a spike per step [channels, steps]: transmitter in three pools (Meddis 1986, 1988).

    q is free transmitter, c is in the cleft, w is taken up again: dq = y (m - q) + x w - k q, dc = k q - (l + r) c,
    dw = r c - x w, with the release k = g (s + a) / (s + a + b); the probability is h c dt.
    """
    out = np.empty_like(bm)
    rest = g * a / (a + b)
    for channel in range(len(bm)):
        c = m * y * rest / (l * rest + y * (l + r))
        q, w = c * (l + r) / rest, c * r / x
        for t in range(bm.shape[1]):
            pull = bm[channel, t] + a
            k = g * pull / (pull + b) if pull > 0 else 0.0
            made = y * (m - q) if q < m else 0.0
            released, lost, taken, back = k * q, (l + r) * c, r * c, x * w
            q = max(q + dt * (made - released + back), 0.0)
            c = max(c + dt * (released - lost), 0.0)
            w = max(w + dt * (taken - back), 0.0)
            out[channel, t] = h * c * dt
    return out


@numba.njit
def fibres(probability, count, blocked, seed):
    """Return how many of `count` fibres spike [channels, steps]; after a spike, a fibre is blocked for some steps."""
    np.random.seed(seed)
    out = np.zeros(probability.shape, np.uint8)
    for channel in range(len(out)):
        ready = count
        for t in range(out.shape[1]):
            if t > blocked:
                ready += out[channel, t - blocked - 1]
            p = min(probability[channel, t], 1.0)
            # a binomial number by inversion
            u, n = np.random.random(), 0
            share = (1.0 - p) ** ready
            while u >= share and n < ready:
                u -= share
                share *= (ready - n) / (n + 1.0) * p / (1.0 - p) if p < 1.0 else 1.0
                n += 1
            if p >= 1.0:
                n = ready
            out[channel, t] = n
            ready -= n
    return out


@numba.njit
def bushy_cells(arrived, dt, tau_mem, tau_syn, refractory, weight):
    """Return the spikes [channels, steps] of leaky integrate-and-fire neurons with currents that decay."""
    spikes = np.zeros(arrived.shape, np.bool_)
    leak, decay = np.exp(-dt / tau_mem), np.exp(-dt / tau_syn)
    for channel in range(len(arrived)):
        v, current, wait = 0.0, 0.0, 0.0
        for t in range(arrived.shape[1]):
            if t > 0 and wait <= 0 and v >= 1.0:
                spikes[channel, t - 1] = True
                v, wait = 0.0, refractory
            current = current * decay + arrived[channel, t]
            if wait <= 0:
                v = min(v * leak + current * weight * dt, 1.0)
            wait -= 1
    return spikes


def cells() -> tuple[Any, Any]:
    """Return a hair cell and a bushy cell of lauscher, with their constants."""
    from lauscher.transformations import BushyCell, HairCell

    return HairCell(), BushyCell()


def bushy(arrived: np.ndarray, cell: Any) -> np.ndarray:
    return bushy_cells(arrived, 1 / STEPS, cell.tau_mem, cell.tau_syn, cell.tau_refrac * STEPS, cell.weight)


def nerve(word: Word) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, each [channels, steps]: the membrane's velocity for a word, the probability of a spike of a fibre, and
    the number of spikes of all fibres.
    """
    hair, cell = cells()
    moved = velocity(speak(word))
    chance = hair_cells(moved, 1 / STEPS, **vars(hair))
    blocked = int(np.ceil(cell.tau_refrac * STEPS)) - 1
    return moved, chance, fibres(chance, cell.n_convergence, blocked, word.seed)


def hear(word: Word) -> tuple[np.ndarray, np.ndarray]:
    """Return the spikes of a word: times in seconds and channels, in the order of time."""
    steps, channels = np.nonzero(bushy(nerve(word)[2], cells()[1]).T)
    return steps / STEPS, channels


def compare(word: Word) -> None:
    """Compare the loops above with those of lauscher, in four channels of a word."""
    (moved, chance, arrived), (hair, cell) = nerve(word), cells()
    spikes = bushy(arrived, cell)
    for channel in range(CHANNELS // 8, CHANNELS, CHANNELS // 4):
        each = np.arange(cell.n_convergence) < arrived[channel, :, None]  # [steps, fibres]
        own = hair._meddis(moved[channel], STEPS), cell._lif(each.astype(float), STEPS)
        if not np.allclose(own[0], chance[channel], 1e-9) or not np.array_equal(own[1] > 0, spikes[channel]):
            sys.exit(f"channel {channel} differs from lauscher's; this program was written for lauscher 1.0.1")


def write(path: Path, words: Sequence[Word], spikes: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
    """Write recordings in the format of SHD."""
    import h5py

    with h5py.File(path, "w") as file:
        times = file.create_dataset("spikes/times", (len(words),), h5py.vlen_dtype(np.float16))
        units = file.create_dataset("spikes/units", (len(words),), h5py.vlen_dtype(np.uint16))
        file["labels"] = np.array([word.label for word in words], np.uint16)
        file["extra/speaker"] = np.array([word.speaker for word in words], np.uint16)
        file["extra/keys"] = np.array([key.encode() for key in WORDS])
        for k, (t, u) in enumerate(spikes):
            times[k], units[k] = t.astype(np.float16), u.astype(np.uint16)
            if k % 100 == 99 or k + 1 == len(words):
                print(f"{path.name}: {k + 1} of {len(words)}", flush=True)


def missing() -> list[str]:
    """Return the commands that install what is missing."""
    commands = [] if shutil.which("espeak-ng") else ["apt-get install espeak-ng"]
    packages = [p for p, name in (("lauscher==1.0.1", "lauscher"), ("h5py", "h5py")) if not find_spec(name)]
    return commands + ([f"pip install {' '.join(packages)}"] if packages else [])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("--jobs", type=int, default=os.cpu_count(), help="number of processes")
    given = options.parse_args()
    if commands := missing():
        sys.exit("First run: " + " && ".join(commands))
    everyone = itertools.product(range(VARIATIONS), range(len(VOICES)), range(len(WORDS)))
    words = [Word(label, speaker, seed) for seed, (_, speaker, label) in enumerate(everyone)]
    compare(words[0])  # also computes what all processes need
    given.folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(given.jobs) as workers:
        for part, chosen in (("train", False), ("test", True)):
            those = [word for word in words if (word.speaker in TEST) == chosen]
            write(given.folder / f"shd_{part}.h5", those, workers.map(hear, those, chunksize=4))


if __name__ == "__main__":
    main()
