"""The maritime augmentations: what weather, sun, camera and radio link do to a frame, as albumentations transforms.

All act on uint8 BGR pictures and move nothing, so boxes stay as they are. Far things suffer most: fog and glare follow
``horizon``, the height of the horizon as a share of the picture height (0 top, 1 bottom; it may lie outside).
Fog is Koschmieder's law (light lost ~ exp(-extinction * distance)) with the distance of the flat sea below the horizon.
"""

from __future__ import annotations

import cv2
import numpy as np

from wutdet.config import AugmentConfig
from wutdet.corrupt.air import fog_share
from wutdet.runtime.offline import import_albumentations

A = import_albumentations()


class _Effect(A.ImageOnlyTransform):
    """Base: ``draw()`` gives the random numbers of one picture, ``apply`` uses them."""

    def __init__(self, p: float = 0.5):
        super().__init__(p=p)

    @property
    def targets_as_params(self) -> list[str]:
        return ["image", "horizon"]

    def get_params_dependent_on_data(self, params: dict, data: dict) -> dict:
        rng = self.random_generator
        return {"drawn": self.draw(rng), "horizon": float(data["horizon"]), "seed": int(rng.integers((1 << 31) - 1))}

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        return ()

    def draw(self, rng: np.random.Generator) -> dict:
        """The random numbers of one picture; every effect has its own."""
        raise NotImplementedError(f"{type(self).__name__} must say what it draws")


class Fog(_Effect):
    """Haze that is thickest at the horizon and lighter towards the camera and the zenith."""

    def draw(self, rng):
        return {"thickness": rng.uniform(0.35, 0.8), "level": rng.uniform(150, 235), "near": rng.uniform(0.0, 0.2)}

    def apply(self, img, drawn, horizon, **params):
        height, width = img.shape[:2]
        share = np.maximum(fog_share(height, horizon, drawn["thickness"]), drawn["near"])
        fog = np.empty_like(img)
        fog[:] = np.clip(np.array([1.01, 1.0, 0.98]) * drawn["level"], 0, 255)
        share = np.ascontiguousarray(np.broadcast_to(share[:, None], (height, width)))
        return cv2.blendLinear(img, fog, 1 - share, share)


class Glare(_Effect):
    """A low sun: a veil around it, a glitter path on the water below it and now and then ghosts in the lens."""

    def draw(self, rng):
        return {
            "x": rng.uniform(-0.1, 1.1),
            "above": rng.uniform(0.02, 0.35),
            "power": rng.uniform(0.35, 0.9),
            "warm": rng.uniform(0.82, 1.0),
            "width": rng.uniform(0.03, 0.12),
            "ghosts": rng.random() < 0.4,
        }

    def apply(self, img, drawn, horizon, seed, **params):
        height, width = img.shape[:2]
        # Halo and glitter are smooth or blocky: computed at a quarter of the size.
        h, w = max(height // 4, 1), max(width // 4, 1)
        y = ((np.arange(h, dtype=np.float32) + 0.5) / h)[:, None]
        x = ((np.arange(w, dtype=np.float32) + 0.5) / w)[None]
        sun_y = horizon - drawn["above"]
        aspect = width / height
        distance2 = ((x - drawn["x"]) * aspect) ** 2 + (y - sun_y) ** 2
        light = 0.8 * np.exp(-distance2 / 0.004) + 0.45 * np.exp(-np.sqrt(distance2) / 0.25)
        below = np.clip(y - horizon, 0, None)
        path = np.exp(-(((x - drawn["x"]) * aspect / (drawn["width"] + 0.25 * below)) ** 2)) * (below > 0)
        if drawn["ghosts"]:
            for step in (0.6, 1.25, 1.6):  # ghosts lie on the line from the sun through the picture centre
                gx, gy = (drawn["x"] + (0.5 - drawn["x"]) * step), (sun_y + (0.5 - sun_y) * step)
                radius2 = (0.02 + 0.03 * step) ** 2
                light += 0.12 * (((x - gx) * aspect) ** 2 + (y - gy) ** 2 < radius2)
        light = cv2.resize(light * drawn["power"], (width, height), interpolation=cv2.INTER_LINEAR)
        light += cv2.resize(path * drawn["power"], (width, height)) * self.glints(width, height, seed)
        np.clip(light, 0, 1, out=light)
        sun = np.empty_like(img)
        sun[:] = np.array([200 + 45 * (1 - drawn["warm"]), 240, 255]) * [drawn["warm"], 1, 1]
        return cv2.blendLinear(img, sun, 1 - light, light)

    @staticmethod
    def glints(width: int, height: int, seed: int) -> np.ndarray:
        """float32 [height, width]: brightness of the glitter; glints are wider than high."""
        noise = np.empty((max(height // 2, 1), max(width // 6, 1)), np.float32)
        cv2.setRNGSeed(seed)
        cv2.randu(noise, -0.62, 0.38)
        noise = cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
        return 0.15 + 3.2 * np.maximum(noise, 0)


class Rain(_Effect):
    """Slanted streaks over a frame that is softer, greyer and flatter."""

    def draw(self, rng):
        return {
            "density": rng.uniform(0.001, 0.004),
            "length": int(rng.integers(9, 25)),
            "slant": rng.uniform(-0.35, 0.35),
            "veil": rng.uniform(0.1, 0.35),
            "soft": rng.random() < 0.5,
            "strength": rng.uniform(0.12, 0.35),
        }

    def apply(self, img, drawn, seed, **params):
        height, width = img.shape[:2]
        if drawn["soft"]:
            img = cv2.GaussianBlur(img, (3, 3), 0)
        grey = 150 * drawn["veil"]
        img = cv2.convertScaleAbs(img, alpha=1 - drawn["veil"], beta=grey)
        drops = np.zeros((height, width), np.uint8)
        cv2.setRNGSeed(seed)
        cv2.randu(drops, 0, 256)
        # Two thresholds of one noise picture make it sparse: values of 255 only, and of those a share.
        rng = np.random.default_rng(seed)
        rows, columns = np.nonzero(drops == 255)
        chosen = rng.random(len(rows)) < drawn["density"] * 256
        drops[:] = 0
        drops[rows[chosen], columns[chosen]] = 255
        length = drawn["length"]
        kernel = np.zeros((length, length), np.float32)
        middle, lean = length // 2, drawn["slant"] * length / 2
        cv2.line(kernel, (round(middle - lean), 0), (round(middle + lean), length - 1), 1.0)
        streaks = cv2.filter2D(drops, -1, kernel * drawn["strength"])
        return cv2.add(img, cv2.cvtColor(streaks, cv2.COLOR_GRAY2BGR))


class LowLight(_Effect):
    """Dusk and night: darker in the shadows, bluer, less saturated, with the noise of a high gain."""

    def draw(self, rng):
        return {
            "gain": rng.uniform(0.2, 0.6),
            "gamma": rng.uniform(1.0, 1.5),
            "blue": rng.uniform(1.0, 1.25),
            "noise": rng.uniform(1.5, 6.0),
        }

    def apply(self, img, drawn, seed, **params):
        levels = (np.arange(256) / 255.0) ** drawn["gamma"] * 255 * drawn["gain"]
        tint = np.array([drawn["blue"], 1.0, 1 / drawn["blue"]])
        table = np.clip(levels[:, None] * tint, 0, 255).astype(np.uint8)
        return add_noise(cv2.LUT(img, table[None]), drawn["noise"], 0.0, seed)


def add_noise(img: np.ndarray, read_noise: float, shot_noise: float, seed: int) -> np.ndarray:
    """uint8 picture with Gaussian noise of standard deviation ``read_noise + shot_noise * sqrt(value / 255)``."""
    # One channel: given plain numbers, OpenCV's randn fills only the first channel of a picture with three.
    noise = np.empty((img.shape[0], img.shape[1] * img.shape[2]), np.float32)
    cv2.setRNGSeed(seed)
    cv2.randn(noise, 0, 1)
    noise = noise.reshape(img.shape)
    deviation = (read_noise + shot_noise * np.sqrt(np.arange(256) / 255.0)).astype(np.float32)
    return cv2.add(img, cv2.multiply(noise, cv2.LUT(img, deviation)), dtype=cv2.CV_8U)


class Noise(_Effect):
    """Sensor noise: a constant part and one that grows with the light."""

    def draw(self, rng):
        return {"read": rng.uniform(1, 6), "shot": rng.uniform(0, 12)}

    def apply(self, img, drawn, seed, **params):
        return add_noise(img, drawn["read"], drawn["shot"], seed)


class Compression(_Effect):
    """A weak video link: lower resolution and coarse blocks."""

    def draw(self, rng):
        return {"quality": int(rng.integers(12, 50)), "scale": float(rng.choice([1.0, 1.0, 0.75, 0.6]))}

    def apply(self, img, drawn, **params):
        height, width = img.shape[:2]
        small = img
        if drawn["scale"] < 1:
            size = (max(round(width * drawn["scale"]), 1), max(round(height * drawn["scale"]), 1))
            small = cv2.resize(img, size, interpolation=cv2.INTER_AREA)
        ok, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, drawn["quality"]])
        assert ok, "encoding a uint8 picture in memory cannot fail"
        small = cv2.imdecode(data, cv2.IMREAD_COLOR)
        return small if small.shape == img.shape else cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


class MotionBlur(_Effect):
    """A camera that pans, pitches or shakes: a straight blur, mostly sideways or up and down."""

    def draw(self, rng):
        angle = rng.choice([0.0, 90.0]) + rng.normal(0, 12)
        return {"length": int(rng.integers(3, 10)), "angle": float(angle)}

    def apply(self, img, drawn, **params):
        length = drawn["length"] | 1
        kernel = np.zeros((length, length), np.float32)
        middle, half = length // 2, length / 2
        dx, dy = half * np.cos(np.radians(drawn["angle"])), half * np.sin(np.radians(drawn["angle"]))
        ends = [(round(middle - dx), round(middle - dy)), (round(middle + dx), round(middle + dy))]
        cv2.line(kernel, *ends, 1.0)
        return cv2.filter2D(img, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


#: Effects of light and weather (at most one per picture) and of the camera (each on its own), by their switch.
WEATHER = {"fog": Fog, "glare": Glare, "rain": Rain, "low_light": LowLight}
CAMERA = {"motion_blur": MotionBlur, "noise": Noise, "compression": Compression}


class MaritimeEffects:
    """The effects that are switched on, each with probability ``config.probability``.

    Args:
        config: the switches.
    """

    def __init__(self, config: AugmentConfig):
        weather = [effect(p=1.0) for name, effect in WEATHER.items() if getattr(config, name)]
        camera = [effect(p=config.probability) for name, effect in CAMERA.items() if getattr(config, name)]
        steps = [A.OneOf(weather, p=min(config.probability * len(weather), 1.0))] if weather else []
        self.pipeline = A.Compose([*steps, *camera]) if config.probability > 0 and (weather or camera) else None

    def __call__(self, picture: np.ndarray, horizon: float, seed: int) -> np.ndarray:
        """uint8 [H, W, 3] BGR of the same size; the same seed gives the same picture.

        Args:
            picture: uint8 [H, W, 3] BGR.
            horizon: share of the picture height.
            seed: of everything random.
        """
        if self.pipeline is None:
            return picture
        self.pipeline.set_random_seed(seed)
        return self.pipeline(image=picture, horizon=horizon)["image"]
