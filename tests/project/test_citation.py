"""CITATION.cff follows the Citation File Format 1.2.0 and has the package's version."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import mtpsim

Text = Annotated[str, Field(min_length=1)]
STRICT = ConfigDict(extra="forbid", strict=True)


class Entity(BaseModel):
    model_config = STRICT
    name: Text


class Citation(BaseModel):
    """The part of the format that the file uses."""

    model_config = STRICT
    version_of_format: Literal["1.2.0"] = Field(alias="cff-version")
    message: Text
    title: Text
    authors: list[Entity] = Field(min_length=1)
    type: Literal["software", "dataset"]
    abstract: Text
    version: Text
    license: Literal["Apache-2.0"]
    keywords: list[Text] = Field(min_length=1)


def citation():
    return yaml.safe_load(Path("CITATION.cff").read_text())


def test_format():
    Citation.model_validate(citation())


def test_metadata_agree_with_the_package():
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    cited = citation()
    assert cited["version"] == project["version"] == mtpsim.__version__
    assert cited["license"] == project["license"]
    assert cited["keywords"] == project["keywords"]


@pytest.mark.parametrize("wrong", [{"version": 0.1}, {"authors": []}, {"licence": "Apache-2.0"}])
def test_other_formats_are_refused(wrong):
    with pytest.raises(ValidationError):
        Citation.model_validate(citation() | wrong)
