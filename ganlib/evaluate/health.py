"""What can go wrong in a training while every loss looks alive, found in its history and said in
plain words with the fix."""

import numpy as np
import pandas as pd

# A discriminator's loss below which little is left to learn from it; 0.25 where it cannot tell
WON = 0.05
LONG, LEAST = 0.1, 50  # "for long": this share of the planned steps, and at least so many
# Fakes that differ from each other by less than this share of what real images do: about one mode
VARIETY = 0.3
CLIMB = 1.25  # the cycle loss against its lowest so far
# Correlation of the pixels of fakes with those of their inputs below which a model inverts
INVERTED = -0.3
# Content distance to the input (1 for strangers) below the one, KID above the other of untranslated
# images
COPY = 0.5, 0.8


def find_warnings(history, steps, untranslated=None, inverted=None):
    """Plain sentences on what is wrong at the end of a history (the table of a Run, as far as it
    has come): {kind: sentence}. steps: those planned, which say what "long" is. untranslated,
    inverted: Judge.untranslated and .inverted of the same images."""
    train, val = [history[history.split == split] for split in ("train", "val")]
    long = max(LEAST, round(LONG * steps))
    found = {}
    # Of a long training not every step has one
    rows = max(1, round(long * len(train) / train.step.max())) if len(train) else 1
    if len(train) >= 2 * rows and train.step.max() >= 2 * long:
        recent = train.tail(rows)
        for side in "ab":
            if (loss := recent[f"d_{side}"].mean()) < WON:
                found[f"d_{side} wins"] = (
                    f"discriminator {side.upper()} has been winning for {long} steps (loss "
                    f"{loss:.3f}; 0.25 is a draw), so its generator learns little: try a lower "
                    "lr_d, fewer d_layers, a larger pool_size, or more training images"
                )
        # Without a weight the cycle loss is not computed.
        cycle = train.get("cycle", pd.Series(np.nan, train.index))
        means = cycle.rolling(rows).mean()
        if means.iloc[-1] > CLIMB * means.min():
            found["cycle climbs"] = (
                f"the cycle loss climbs: {means.iloc[-1]:.2f} over the last {long} steps, it has "
                f"been {means.min():.2f}; content gets lost on the way: try a lower lr_g or a "
                "higher lambda_cycle"
            )
    # At the start all outputs are alike
    if len(val) and "variety_a" in val and val.iloc[-1].step >= max(LEAST, steps / 2):
        last = val.iloc[-1]
        for side in "ab":
            if last[f"variety_{side}"] < VARIETY:
                found[f"fake_{side} alike"] = (
                    f"outputs lose their variety: fake_{side} images differ from each other "
                    f"{last[f'variety_{side}']:.0%} as much as real ones do (mode collapse): try a "
                    "larger pool_size, a lower lr_d, a higher lambda_cycle, or an earlier "
                    "checkpoint"
                )
        for way, side in (("ab", "b"), ("ba", "a")):
            unlike = (untranslated or {}).get(f"kid_{side}", np.inf)
            if last[f"content_{way}"] < COPY[0] and last.get(f"kid_{side}", 0) > COPY[1] * unlike:
                found[f"{way} copies"] = (
                    f"g_{way} only copies its input (content distance "
                    f"{last[f'content_{way}']:.2f}, of 1 for two strangers), and fake_{side} looks "
                    "as little like its domain as untranslated images: try a lower lambda_idt, a "
                    "lower lambda_cycle, or more steps"
                )
    if len(val) and val.iloc[-1].step >= max(LEAST, steps / 2):
        found |= warn_of_inverting(val.iloc[-1], untranslated or {}, inverted or {})
    return found


def warn_of_inverting(last, untranslated, inverted):
    """find_warnings' sentences on generators whose fakes are negatives of their inputs, unless the
    domain is nearer to their negatives than to themselves (of photographs and negatives,
    inverting is the translation). last: of the validations."""
    found = {}
    for way, side in (("ab", "b"), ("ba", "a")):
        expected = inverted.get(f"kid_{side}", np.inf) < untranslated.get(f"kid_{side}", -np.inf)
        if last.get(f"correlation_{way}", 0) < INVERTED and not expected:
            found[f"{way} inverts"] = (
                f"g_{way} inverts its input: dark becomes bright, as in a photographic negative "
                f"(correlation of the pixels of fake_{side} with its input "
                f"{last[f'correlation_{way}']:.2f}; -1 for the negative), and real images of "
                f"{side.upper()} are not like that; the way back inverts again, so the cycle loss "
                "does not tell: try a higher lambda_idt, or another seed"
            )
    return found
