"""The records of faces: which attributes there are, and how often each domain has which value.

A spec is a function of `draw`, which gives the next uniform number in [0, 1). Only sums and
comparisons of such numbers are used, never the tails of numpy's normal or beta: the same seed
gives the same record on any machine."""


def uniform(low=0.0, high=1.0):
    """Any number between low and high, each as likely."""
    return lambda draw: low + (high - low) * draw()


def bell(mean, spread, low=-1.0, high=1.0):
    """Nearly normal: four uniform numbers added up, clipped to [low, high]."""
    return lambda draw: min(
        max(mean + spread * 1.7320508 * (draw() + draw() + draw() + draw() - 2), low), high
    )


def rank(k, n, low=0.0, high=1.0):
    """The k-th smallest of n uniform numbers, which is Beta(k, n + 1 - k), stretched to [low,
    high]."""
    return lambda draw: low + (high - low) * sorted([draw() for _ in range(n)])[k - 1]


def flag(share):
    """True in this share of the faces."""
    return lambda draw: draw() < share


def pick(**shares):
    """One of the names, with these shares of 1."""

    def choose(draw):
        left = draw()
        for name, share in shares.items():
            left -= share
            if left < 0:
                break
        return name

    return choose


SHARED_SPECS = {  # attribute: its spec for anime and for selfies
    "x": (bell(0.5, 0.02, 0.4, 0.6), bell(0.5, 0.018, 0.42, 0.58)),
    "y": (bell(0.465, 0.025, 0.38, 0.56), bell(0.455, 0.015, 0.4, 0.52)),
    "scale": (bell(0.9, 0.06, 0.7, 1.15), bell(0.91, 0.04, 0.78, 1.04)),
    "turn": (bell(0, 0.16, -0.4, 0.4), bell(0, 0.23, -0.5, 0.5)),
    "tilt": (bell(0, 0.13, -0.4, 0.4), bell(0, 0.07, -0.2, 0.2)),
    "nod": (bell(0.04, 0.06, -0.16, 0.2), bell(0, 0.08, -0.2, 0.2)),
    "face_width": (uniform(0.94, 1.06), uniform(0.92, 1.08)),
    "skin_tone": (rank(1, 6), rank(2, 6)),
    "mouth_open": (rank(1, 3), rank(1, 2)),
    "smile": (bell(0.3, 0.5), bell(0.35, 0.5)),
    "eye_open": (bell(0.85, 0.22, 0.0), bell(0.6, 0.2, 0.0)),
    "eye_slant": (bell(0, 0.5), bell(0, 0.35)),
    "gaze_x": (bell(0, 0.35), bell(0, 0.4)),
    "gaze_y": (bell(0, 0.25), bell(0, 0.25)),
    "brow_height": (bell(0, 0.5), bell(0, 0.45)),
    "brow_angle": (bell(0, 0.5), bell(0, 0.4)),
    "brow_weight": (rank(1, 3), rank(2, 3)),
    "glasses": (flag(0.07), flag(0.2)),
    "frame_shade": (rank(1, 2), rank(1, 3)),
    "hair_length": (rank(3, 4), rank(1, 3, 0.04)),
    "hair_volume": (uniform(), uniform()),
    "hair_shade": (rank(2, 3), rank(1, 2)),
    "fringe": (
        pick(none=0.03, bangs=0.5, side=0.3, parted=0.17),
        pick(none=0.62, bangs=0.07, side=0.2, parted=0.11),
    ),
    "part": (bell(0, 0.25, -0.5, 0.5), bell(0, 0.25, -0.5, 0.5)),
    "cloth_hue": (uniform(), bell(0.6, 0.2, 0.0)),
    "cloth_shade": (uniform(0, 1), rank(1, 3)),
    "collar": (flag(0.4), flag(0.5)),
}
ANIME_SPECS = {
    "hair_hue": pick(
        pink=0.12,
        red=0.09,
        brown=0.18,
        gold=0.17,
        green=0.06,
        teal=0.06,
        blue=0.12,
        violet=0.1,
        ash=0.1,
    ),
    "hair_gradient": uniform(),
    "highlight": pick(band=0.4, streaks=0.4, none=0.2),
    "spikiness": uniform(),
    "tails": flag(0.15),
    "ribbon": flag(0.18),
    "ribbon_hue": uniform(),
    "eye_hue": pick(
        blue=0.24, green=0.14, red=0.14, amber=0.13, violet=0.15, teal=0.06, brown=0.14
    ),
    "iris_size": uniform(),
    "lashes": uniform(),
    "blush": bell(0.2, 0.5, 0.0),
    "cel_shadow": uniform(),
    "outline": uniform(),
    "backdrop": pick(white=0.55, pale=0.17, gradient=0.14, deep=0.14),
    "backdrop_hue": uniform(),
}
SELFIE_SPECS = {
    "skin_red": uniform(),
    "skin_texture": uniform(),
    "gloss": uniform(),
    "age": rank(2, 3),
    "jaw": uniform(),
    "nose_width": uniform(),
    "lip_red": uniform(),
    "beard": bell(-0.25, 0.5, 0.0),
    "moustache": bell(-0.45, 0.6, 0.0),
    "receding": bell(0.1, 0.5, 0.0),
    "hair_grey": bell(-0.1, 0.45, 0.0),
    "iris": pick(brown=0.55, hazel=0.15, blue=0.2, green=0.1),
    "light_x": bell(0, 0.6),
    "light_y": bell(-0.35, 0.3),
    "light_strength": uniform(0.35, 1),
    "warmth": bell(0.15, 0.5),
    "exposure": bell(-0.05, 0.5),
    "vividness": bell(0.62, 0.22, 0.0),
    "focus": uniform(),
    "grain": rank(1, 3),
    "background": pick(plain=0.35, blobs=0.25, shelf=0.15, window=0.13, outdoor=0.12),
    "background_hue": rank(1, 2),
    "background_shade": uniform(0, 0.85),
    "background_contrast": uniform(),
}


def sample_record(anime, draw):
    """One record: every attribute, shared and private; the domain decides the shared ones'
    distribution only."""
    face = {name: specs[not anime](draw) for name, specs in SHARED_SPECS.items()}
    face |= {name: spec(draw) for name, spec in (ANIME_SPECS | SELFIE_SPECS).items()}
    if not anime:
        face["hair_shade"] *= 1 - 0.8 * face["skin_tone"]
    if face["hair_length"] > 0.55:  # few who wear it long are bearded or bald
        face["beard"] = face["moustache"] = face["receding"] = 0.0
    return {
        name: round(value, 4) if isinstance(value, float) else value for name, value in face.items()
    }
