"""What both painters share: a supersampled sketch, colours, curves, and the parts that every face has.

Shapes are points (k, 2) in face units: skull top y = -1, chin y = 1, x to the right. Colours are RGB in 0 .. 255.
"""

from colorsys import hls_to_rgb
from functools import lru_cache
from math import cos, hypot, pi, sin

import numpy as np
from PIL import Image, ImageDraw

SUPERSAMPLE = 3
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
CIRCLE = np.stack([wave(np.linspace(0, 2 * pi, 20, endpoint=False)) for wave in (np.cos, np.sin)], 1)
LEAF_SPINE = np.concatenate([np.linspace(0, 1, 7), np.linspace(1, 0, 7)])    # along a leaf and back
LEAF_BOW = 4 * LEAF_SPINE * (1 - LEAF_SPINE)
LEAF_WIDTH = np.sin(pi * (0.25 + 0.75 * LEAF_SPINE)) * np.repeat([-1, 1], 7)
LID = np.stack([np.linspace(-1, 1, 9), np.sqrt(1 - np.linspace(-1, 1, 9)**2)], 1)    # half a circle
PAIR = np.array([[1, 1], [-1, 1]])    # a shape and its mirror image


def mix(a, b, t):
    """Colour between a (t = 0) and b (t = 1)."""
    return tuple(int(p + (q - p) * t) for p, q in zip(a, b))


def ramp(colours, t):
    """Colour at t in [0, 1] along a list of colours."""
    i = min(int(t * (len(colours) - 1)), len(colours) - 2)
    return mix(colours[i], colours[i + 1], t * (len(colours) - 1) - i)


def tint(hue_saturation, lightness):
    """Colour of a (hue, saturation) at a lightness, all in [0, 1]."""
    return tuple(int(255 * c) for c in hls_to_rgb(hue_saturation[0], lightness, hue_saturation[1]))


@lru_cache(maxsize=None)
def spline(n):
    """(5n, n) weights that turn n points into their closed Catmull-Rom curve."""
    t = np.arange(5)[:, None, None] / 5
    basis = -t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2
    rows = sum(b / 2 * np.roll(np.eye(n), j - 1, 1) for j, b in enumerate(basis))    # (5, n, n)
    return rows.transpose(1, 0, 2).reshape(5 * n, n)


def curve(points, closed=True):
    """A smooth curve through k points: (k, 2) -> (5k, 2), or (5k - 4, 2) if it is open."""
    if closed:
        return spline(len(points)) @ points
    return (spline(len(points) + 2) @ np.concatenate([points[:1], points, points[-1:]]))[5:-9]


def mirror(half):
    """A right half, top to bottom, closed by its mirror image: (k, 2) -> (2k, 2)."""
    return np.concatenate([half, np.asarray(half)[::-1] * (-1, 1)])


def oval(x, y, rx, ry):
    """An ellipse (20, 2) around (x, y)."""
    return CIRCLE * (rx, ry) + (x, y)


def leaf(root, tip, width, bend=0.0):
    """A lock of hair or a brow (14, 2): from a broad root to a pointed tip, bowed by bend."""
    (x, y), (dx, dy) = root, (tip[0] - root[0], tip[1] - root[1])
    across = (LEAF_BOW * bend + LEAF_WIDTH * width) / hypot(dx, dy)
    return np.stack([x + LEAF_SPINE * dx - across * dy, y + LEAF_SPINE * dy + across * dx], 1)


class Sketch:
    """A transparent layer, size * supersample pixels a side, on which shapes are placed as the face's head is.
    A shape's depth is its distance in front of the head's axis, which the head's turn moves sideways;
    None puts it on the round front of the face."""

    def __init__(self, face, size, supersample=SUPERSAMPLE, mode="RGBX", ground=(0, 0, 0, 0)):
        side = size * supersample
        self.unit = side * face["scale"] / 2
        self.cos, self.sin = cos(face["turn"]), sin(face["turn"])
        c, s = self.unit * cos(face["tilt"]), self.unit * sin(face["tilt"])
        self.axes = np.array([[c, s], [-s, c]])
        self.origin = side * np.array([0.5 + face["x"], 0.5 + face["y"]])
        self.image = Image.new(mode, (side, side), ground)
        self.pen = ImageDraw.Draw(self.image)

    def pixels(self, points, depth):
        """Points (k, 2) as a list [x, y, x, y, ...] of 2k pixel coordinates."""
        points = np.array(points, float)
        x = points[:, 0]
        points[:, 0] = x * self.cos + (np.sqrt(np.maximum(0.62 - x * x, 0)) if depth is None else depth) * self.sin
        return (points @ self.axes + self.origin).ravel().tolist()

    def line(self, points, colour, width, depth=None):
        self.pen.line(self.pixels(points, depth), colour, max(1, round(width * self.unit)))

    def fill(self, points, colour, depth=None, edge=None, width=0.035):
        self.pen.polygon(self.pixels(points, depth), colour)
        if edge:
            self.line(np.concatenate([points, points[:1]]), edge, width, depth)

    def pair(self, points, *style):
        for side in PAIR:
            self.fill(points * side, *style)

    def over(self, background, light=1):
        """The layer, times light (size, size, 1), over background (size, size, 3): float in 0 .. 255."""
        layer = np.asarray(self.image.reduce(SUPERSAMPLE), np.float32)    # X is coverage, RGB is premultiplied
        return np.clip(layer[..., :3] * light + background * (1 - layer[..., 3:] / 255), 0, 255)


def hairline(face, x):
    """Height of the hair's lower edge on the forehead at x in [-0.8, 0.8]."""
    temple = 0.5 * (x / 0.78) ** 6
    if face["fringe"] == "bangs":
        return -0.3 + 0.06 * x**2 + 0.4 * temple
    if face["fringe"] == "none":
        return -0.64 + 0.08 * x**2 + temple
    return -0.7 + 0.55 * np.abs(x - face["part"]) + 0.3 * temple


def hair_cap(ink, edge, wide, top, *style):
    """Hair on top of the head, down to edge (k, 2), which runs from right to left."""
    half = np.array([(0, top), (0.6 * wide, 0.9 * top), (wide, -0.45), (wide - 0.03, 0)])
    arch = curve(np.concatenate([half[:0:-1] * (-1, 1), half]), closed=False)
    ink.fill(np.concatenate([arch, edge]), *style)


def draw_body(ink, neck, skin, cloth, collar, edge=None):
    """Neck (its half width is given), shoulders and collar."""
    ink.fill(mirror([(neck, 0.4), (neck, 1.05), (neck * 1.5, 1.4), (0.1, 1.8)]), skin, 0, edge)
    shoulder = curve([(neck * 1.1, 1.12), (0.75, 1.28), (1.35, 1.5), (1.7, 2.6)], closed=False)
    ink.pair(np.concatenate([shoulder, [(0, 2.6), (0, 1.62)]]), cloth, 0, edge)
    ink.pair(np.array([(neck, 1.05), (neck * 1.35, 1.3), (0.12, 1.72), (0, 1.6)]), collar, 0, edge)


def draw_eyes(ink, face, x, y, width, up, low, discs, white, lash, lash_width):
    """Both eyes: white, discs of the iris (dx, dy, rx, ry, colour) clipped to the opening, lashes."""
    upper, lower = LID * (width, -up), LID * (width, low)
    shapes = [(np.concatenate([upper, lower[::-1]]), white)]
    for dx, dy, rx, ry, colour in discs:
        disc = oval(dx + 0.25 * width * face["gaze_x"], dy + 0.2 * up * face["gaze_y"], rx, ry)
        arc = np.sqrt(np.maximum(1 - (disc[:, 0] / width) ** 2, 0))
        disc[:, 1] = np.clip(disc[:, 1], -up * arc, low * arc)
        shapes.append((disc, colour))
    for centre in ((-x, y), (x, y)):
        for points, colour in shapes:
            ink.fill(points + centre, colour)
        ink.line(lower + centre, mix(white, lash, 0.5), lash_width * 0.5)
        ink.line(upper + centre, lash, lash_width)
        ink.line(upper[1:-1] + (centre[0], y - lash_width * 1.3), mix(white, lash, 0.55), lash_width * 0.4)


def draw_brows(ink, face, x, y, length, width, colour):
    """Both brows, from (x, y) outwards."""
    lift, angle = 0.04 * face["brow_height"], 0.06 * face["brow_angle"]
    ink.pair(leaf((x, y - lift + angle), (x + length, y + 0.03 - lift - 0.6 * angle), width, -0.06), colour)


def mouth_shape(face, y, width, gap, k=1.0, lip=0.0):
    """Outline of the lips (lip > 0) or of the opening, k times the mouth's width."""
    w, corner = k * (width + 0.05 * face["smile"]), y - 0.08 * face["smile"]
    low = y + gap * face["mouth_open"] + 1.6 * lip
    return curve([(-w, corner), (0, y - lip), (w, corner), (0.5 * w, low), (-0.5 * w, low)])


def draw_glasses(ink, y, dx, rx, ry, colour):
    """Two rounded lenses around (-dx, y) and (dx, y), temples and bridge."""
    lens = np.sign(CIRCLE) * np.sqrt(np.abs(CIRCLE)) * (rx, ry) + (dx, y)
    for side in PAIR:
        ink.line(np.concatenate([lens, lens[:1]]) * side, colour, 0.035)
        ink.line(np.array([(dx + rx, y - 0.04), (0.76, y - 0.06)]) * side, colour, 0.035)
    ink.line([(rx - dx, y - 0.03), (0, y - 0.06), (dx - rx, y - 0.03)], colour, 0.035)
