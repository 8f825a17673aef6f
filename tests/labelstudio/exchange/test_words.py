import pytest

from labelstudio.client.experts import SimulatedExpert
from labelstudio.reading import consensus


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: consensus.weights({}, [], rule="majorty", soft=False), "rule 'majorty'. Fix: write 'majority'"),
        (lambda: consensus.with_evidence({}, [], rule="dawid_skene"), "Fix: write 'dawid-skene', or choose one of"),
        (lambda: consensus.disregarded([], 4, 4, rule="most"), "Fix: choose one of majority, any, all, dawid-skene"),
        (lambda: SimulatedExpert(None, dict, marks="irrelevent"), "kind of marks .* Fix: write 'irrelevant'"),
    ],
)
def test_a_wrong_word_is_refused_with_the_nearest_word(call, message):
    with pytest.raises(ValueError, match=message):
        call()
