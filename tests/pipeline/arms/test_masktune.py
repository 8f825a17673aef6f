"""MaskTune: each training image is masked where the network looks most."""

import numpy as np

from pipeline.arms import masktune


def test_the_mask_is_where_the_saliency_exceeds_the_mean_by_two_deviations():
    saliency = np.zeros((10, 10), np.float32)
    saliency[2, 3] = 5.0
    saliency[4, 4] = -5.0
    entry = masktune._entry("00", "a", saliency)
    assert np.argwhere(entry.mask).tolist() == [[2, 3]]
    assert (entry.round, entry.image_id, entry.kind, entry.asked.any()) == ("00", "a", "judged", False)
