"""The parent's side: nothing that a picture does to the child reaches the caller but as an error that names a field."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from controlnet.annotators import to_rgb
from serve.errors import Internal, InvalidRequest, ServeError, UnsupportedMedia
from serve.imaging import decode as module
from serve.imaging import decoder as child_module
from serve.imaging.decode import Decoder
from tests.pictures import RAMP, animated, black_png, exif, png_header, saved

MAX_PIXELS = 1_000_000
FIELD = "controls.0.image"
PROMPT_S = 0.1  # a limit that is meant to be hit
PNG = saved(RAMP)


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    with Decoder(MAX_PIXELS) as made:
        yield made


def refusal(decoder: Decoder, data: bytes) -> ServeError:
    with pytest.raises(ServeError) as caught:
        decoder.decode(data, FIELD)
    if not isinstance(caught.value, Internal):
        assert caught.value.field == FIELD
    return caught.value


def gone(pid: int) -> bool:
    """Neither running nor a zombie of ours."""
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    return True


# A child in good health.


def test_a_file_becomes_pixels_of_the_callers_own(decoder: Decoder) -> None:
    pixels = decoder.decode(PNG, FIELD)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    assert np.array_equal(pixels, RAMP)
    assert np.array_equal(decoder.decode(saved(RAMP, exif=exif(8)), FIELD), np.rot90(RAMP))


def test_one_child_serves_many(decoder: Decoder) -> None:
    first = decoder.pid
    for data in (PNG, b"GIF89a", png_header(9_000, 9_000), animated("PNG"), PNG[:60], PNG):
        try:
            decoder.decode(data, FIELD)
        except ServeError as error:
            assert error.field == FIELD  # noqa: PT017 - the last of them must not raise, as the next line shows
    assert np.array_equal(decoder.decode(PNG, FIELD), RAMP)
    assert decoder.pid == first


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        (b"GIF89a", UnsupportedMedia, "PNG, JPEG or WebP"),
        (b"", UnsupportedMedia, "PNG, JPEG or WebP"),
        (png_header(60_000, 60_000), InvalidRequest, f"at most {MAX_PIXELS}"),
        (animated("WEBP"), InvalidRequest, "animated"),
        (saved(RAMP, "JPEG")[:-100], InvalidRequest, "cut short"),
    ],
)
def test_refusals_are_the_errors_of_this_platform(
    decoder: Decoder, data: bytes, kind: type[ServeError], text: str
) -> None:
    error = refusal(decoder, data)
    assert type(error) is kind
    assert text in error.detail


@pytest.mark.parametrize("band", [1 << 20, 1000])
def test_opacity_is_laid_over_white_by_the_originals_rule(
    decoder: Decoder, band: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BAND", band)
    level, alpha = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(255, dtype=np.uint8))
    picture = np.dstack([level, 255 - level, level, alpha])
    assert np.array_equal(decoder.decode(saved(picture), FIELD), to_rgb(picture))


def test_threads_share_it(decoder: Decoder) -> None:
    def ask(shade: int) -> bool:
        if shade % 5 == 0:
            return isinstance(refusal(decoder, PNG[: 40 + shade]), InvalidRequest)
        picture = np.full((shade, 3, 3), shade, np.uint8)
        return np.array_equal(decoder.decode(saved(picture), FIELD), picture)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(1, 60)))


def test_it_knows_no_secret_of_ours(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CN_DATABASE", "postgresql://user:secret@host")
    with Decoder(MAX_PIXELS) as fresh:
        fresh.decode(PNG, FIELD)
        environment = Path(f"/proc/{fresh.pid}/environ").read_bytes()
    assert b"secret" not in environment
    assert [line.split(b"=")[0] for line in environment.split(b"\0") if line] == [b"PYTHONPATH"]


def test_a_picture_that_needs_too_much_memory_is_refused_and_the_child_lives() -> None:
    with Decoder(max_pixels=1 << 30, memory=256 << 20) as decoder:
        first = decoder.pid
        assert "too much memory" in refusal(decoder, black_png(8_000)).detail
        assert np.array_equal(decoder.decode(PNG, FIELD), RAMP)
        assert decoder.pid == first


# A child that stops, dies, or lies.


def fake(tmp_path: Path, first: str, then: str = "real()") -> list[str]:
    """A program that does `first` when it is started first, and `then` from then on."""
    script = tmp_path / "fake.py"
    script.write_text(f"""
import json, os, signal, struct, sys
def real():
    os.execv({sys.executable!r}, [{sys.executable!r}, {child_module.__file__!r}, *sys.argv[1:]])
def ready(say={child_module.BANNER!r}):
    os.write(1, say)
def heard():
    (length,) = struct.unpack(">I", sys.stdin.buffer.read(4))
    sys.stdin.buffer.read(length)
def say(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    sys.stdout.buffer.write(struct.pack(">I", len(text)) + text + body)
    sys.stdout.flush()
def hang():
    while True:
        signal.pause()
try:
    os.mkdir({str(tmp_path / "started")!r})
except FileExistsError:
    {then}
else:
    {first}
""")
    return [sys.executable, "-S", str(script)]


def test_a_stopped_child_is_killed_and_replaced() -> None:
    with Decoder(MAX_PIXELS, timeout=2.0) as decoder:
        decoder.decode(PNG, FIELD)
        stopped = decoder.pid
        assert stopped is not None
        os.kill(stopped, signal.SIGSTOP)
        error = refusal(decoder, PNG)
        assert isinstance(error, InvalidRequest)
        assert error.detail == "The picture took longer than 2 s to decode."
        assert gone(stopped)
        assert np.array_equal(decoder.decode(PNG, FIELD), RAMP)


@pytest.mark.parametrize(
    "hang",
    [
        pytest.param("ready(); hang()", id="before it reads"),
        pytest.param("ready(); heard(); hang()", id="after it read"),
        pytest.param("ready(); heard(); say(dict(width=9, height=9, channels=3), b'x'); hang()", id="while it answers"),
        pytest.param(
            "ready(); heard(); signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork(); hang()", id="with a child"
        ),
    ],
)
def test_however_it_hangs_the_caller_is_told_in_time(hang: str, tmp_path: Path) -> None:
    big = PNG + bytes(1 << 20)  # more than a pipe holds
    with Decoder(MAX_PIXELS, timeout=PROMPT_S, program=fake(tmp_path, hang, then=hang)) as decoder:
        assert "took longer than 0.1 s" in refusal(decoder, big).detail


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("ready(); heard(); os.kill(os.getpid(), signal.SIGSEGV)", id="crash"),
        pytest.param("ready(); os._exit(0)", id="exit before it reads"),
        pytest.param("ready(); heard(); os._exit(0)", id="exit without an answer"),
        pytest.param("ready(); heard(); os.write(1, b'\\0\\0')", id="half a length"),
        pytest.param("ready(); heard(); os.write(1, b'\\xff' * 9)", id="a header of gigabytes"),
        pytest.param("ready(); heard(); say(b'{')", id="no JSON"),
        pytest.param("ready(); heard(); say(b'\\xff')", id="no text"),
        pytest.param("ready(); heard(); say([])", id="no object"),
        pytest.param("ready(); heard(); say({})", id="nothing in it"),
        pytest.param("ready(); heard(); say(dict(width=10**6, height=10**6, channels=3))", id="terabytes"),
        pytest.param("ready(); heard(); say(dict(width=-1, height=-1, channels=3))", id="negative"),
        pytest.param("ready(); heard(); say(dict(width='9', height=9, channels=3))", id="text for a number"),
        pytest.param("ready(); heard(); say(dict(width=9, height=9, channels=9))", id="nine channels"),
        pytest.param("ready(); heard(); say(dict(width=9, height=9, channels=3), b'xx')", id="pixels missing"),
        pytest.param("ready(); heard(); say(dict(refused='other', detail=''))", id="a refusal of no known kind"),
        pytest.param("ready(); heard(); say(dict(refused='invalid', detail=1))", id="a refusal without words"),
    ],
)
def test_a_child_that_breaks_is_ended_and_the_picture_named(fault: str, tmp_path: Path) -> None:
    with Decoder(MAX_PIXELS, program=fake(tmp_path, fault, then=fault)) as decoder:
        broken = decoder.pid
        assert broken is not None
        error = refusal(decoder, PNG)
        assert isinstance(error, InvalidRequest)
        assert error.detail == "The picture could not be decoded: it broke the decoder."
        assert gone(broken)


def test_after_a_crash_the_next_picture_is_decoded(tmp_path: Path) -> None:
    crash = "ready(); heard(); os.kill(os.getpid(), signal.SIGSEGV)"
    with Decoder(MAX_PIXELS, program=fake(tmp_path, crash)) as decoder:
        refusal(decoder, PNG)
        assert np.array_equal(decoder.decode(PNG, FIELD), RAMP)


@pytest.mark.parametrize("fault", ["os._exit(1)", "ready(b'another pro')", "ready(b'cn-decoder 0\\n')"])
def test_a_child_that_does_not_start_is_no_pictures_fault(fault: str, tmp_path: Path) -> None:
    with Decoder(MAX_PIXELS, program=fake(tmp_path, fault)) as decoder:
        assert isinstance(refusal(decoder, PNG), Internal)
        assert np.array_equal(decoder.decode(PNG, FIELD), RAMP)


def test_a_child_that_is_slow_to_start_is_no_pictures_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_START_TIMEOUT", PROMPT_S)
    with Decoder(MAX_PIXELS, program=fake(tmp_path, "hang()", then="hang()")) as decoder:
        assert isinstance(refusal(decoder, PNG), Internal)


def test_a_child_killed_between_two_pictures_is_no_pictures_fault(decoder: Decoder) -> None:
    killed = decoder.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    os.waitid(os.P_PID, killed, os.WEXITED | os.WNOWAIT)
    assert np.array_equal(decoder.decode(PNG, FIELD), RAMP)
    assert gone(killed)


def test_an_interrupted_answer_is_not_taken_for_the_next(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*arguments: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(module.np, "empty", no_room)
        with pytest.raises(MemoryError):
            decoder.decode(PNG, FIELD)
    assert np.array_equal(decoder.decode(saved(RAMP[::-1].copy()), FIELD), RAMP[::-1])


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    fault = "ready(); heard(); os._exit(0)"
    before = len(os.listdir("/proc/self/fd"))
    with Decoder(MAX_PIXELS, program=fake(tmp_path, fault, then=fault)) as decoder:
        pids = []
        for _ in range(3):
            pids.append(decoder.pid)
            refusal(decoder, PNG)
        pids.append(decoder.pid)
    assert len(set(pids)) == 4
    assert all(pid is not None and gone(pid) for pid in pids)
    assert len(os.listdir("/proc/self/fd")) == before


# The end.


def test_closing_ends_the_child_once_and_for_all() -> None:
    decoder = Decoder(MAX_PIXELS)
    pid = decoder.pid
    assert pid is not None
    decoder.close()
    decoder.close()
    assert gone(pid)
    assert decoder.pid is None
    with pytest.raises(RuntimeError, match="closed"):
        decoder.decode(PNG, FIELD)


def test_a_parent_killed_without_warning_leaves_no_orphan(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(PNG)
    code = (
        "import pathlib, sys; from serve.imaging.decode import Decoder; d = Decoder(1_000_000);"
        f"d.decode(pathlib.Path({str(picture)!r}).read_bytes(), ''); print(d.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = json.loads(parent.stdout.readline())
        watch = os.pidfd_open(pid)
        parent.kill()
    try:
        ended, _, _ = select.select([watch], [], [], 60)
        assert ended
    finally:
        os.close(watch)
