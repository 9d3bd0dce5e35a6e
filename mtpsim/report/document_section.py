"""The base class of the result document and of its sections."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import dataclass_transform


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
class DocumentSection:
    """The base class of a document and its sections: subclasses are dataclasses of keywords."""

    def __init_subclass__(cls) -> None:
        dataclass(kw_only=True)(cls)
