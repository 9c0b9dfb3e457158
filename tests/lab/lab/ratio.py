# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two ways to the same, done in turn and compared within one run: a ratio, never a time by itself.

What else the machine does only ever slows, and it meets both alike, but not every round of both. So the lower quartile of each is
compared. Where the first rounds do not show that the limit is kept, more are done: all count, the first ones too, and the note says how
many there were. What fails is a quarter beyond the limit: by then something broke, and not the machine was busy.
"""

import statistics

from . import isolation

isolation.require()

ROUNDS, ROUNDS_MAX = 15, 60
SLACK = 1.25


def _quick(samples):
    """The lower quartile: most of what else the machine did is not in it, nor one lucky round."""
    return statistics.quantiles(samples, n=4)[0]


def _words(samples):
    return f"{_quick(samples) * 1000:.1f} ms (median {statistics.median(samples) * 1000:.1f}, {min(samples) * 1000:.1f} to {max(samples) * 1000:.1f})"


def at_most(lab, limit, ours, theirs, what):
    """Calls OURS and THEIRS in turn, which return seconds; fails if the ratio is clearly more than LIMIT. WHAT names the two: "restart", "by hand"."""
    ours(), theirs()  # the first is for warm caches
    samples = [], []
    for number in range(1, ROUNDS_MAX + 1):
        samples[0].append(ours())
        samples[1].append(theirs())
        if number % ROUNDS:
            continue
        ratio = _quick(samples[0]) / _quick(samples[1])
        if ratio <= limit:
            break
    lab.note(f"{what[0]} {_words(samples[0])}, {what[1]} {_words(samples[1])}, ratio {ratio:.2f} of the lower quartiles of {number} rounds")
    assert ratio <= SLACK * limit, f"{ratio:.2f} is more than {limit}"
