"""Damage as disks, editors and exports do it: bytes changed, cut out or put in; parts of documents replaced."""

import copy

from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def damaged(draw, content):
    """Return the content with a few changes; now and then anything at all."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.binary(max_size=60))
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(found)))
        end = min(start + draw(st.sampled_from([0, 1, 2, 4, 30, 10**9])), len(found))
        found[start:end] = draw(st.binary(max_size=8))
    return bytes(found)


@st.composite
def altered(draw, document):
    """Return the document, of dictionaries and lists, with one or two parts replaced, left out or renamed."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 2))):
        part = document
        while isinstance(part, (dict, list)) and part:
            key = draw(st.sampled_from(list(part)) if isinstance(part, dict) else st.integers(0, len(part) - 1))
            inner = part[key]
            if not isinstance(inner, (dict, list)) or not inner or draw(st.booleans()):
                change = draw(st.sampled_from(["replace", "replace", "drop", "rename"]))
                if change == "replace":
                    part[key] = draw(JSON | st.sampled_from([0, -1, 10**30, "", "x", [], {}]))
                elif change == "drop":
                    del part[key]
                elif isinstance(part, dict):
                    part[draw(st.text(max_size=6))] = part.pop(key)
                break
            part = inner
    return document
