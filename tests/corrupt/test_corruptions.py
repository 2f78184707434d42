"""Each corruption: the same bytes every time, worse with every severity, and what it is named after."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import cv2
import numpy as np
import pytest

from wutdet.corrupt.draws import derived_seed
from wutdet.corrupt.frame import corrupt, corrupt_labelled
from wutdet.corrupt.severities import GROUPS, NAMES, SEVERITIES, parameters
from wutdet.errors import DataError, UsageError

HORIZON = 0.4


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """640x360: a graded sky, a sea with waves, a dark ship with a pale house, blocks that stand for a coast."""
    height, width = 360, 640
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    top = round(HORIZON * height)
    sky = np.stack([205 - 0.1 * y, 180 + 0.2 * y, 150 + 0.4 * y], axis=-1)
    waves = 22 * np.sin(x / 5 + y) * np.sin(y / 3)
    sea = np.stack([95 + waves, 85 + waves, 60 + waves], axis=-1)
    frame = np.where((y < top)[..., None], sky, sea).clip(0, 255).astype(np.uint8)
    for left in range(0, width, 40):
        frame[top - 8 - left % 13 : top, left : left + 24] = (40 + left % 60, 60, 50)
    cv2.rectangle(frame, (250, 190), (390, 225), (40, 30, 120), -1)
    cv2.rectangle(frame, (350, 160), (380, 190), (225, 230, 230), -1)
    return frame


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return np.inf if error == 0 else 10 * np.log10(255**2 / error)


def digest(frame: np.ndarray) -> str:
    return hashlib.sha256(frame.tobytes()).hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_same_arguments_same_bytes_whatever_the_threads(scene, name):
    before = scene.copy()
    threads = cv2.getNumThreads()
    found = set()
    try:
        for count in (1, 2, 3):
            cv2.setNumThreads(count)
            cv2.setRNGSeed(count)  # global generators have no say
            np.random.seed(count)  # noqa: NPY002
            found.add(digest(corrupt(scene, name, 4, seed=11, horizon=HORIZON)))
    finally:
        cv2.setNumThreads(threads)
    assert len(found) == 1
    assert np.array_equal(scene, before), "the frame itself must not change"


def test_same_bytes_in_another_process(scene, tmp_path):
    file = tmp_path / "scene.png"
    cv2.imwrite(str(file), scene)
    code = (
        "import sys, cv2, hashlib\n"
        "from wutdet.corrupt.frame import corrupt\n"
        "from wutdet.corrupt.draws import derived_seed\n"
        "frame = cv2.imread(sys.argv[1])\n"
        "for name in sys.argv[2:]:\n"
        "    out = corrupt(frame, name, 3, seed=derived_seed(0, 'häfen/a.jpg'), horizon=0.4)\n"
        "    print(hashlib.sha256(out.tobytes()).hexdigest())\n"
    )
    other = subprocess.run(
        [sys.executable, "-c", code, str(file), *NAMES], capture_output=True, text=True, check=True
    ).stdout.split()
    seed = derived_seed(0, "häfen/a.jpg")
    assert other == [digest(corrupt(scene, name, 3, seed=seed, horizon=HORIZON)) for name in NAMES]


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("contrast", "defocus_blur", "compression")])
def test_the_seed_decides(scene, name):
    frames = {digest(corrupt(scene, name, 3, seed=seed, horizon=HORIZON)) for seed in range(6)}
    # A roll is to one side or the other; everything else never repeats.
    assert len(frames) == (2 if name == "horizon_tilt" else 6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", NAMES)
def test_every_severity_is_worse_than_the_one_before(scene, name, seed):
    measured = [psnr(scene, corrupt(scene, name, s, seed=seed, horizon=HORIZON)) for s in SEVERITIES]
    assert np.isfinite(measured[0]), "severity 1 must already change the frame"
    assert (np.diff(measured) < 0).all(), measured


@pytest.mark.parametrize("name", [n for n in NAMES if n != "horizon_tilt"])  # moves the ship: see test_tilt.py
def test_a_large_ship_can_still_be_made_out_at_severity_5(scene, name):
    """Its part of the frame still resembles itself (correlation of the blurred pictures), wherever drops fall."""
    ship = (slice(150, 240), slice(220, 420))

    def seen(frame: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), (0, 0), 2)[ship].astype(float).ravel()

    likeness = []
    for seed in range(8):
        bad = corrupt(scene, name, 5, seed=seed, horizon=HORIZON)
        likeness.append(np.corrcoef(seen(scene), seen(bad))[0, 1])
    assert np.median(likeness) > 0.45 and min(likeness) > 0.25, likeness


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 64), (64, 1), (53, 37), (37, 53), (2, 3), (480, 641)])
@pytest.mark.parametrize("name", NAMES)
def test_any_size_keeps_its_shape(name, size_hw):
    frame = np.random.default_rng(5).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    for severity in (1, 5):
        out = corrupt(frame, name, severity, seed=2)
        assert out.shape == frame.shape and out.dtype == np.uint8 and out.flags.c_contiguous


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("name", NAMES)
def test_flat_frames_and_views_that_are_not_contiguous(name, value):
    frame = np.full((40, 60, 3), value, np.uint8)
    out = corrupt(frame[:, ::-1], name, 5, seed=0)
    assert out.shape == frame.shape
    assert np.array_equal(out, corrupt(frame, name, 5, seed=0))


@pytest.mark.parametrize("name", ["fog", "rain"])
def test_haze_hides_the_horizon_more_than_what_is_near(scene, name):
    bad = corrupt(scene, name, 4, seed=1, horizon=HORIZON)
    top = round(HORIZON * 360)

    def contrast_left(rows: slice) -> float:
        return bad[rows].astype(float).std() / scene[rows].astype(float).std()

    far, middle, near = contrast_left(slice(top + 1, top + 15)), contrast_left(slice(240, 280)), contrast_left(
        slice(320, 360)
    )  # fmt: skip
    assert far < middle < near
    lower = corrupt(scene, name, 4, seed=1, horizon=0.7)
    assert not np.array_equal(lower, bad)


def test_fog_visibility_is_koschmieders_law():
    """5 % of the contrast is left at the meteorological range, on the flat sea that the module describes."""
    checks = np.zeros((2000, 8, 3), np.uint8)
    checks[:, ::2], checks[:, 1::2] = 60, 180
    visibility = parameters("fog", 5)["visibility_m"]
    below = 25.0 / visibility - 0.03  # 25 m lie one frame height below the horizon
    horizon = 0.3 - below  # puts that range at row 600
    from wutdet.corrupt import air

    class Still:  # no banks
        def clouds(self, rows, columns, cells, octaves=3):
            return np.zeros((rows, columns), np.float32)

    out = air.fog(checks, Still(), horizon, visibility_m=visibility, patchiness=0.0)
    left = np.ptp(out[595:606].astype(float), axis=1).mean() / 120
    assert left == pytest.approx(0.05, abs=0.012)


def test_glare_is_brightest_at_the_sun_and_glitters_below_it():
    frame = np.full((360, 640, 3), 70, np.uint8)
    out = corrupt(frame, "glare", 4, seed=9, horizon=0.5).astype(float).mean(axis=-1)
    sun_y, sun_x = np.unravel_index(np.argmax(cv2.GaussianBlur(out[:180], (0, 0), 6)), (180, 640))
    assert out[sun_y, sun_x] == 255 and sun_y < 180
    sea = out[200:]
    columns = np.abs(np.arange(640) - sun_x)
    path, aside = sea[:, columns < 20], sea[:, columns > 250]
    assert path.mean() > aside.mean() + 60
    assert path.std() > 8 * aside.std(), "the path is made of glints"


def test_rain_streaks_are_upright_and_bright():
    frame = np.full((540, 960, 3), 60, np.uint8)
    frame[:200] = 180
    streaks = cv2.subtract(
        corrupt(frame, "rain", 5, seed=2, horizon=0.37), corrupt(frame, "rain", 1, seed=2, horizon=0.37)
    )
    grey = streaks[300:].astype(float).mean(axis=-1)
    across, along = np.abs(np.diff(grey, axis=1)).mean(), np.abs(np.diff(grey, axis=0)).mean()
    assert across > 2 * along


def test_drops_change_places_and_leave_the_rest_alone(scene):
    for severity in SEVERITIES:
        changed = (corrupt(scene, "lens_drops", severity, seed=4) != scene).any(axis=-1).mean()
        cover = parameters("lens_drops", severity)["cover"]
        assert 0.5 * cover < changed < 1.8 * cover


def test_spray_comes_from_below():
    frame = np.full((360, 640, 3), 80, np.uint8)
    gain = corrupt(frame, "spray", 3, seed=1).astype(float).mean(axis=(1, 2)) - 80
    thirds = gain.reshape(3, 120).mean(axis=1)
    assert thirds[2] > 3 * thirds[1] > 0 and thirds[2] > 20 * max(thirds[0], 0.05)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_has_the_deviation_of_the_table(severity):
    for level in (60, 140):
        frame = np.full((400, 400, 3), level, np.uint8)
        noise = corrupt(frame, "noise", severity, seed=8).astype(float) - level
        values = parameters("noise", severity)
        expected = np.sqrt(values["read"] ** 2 + values["shot"] ** 2 * level / 255)
        assert noise.std() == pytest.approx(expected, rel=0.06)
        assert abs(noise.mean()) < 0.3


def test_low_light_darkens_by_stops(scene):
    """In linear light, stops lost less those that the gain brings back."""
    for severity in (1, 3, 5):
        values = parameters("low_light", severity)
        frame = np.full((200, 200, 3), 200, np.uint8)
        dark = corrupt(frame, "low_light", severity, seed=1).astype(float)[..., 1].mean()
        stops = np.log2((dark / 200) ** 2.2)
        assert stops == pytest.approx(values["gain_stops"] - values["stops"], abs=0.12)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_contrast_is_the_tables(scene, severity):
    out = corrupt(scene, "contrast", severity, seed=0)
    factor = parameters("contrast", severity)["contrast"]
    assert out.std(axis=(0, 1)) == pytest.approx(scene.std(axis=(0, 1)) * factor, rel=0.03)
    assert out.mean(axis=(0, 1)) == pytest.approx(scene.mean(axis=(0, 1)), abs=0.6)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_blurs_spread_a_point_as_far_as_the_table_says(severity):
    frame = np.zeros((1080, 1920, 3), np.uint8)
    frame[500:509, 900:909] = 255
    spot = np.argwhere(corrupt(frame, "defocus_blur", severity, seed=0)[..., 0] > 2)
    radius = parameters("defocus_blur", severity)["radius_px"]
    assert np.ptp(spot, axis=0) + 1 == pytest.approx([9 + 2 * radius] * 2, abs=2.1)
    assert spot.mean(axis=0) == pytest.approx([504, 904], abs=0.1)
    spot = np.argwhere(corrupt(frame, "motion_blur", severity, seed=0)[..., 0] > 2)
    length = parameters("motion_blur", severity)["length_px"]
    assert np.hypot(*np.ptp(spot, axis=0)) == pytest.approx(np.hypot(9, 9 + length), abs=0.25 * length + 3)


def test_names_groups_and_seeds():
    assert len(NAMES) == 12 and tuple(GROUPS) == NAMES
    assert derived_seed(0, "a") == derived_seed(0, "a")
    seeds = {derived_seed(*keys) for keys in [(0, "a"), (1, "a"), (0, "b"), ("0", "a"), ("0a",), (0, "a", "")]}
    assert len(seeds) == 6 and all(0 <= seed < 1 << 63 for seed in seeds)


def test_unknown_name_is_refused_with_a_suggestion(scene):
    with pytest.raises(UsageError, match=r"unknown corruption 'frog'.*Did you mean 'fog'") as caught:
        corrupt(scene, "frog", 1, seed=0)
    assert "horizon_tilt" in caught.value.hint


@pytest.mark.parametrize("severity", [0, 6, -1, 2.5, "3", True, None])
def test_severity_out_of_range_is_refused(scene, severity):
    with pytest.raises(UsageError, match="from 1 to 5"):
        corrupt(scene, "fog", severity, seed=0)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        [[1, 2, 3]],
    ],
)
def test_what_is_no_frame_is_refused(frame):
    with pytest.raises(DataError, match="frame to corrupt"):
        corrupt(frame, "fog", 1, seed=0)


def test_a_horizon_that_is_no_number_is_refused(scene):
    with pytest.raises(UsageError, match="horizon"):
        corrupt(scene, "fog", 1, seed=0, horizon=float("nan"))


@pytest.mark.parametrize("name", [n for n in NAMES if n != "horizon_tilt"])
def test_boxes_stay_where_nothing_moves(scene, name):
    boxes = np.array([[10, 20, 50, 40], [300, 100, 320, 130]], float)
    out = corrupt_labelled(scene, boxes, name, 3, seed=6)
    assert np.array_equal(out.xyxy, boxes) and out.kept.all()
    assert np.array_equal(out.image, corrupt(scene, name, 3, seed=6))
