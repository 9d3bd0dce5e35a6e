"""How to cite: CITATION.cff has the form of the Citation File Format 1.2.0, and our version."""

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
    """The part of the format that the file uses; required is what the format requires."""

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


def stated():
    return yaml.safe_load(Path("CITATION.cff").read_text())


def test_the_file_has_the_form_of_the_format():
    Citation.model_validate(stated())


def test_what_it_says_is_what_the_package_says():
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    cited = stated()
    assert cited["version"] == project["version"] == mtpsim.__version__
    assert cited["license"] == project["license"]
    assert cited["keywords"] == project["keywords"]


@pytest.mark.parametrize("wrong", [{"version": 0.1}, {"authors": []}, {"licence": "Apache-2.0"}])
def test_other_forms_are_refused(wrong):
    with pytest.raises(ValidationError):
        Citation.model_validate(stated() | wrong)
