"""The conditional normal of a latent of one dimension."""

import numpy as np

from polyclinic.core.condition import conditional_normal


def test_a_latent_of_one_dimension_has_a_line_and_a_spread() -> None:
    rng = np.random.default_rng(0)
    code = rng.normal(size=(200, 1)).astype(np.float32)
    line, root = conditional_normal(code, 2 * code + rng.normal(size=(200, 1)), ridge=0.01)
    assert line.shape == (1, 2)
    assert root.shape == (1, 1)
    assert abs(line[0, 0] - 2) < 0.2
    assert abs(root[0, 0] - 1) < 0.2
