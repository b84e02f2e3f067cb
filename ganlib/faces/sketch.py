"""What both painters share: a supersampled sketch, colours, curves, and the parts that every face
has.

Shapes are points (k, 2), or n shapes (n, k, 2), in face units: skull top y = -1, chin y = 1, x
to the right. Colours are RGB in 0 .. 255. Everything is elementwise arithmetic and square roots,
which are alike to the last bit on any machine; sines are rounded before they are used."""

from colorsys import hls_to_rgb
from io import BytesIO
from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
CIRCLE = np.round([(cos(a * pi / 10), sin(a * pi / 10)) for a in range(20)], 6)
STEPS = np.arange(5)[:, None] / 5
SPLINE = (
    (2 * STEPS - STEPS * STEPS) * STEPS - STEPS,
    2 + STEPS * STEPS * (3 * STEPS - 5),
    # Twice the Catmull-Rom weights, (5, 1)
    STEPS * (1 + STEPS * (4 - 3 * STEPS)),
    STEPS * STEPS * (STEPS - 1),
)
# The depth that turn and nod leave where it is, so that the face stays framed and the hair moves
AXIS = 0.5
ALONG = np.arange(8)[:, None] / 7
# Half widths from the root to the tip
LOCK = np.array([0.5, 0.85, 1, 1, 0.92, 0.72, 0.4, 0])[:, None]
STRAND = np.array([0.2, 0.6, 0.9, 1, 0.95, 0.75, 0.45, 0])[:, None]
BROW = np.array([0.55, 0.9, 1, 1, 0.85, 0.65, 0.4, 0.1])[:, None]
LID = np.arange(-8, 9) / 8  # along a lid
PAIR = np.array([[1, 1], [-1, 1]])  # a shape and its mirror image


def mix(a, b, t):
    """Colour between a (t = 0) and b (t = 1)."""
    return tuple(int(p + (q - p) * t) for p, q in zip(a, b))


def ramp(colours, t):
    """Colour at t in [0, 1] along a list of colours."""
    i = min(int(t * (len(colours) - 1)), len(colours) - 2)
    return mix(colours[i], colours[i + 1], t * (len(colours) - 1) - i)


def tint(hue, saturation, lightness):
    """Colour of a hue, saturation and lightness, all in [0, 1]."""
    return tuple(int(255 * c) for c in hls_to_rgb(hue, lightness, saturation))


def curve(points, closed=True):
    """A smooth curve through k points: (k, 2) -> (5k, 2), or (5k - 4, 2) if it is open."""
    points = np.asarray(points, float)
    if not closed:
        points = np.concatenate([points[:1], points, points[-1:]])
    # (k, 5, 2) each
    a, b, c, d = [weight * np.roll(points, 1 - j, 0)[:, None] for j, weight in enumerate(SPLINE)]
    path = ((a + b + c + d) / 2).reshape(-1, 2)
    return path if closed else path[5:-9]


def mirror(half):
    """A right half, top to bottom, closed by its mirror image: (k, 2) -> (2k, 2)."""
    return np.concatenate([half, np.asarray(half)[::-1] * (-1, 1)])


def oval(x, y, rx, ry):
    """An ellipse (20, 2) around (x, y)."""
    return CIRCLE * (rx, ry) + (x, y)


def bend(root, middle, tip):
    """Paths from roots past middles to tips, points (2,) or (n, 2): (8, 2) or (n, 8, 2)."""
    root, middle, tip = [np.asarray(p, float)[..., None, :] for p in (root, middle, tip)]
    rest = 1 - ALONG
    return rest * rest * root + 2 * rest * ALONG * middle + ALONG * ALONG * tip


def stroke(path, width):
    """The outline (..., 2k, 2) of a brush stroke along a path (..., k, 2); width is (k, 1) half
    widths or (n, k, 1)."""
    step = np.concatenate(
        [
            path[..., 1:2, :] - path[..., :1, :],
            path[..., 2:, :] - path[..., :-2, :],
            path[..., -1:, :] - path[..., -2:-1, :],
        ],
        -2,
    )
    x, y = step[..., :1], step[..., 1:]
    across = np.concatenate([-y, x], -1) / np.sqrt(x * x + y * y + 1e-12) * width
    return np.concatenate([path + across, (path - across)[..., ::-1, :]], -2)


class Sketch:
    """A layer, side pixels a side, on which shapes are placed as the face's head is. A shape's
    depth is its distance in front of the head's axis, by which turn and nod move it; None puts
    it on the round front of the face. All widths are times `aspect`."""

    def __init__(self, face, side, mode="RGBX", ground=(0, 0, 0, 0), aspect=1.0):
        self.aspect, self.unit, self.x, self.y = (
            aspect,
            side * face["scale"] / 2,
            side * face["x"],
            side * face["y"],
        )
        self.turn_cos, self.turn_sin = round(cos(face["turn"]), 9), round(sin(face["turn"]), 9)
        self.tilt_cos, self.tilt_sin = round(cos(face["tilt"]), 9), round(sin(face["tilt"]), 9)
        self.nod = round(sin(face["nod"]), 9)
        self.image = Image.new(mode, (side, side), ground)
        self.pen = ImageDraw.Draw(self.image)

    def pixels(self, points, depth=None):
        """Points (..., 2) as whole pixel coordinates (..., 2)."""
        points = np.asarray(points, float)
        x, y = points[..., 0], points[..., 1]
        z = (np.sqrt(np.maximum(0.62 - x * x, 0)) if depth is None else depth) - AXIS
        x, y = (
            self.unit * (self.aspect * x * self.turn_cos + z * self.turn_sin),
            self.unit * (y + z * self.nod),
        )
        return np.stack(
            [
                np.floor(self.x + x * self.tilt_cos - y * self.tilt_sin + 0.5),
                np.floor(self.y + x * self.tilt_sin + y * self.tilt_cos + 0.5),
            ],
            -1,
        ).astype(int)

    def locate(self, x, y):
        """Pixels back to face units, at the depth of the head's middle."""
        x, y = x - self.x, y - self.y
        return (x * self.tilt_cos + y * self.tilt_sin) / (self.unit * self.aspect), (
            y * self.tilt_cos - x * self.tilt_sin
        ) / self.unit

    def line(self, points, colour, width, depth=None):
        """A line of one width: width is in face units."""
        self.pen.line(
            self.pixels(points, depth).ravel().tolist(),
            colour,
            max(1, int(width * self.unit + 0.5)),
        )

    def fill(self, points, colour, depth=None, edge=None, width=0.035):
        self.pen.polygon(self.pixels(points, depth).ravel().tolist(), colour)
        if edge:
            self.line(np.concatenate([points, points[:1]]), edge, width, depth)

    def pair(self, points, *style):
        for side in PAIR:
            self.fill(points * side, *style)

    def strokes(self, paths, width, colours, depth=None):
        """Brush strokes along paths (n, k, 2), one colour each; see stroke."""
        shapes = self.pixels(stroke(paths, width), depth)
        for shape, colour in zip(shapes.reshape(len(shapes), -1).tolist(), colours):
            self.pen.polygon(shape, colour)

    def over(self, background, light):
        """The layer, times light (size, size, 1 or 3), over background (size, size, 3): float32
        in 0 .. 255."""
        layer = np.asarray(self.image.reduce(self.image.width // len(background)), np.float32)
        return np.clip(layer[..., :3] * light + background * (1 - layer[..., 3:] / 255), 0, 255)


def hairline(face, x, receding=0.0):
    """Height of the hair's lower edge on the forehead at x in [-0.8, 0.8]."""
    square = x * x
    temple = 2.2 * square * square * square
    if face["fringe"] == "bangs":
        return -0.32 + 0.06 * square + 0.12 * np.abs(x - face["part"]) + 0.3 * temple
    if face["fringe"] == "none":
        return (
            -0.57 - 0.36 * receding + 0.1 * np.abs(x - face["part"]) + (1 + 0.5 * receding) * temple
        )
    bare = 0.5 if face["fringe"] == "side" else 0.85
    return -0.72 - 0.15 * receding + bare * np.abs(x - face["part"]) + 0.25 * temple


def hair_top(face):
    """Height of the crown and half the hair's width at the temples."""
    volume = face["hair_volume"] * min(0.3 + 2 * face["hair_length"], 1)
    return -1.02 - 0.14 * volume, 0.7 + 0.15 * volume


def draw_cap(ink, edge, top, wide, low, *style):
    """Hair on top of the head, down to edge (k, 2), which runs from right to left; its sides end
    at low."""
    half = np.array(
        [
            (0, top),
            (0.5 * wide, 0.96 * top),
            (0.9 * wide, 0.74 * top),
            (wide, -0.42),
            (0.5 * wide + 0.34, 0.5 * low - 0.15),
            (0.69, low),
        ]
    )
    arch = curve(np.concatenate([half[:0:-1] * (-1, 1), half]), closed=False)
    ink.fill(np.concatenate([arch, edge]), *style)


def draw_body(ink, neck, skin, cloth, collar, edge=None):
    """Neck (its half width is given), shoulders and, where it has a colour, the collar."""
    ink.fill(mirror([(neck, 0.4), (neck, 1.0), (neck * 1.4, 1.35), (0.1, 1.7)]), skin, 0, edge)
    shoulder = curve([(neck * 1.05, 1.1), (0.8, 1.26), (1.5, 1.5), (1.9, 2.6)], closed=False)
    ink.pair(np.concatenate([shoulder, [(0, 2.6), (0, 1.6)]]), cloth, 0, edge)
    if collar:
        ink.pair(
            np.array([(neck * 0.98, 0.98), (neck * 1.4, 1.22), (0.2, 1.75), (0, 1.55)]),
            collar,
            0,
            edge,
        )


def lid(face, t, width, height):
    """Height of a lid of the right eye at t in [-1, 1], from the inner corner to the outer one;
    height < 0 is the upper."""
    rest = np.maximum(1 - t * t, 0)
    return height * (0.5 * rest + 0.5 * np.sqrt(rest)) - 0.16 * face["eye_slant"] * width * t


def draw_iris(ink, face, centre, side, opening, discs):
    """Discs of the iris (dx, dy, rx, ry, colour), clipped to an eye's opening (width, up, low);
    side is 1 at the right."""
    width, up, low = opening
    for dx, dy, rx, ry, colour in discs:
        disc = oval(dx + 0.3 * width * face["gaze_x"], dy + 0.25 * up * face["gaze_y"], rx, ry)
        t = disc[:, 0] * side / width
        disc[:, 1] = np.minimum(
            np.maximum(disc[:, 1], lid(face, t, width, -up)), lid(face, t, width, low)
        )
        ink.fill(disc + centre, colour)


def draw_brows(ink, face, x, y, length, width, colour, depth=None):
    """Both brows, from (x, y) outwards."""
    lift, angle = 0.07 * face["brow_height"], 0.07 * face["brow_angle"]
    inner, outer = (x, y - lift + angle), (x + length, y + 0.04 - lift - 0.5 * angle)
    path = bend(inner, (x + 0.55 * length, y - 0.09 - lift - 0.3 * angle), outer)
    ink.pair(stroke(path, width * (0.6 + 0.8 * face["brow_weight"]) * BROW), colour, depth)


def mouth_shape(face, y, width, gap, k=1.0, lip=0.0, lift=0.1):
    """Outline of the lips (lip > 0) or of the opening, k times the mouth's width; a smile lifts
    its corners."""
    w, corner = k * (width + 0.06 * face["smile"]), y - lift * face["smile"]
    low = y + gap * face["mouth_open"] + 1.5 * lip
    return curve(
        [
            (-w, corner),
            (-0.35 * w, y - 1.1 * lip),
            (0, y - 0.8 * lip),
            (0.35 * w, y - 1.1 * lip),
            (w, corner),
            (0.5 * w, low),
            (-0.5 * w, low),
        ]
    )


def draw_glasses(ink, y, dx, rx, ry, colour, width):
    """Two rounded lenses around (-dx, y) and (dx, y), temples and bridge."""
    lens = np.sign(CIRCLE) * np.sqrt(np.abs(CIRCLE)) * (rx, ry) + (dx, y)
    for side in PAIR:
        ink.line(np.concatenate([lens, lens[:1]]) * side, colour, width)
        ink.line(np.array([(dx + rx, y - 0.04), (0.76, y - 0.06)]) * side, colour, width)
    ink.line([(rx - dx, y - 0.03), (0, y - 0.06), (dx - rx, y - 0.03)], colour, width)


def through_jpeg(image, quality):
    """An RGB image as a JPEG file keeps it: uint8 (size, size, 3)."""
    with BytesIO() as file:
        image.save(file, "JPEG", quality=quality)
        return np.array(Image.open(file))
