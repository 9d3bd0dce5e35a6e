"""CITATION.cff follows the Citation File Format 1.2.0 and states the version of the package."""

import tomllib
from pathlib import Path

import yaml

import mtpsim

REQUIRED = {"cff-version", "message", "title", "authors"}
OPTIONAL = {"type", "abstract", "version", "license", "keywords"}  # those of the format in use


def test_citation_has_valid_keys_and_the_values_of_the_package():
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    cited = yaml.safe_load(Path("CITATION.cff").read_text())
    assert cited.keys() == REQUIRED | OPTIONAL
    assert (cited["cff-version"], cited["type"]) == ("1.2.0", "software")
    assert cited["version"] == project["version"] == mtpsim.__version__
    assert cited["license"] == project["license"] == "Apache-2.0"
    assert cited["keywords"] == project["keywords"]
    assert [author.keys() for author in cited["authors"]] == [{"name"}]
    assert all(type(cited[key]) is str and cited[key] for key in ("message", "title", "abstract"))
