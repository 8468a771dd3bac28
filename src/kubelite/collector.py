"""Python's garbage collector, set for a process that keeps much and must answer at once.

Almost everything here is freed by counting references. What the collector is left with is rare, but a full pass of it
looks at everything that lives, and holds the loop for as long: with Python's own settings a third of all CPU, and a
quarter of a second at a time, while a thousand pods start.
"""

import gc

YOUNG = 1_000  # objects made before the youngest are looked at: about 0.3 ms
YOUNG_PASSES = 5  # ... before those that survived are: about 3 ms
MIDDLE_PASSES = 200  # ... before everything is


def pause() -> None:
    """Collect nothing from now on: what is made at the start stays."""
    gc.disable()


def resume() -> None:
    """Collect from now on, but never look again at what lives now."""
    gc.freeze()
    gc.set_threshold(YOUNG, YOUNG_PASSES, MIDDLE_PASSES)
    gc.enable()
