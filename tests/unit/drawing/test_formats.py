"""Is what is written well formed, and does it say everything?"""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from orchestra.drawing.dot import dot
from orchestra.drawing.layout import lay_out
from orchestra.drawing.mermaid import mermaid
from orchestra.drawing.svg import svg
from orchestra.drawing.text import width
from orchestra.errors import DefinitionError
from orchestra.flows.picture import Line, Picture, Shape, ShapeKind
from tests.unit.drawing.pictures import EVERY_KIND, LOAN, MARKED

PICTURES = [LOAN, MARKED, EVERY_KIND]


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: str(picture.title))
def test_svg_is_xml_with_every_text_in_it(picture: Picture) -> None:
    root = ElementTree.fromstring(svg(picture))

    texts = " ".join("".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text"))
    for shape in picture.nodes:
        assert shape.label in texts or shape.kind is ShapeKind.INITIAL
    for line in picture.edges:
        assert all(word in texts for word in line.label.split())


def test_svg_of_equal_pictures_is_equal() -> None:
    assert svg(LOAN) == svg(LOAN)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: str(picture.title))
def test_graphviz_can_read_the_dot(picture: Picture) -> None:
    from pygraphviz import AGraph

    graph = AGraph(string=dot(picture))

    legend = len(picture.legend)
    assert graph.number_of_nodes() == len(picture.nodes) + legend
    assert graph.number_of_edges() == len(picture.edges)
    graph.close()


def test_mermaid_has_groups_within_groups_and_lines_to_them() -> None:
    lines = mermaid(LOAN).splitlines()

    assert lines[:4] == ["---", 'title: "loan, version 3 \\"beta\\""', "---", "flowchart TD"]
    assert '        subgraph n_credit["credit"]' in lines
    assert '    n_applied -->|"ApplicationComplete"| n_checking' in lines
    assert '    n_applied -->|"DocumentAdded"| n_applied' in lines


def test_mermaid_text_has_no_character_that_means_something_there() -> None:
    picture = Picture(title="t", nodes=[Shape(id="a", label='a "b" <c> #d; `e` & f', kind=ShapeKind.STEP)])

    (label,) = re.findall(r'\["<b>(.*)</b>"\]', mermaid(picture))
    assert label == "a #34;b#34; #60;c#62; #35;d#59; #96;e#96; #38; f"


def test_marks_have_a_legend_in_every_format() -> None:
    for write in (svg, dot, mermaid):
        text = write(MARKED)
        assert all(mark.value in text for mark in MARKED.legend)


def test_an_id_that_is_there_twice_is_an_error() -> None:
    shapes = [Shape(id="a", label="a", kind=ShapeKind.STEP)] * 2

    with pytest.raises(DefinitionError, match="twice"):
        Picture(title="t", nodes=shapes)


def test_a_line_to_nowhere_is_an_error() -> None:
    with pytest.raises(DefinitionError, match="'b'"):
        Picture(title="t", nodes=[Shape(id="a", label="a", kind=ShapeKind.STEP)], edges=[Line(start="a", end="b")])


def test_a_wider_text_has_more_room() -> None:
    assert width("mm", 10) > width("ii", 10)
    assert width("注文", 10) > width("ab", 10)
    assert lay_out(Picture(title="t", nodes=[Shape(id="a", label="m" * 30, kind=ShapeKind.STEP)])).width > 250
