"""The base class of every section of an experiment file: strict and immutable."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache, reduce
from importlib import import_module
from operator import or_
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationInfo,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, SchemaValidator, core_schema

from mtpsim.common.errors import FieldError


class Spec(BaseModel):
    """A section of the experiment file; unknown keys, NaN and type conversions are errors.

    Attributes:
        exclusive (tuple): Groups of keys of which only one can be given.
    """

    exclusive: ClassVar[tuple[tuple[str, ...], ...]] = ()

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True
    )

    @classmethod
    def conflicts(cls, given: Mapping[str, Any]) -> Iterator[FieldError]:
        """An error for each group of :attr:`exclusive` of which several keys are given."""
        for group in cls.exclusive:
            keys = [
                key for key in group if given.get(key) not in (None, []) and given[key] is not False
            ]
            if len(keys) > 1:
                yield FieldError(f"give only one of {', '.join(keys)}", key=keys[0])

    @model_validator(mode="after")
    def _refuse_conflicts(self) -> Self:
        for error in self.conflicts(vars(self)):
            raise error
        return self


Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Slowdown = Annotated[float, Field(ge=1e-3, le=1e3)]
NonNegative = Annotated[float, Field(ge=0)]
Depth = Annotated[int, Field(ge=1, le=64)]


class Deferred:
    """Metadata of an optional section that is imported and built when a file has it.

    To build all sections takes ten times as long as to read a file.

    Args:
        place (str): ``package.module.Class`` of the section within mtpsim.
    """

    def __init__(self, place: str) -> None:
        self._place = place

    def classes(self) -> Iterable[type[Spec]]:
        """The classes of the section."""
        module, _, name = self._place.rpartition(".")
        return (getattr(import_module(f"mtpsim.{module}"), name),)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> Any:
        return handler(self._whole())

    def _validate(self, value: Any, info: ValidationInfo) -> Any:
        if value is None:
            return None
        (kind,) = self.classes()
        kind.model_rebuild()
        return kind.__pydantic_validator__.validate_python(value, context=info.context)

    def _whole(self) -> CoreSchema:
        (kind,) = self.classes()
        return core_schema.nullable_schema(_schema_of(kind))


def _schema_of(kind: type[BaseModel]) -> CoreSchema:
    kind.model_rebuild()
    return kind.__pydantic_core_schema__


Section = TypeVar("Section", bound=Spec)


class Imported(Mapping[str, type[Section]]):
    """Classes by name, each imported when it is used.

    Args:
        package (str): Package that they are in.
        places (Mapping): ``module.Class`` within the package by name.
    """

    def __init__(self, package: str, places: Mapping[str, str]) -> None:
        self._package, self._places = package, places

    def __getitem__(self, name: str) -> type[Section]:
        module, _, kind = self._places[name].partition(".")
        found: type[Section] = getattr(import_module(f"{self._package}.{module}"), kind)
        return found

    def __call__(self, name: str) -> type[Section]:
        """A class by its own name: the ``__getattr__`` of the package.

        Raises:
            AttributeError: There is none.
        """
        for key, place in self._places.items():
            if place.rpartition(".")[2] == name:
                return self[key]
        raise AttributeError(f"module {self._package!r} has no attribute {name!r}")

    def including(self, **places: str) -> Self:
        """These classes and further ones of the package, ``module.Class`` by name."""
        return type(self)(self._package, {**self._places, **places})

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class Named(Deferred):
    """Metadata of a union of sections: only the class that a table names is built.

    Args:
        kinds (Mapping): Classes by name.
        default (str | None): Name if the key is absent; None if it is required.
        key (str): Key that selects the class of the table.
        names_alone (bool): Whether a name stands for a table with this key only.

    Attributes:
        by_key (bool): Whether every class has the key.
    """

    by_key = True

    def __init__(
        self,
        kinds: Mapping[str, type[Spec]],
        default: str | None = None,
        key: str = "model",
        names_alone: bool = False,
    ) -> None:
        self.kinds, self._default, self._key = kinds, default, key
        self._names_alone = names_alone
        self._validator = lru_cache(self._validator_of)

    def classes(self) -> Iterable[type[Spec]]:
        """All classes of the union."""
        return self.kinds.values()

    def _validate(self, value: Any, info: ValidationInfo) -> Any:
        if self._names_alone and isinstance(value, str):
            value = {self._key: value}
        name = self._name(value)
        if not isinstance(value, dict | BaseModel):
            name = None  # of no class: the error of the whole union
        elif name is None:
            allowed = list(self.kinds)
            raise FieldError("is missing", key=self._key, allowed=allowed, kind="missing")
        elif not isinstance(name, str) or name not in self.kinds:
            message = f"unknown {self._key} {name!r}"
            raise FieldError(message, key=self._key, given=name, allowed=list(self.kinds))
        return self._validator(name).validate_python(value, context=info.context)

    def _name(self, value: Any) -> Any:
        found = value.get(self._key) if isinstance(value, dict) else getattr(value, self._key, None)
        return self._default if found is None else found

    def _validator_of(self, name: str | None) -> SchemaValidator:
        """That of one class, or of all; both add the name to the location of an error."""
        if name is None:
            return SchemaValidator(TypeAdapter(self._table()).core_schema)
        choice = {name: _schema_of(self.kinds[name])}
        return SchemaValidator(core_schema.tagged_union_schema(choice, self._name))

    def _table(self) -> Any:
        """The union as pydantic knows it."""
        tagged = (Annotated[kind, Tag(name)] for name, kind in self.kinds.items())
        by = Discriminator(self._key if self.by_key and self._default is None else self._name)
        return Annotated[reduce(or_, tagged), by]

    def _whole(self) -> CoreSchema:
        names: Any = Annotated[str, Field(json_schema_extra={"enum": list(self.kinds)})]
        table = self._table()
        return TypeAdapter(names | table if self._names_alone else table).core_schema


def classes_of(field: FieldInfo) -> list[type[Spec]]:
    """Classes of the sections that a key of a section may contain."""
    return list(_classes(field.annotation, field.metadata))


def _classes(annotation: Any, metadata: Iterable[Any]) -> Iterator[type[Spec]]:
    if deferred := [part for part in metadata if isinstance(part, Deferred)]:
        yield from deferred[0].classes()
        return
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _classes(part, getattr(annotation, "__metadata__", ()))
