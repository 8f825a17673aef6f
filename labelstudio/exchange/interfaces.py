"""The labelling interface with the reasons that experts may give for a mark, which `annotate.reasons` lists."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from labelstudio.exchange.records import AnnotationError
from labelstudio.exchange.regions import IMAGE, REASON

KEYS = "4567890"  # of reasons, in their order
PLACE = '    <Collapse bordered="false">'  # reasons stand before it in the interface


def with_reasons(interface: str, reasons: Sequence[str]) -> str:
    """Return the interface with these reasons, which an expert may give for the selected region by a key.

    Raises AnnotationError if there are more reasons than keys.
    """
    if not reasons:
        return interface
    if len(reasons) > len(KEYS):
        raise AnnotationError(
            f"the project would offer {len(reasons)} reasons, {', '.join(reasons)}, but there are {len(KEYS)} keys. "
            "Fix: shorten `annotate.reasons`; the reasons that the project offers already stay."
        )
    keys = zip(reasons, KEYS, strict=False)
    choices = "".join(f"<Choice value={quoteattr(reason)} hotkey={quoteattr(key)}/>" for reason, key in keys)
    how = 'perRegion="true" choice="single" layout="inline"'
    return interface.replace(PLACE, f'    <Choices name="{REASON}" toName="{IMAGE}" {how}>{choices}</Choices>\n{PLACE}')


def reasons_of(interface: str) -> list[str]:
    """Return the reasons that an interface offers."""
    try:
        found = ElementTree.fromstring(interface).iterfind(f".//Choices[@name='{REASON}']/Choice")
    except ElementTree.ParseError:
        return []
    return [choice.get("value", "") for choice in found]


def canonical(interface: str) -> str:
    """Return the same text for the same interface, however its XML is formatted; reasons do not count."""
    try:
        tree = ElementTree.fromstring(interface)
    except ElementTree.ParseError:
        return interface
    for parent in tree.iter():
        for tag in parent.findall(f"Choices[@name='{REASON}']"):
            parent.remove(tag)
    return ElementTree.canonicalize(ElementTree.tostring(tree, encoding="unicode"), strip_text=True)
