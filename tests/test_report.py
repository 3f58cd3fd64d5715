"""The report, from arrays alone."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch

from ranvier.report import Story, page, picture
from ranvier.train.evaluate import Evaluation, Watched

VOID = {"meta", "img", "br", "path", "use", "rect", "line"}


@pytest.fixture(scope="module")
def story():
    torch.manual_seed(0)
    labels = torch.arange(30) % 3
    predictions = labels.clone()
    predictions[4] = 2
    spikes = {"LIF 1": (torch.rand(6, 4, 3, 3) < 0.3).float(), "LIF 3": torch.zeros(6, 5)}
    return Story(
        config={"recipe": "digits", "epochs": 2, "net": {"hidden": 5}, "data": "<script>alert(1)</script>"},
        result={
            "accuracy": 29 / 30,
            "correct": 29,
            "samples": 30,
            "training_seconds": 1.25,
            "epochs": 2,
            "parameters": 12345,
            "versions": {"python": "3.11"},
            "machine": {"processor": "a fine one"},
        },
        history=[
            {
                "epoch": e,
                "train_loss": 1 / e,
                "validation_loss": 2 / e,
                "train_accuracy": 0.5,
                "validation_accuracy": 0.6,
            }
            for e in (1, 2)
        ],
        evaluation=Evaluation(predictions, labels, {"LIF 1": torch.rand(36), "LIF 3": torch.zeros(5)}),
        watched=Watched(torch.rand(1, 8, 8), 1, spikes, torch.randn(6, 3)),
        wrong=[(torch.rand(1, 8, 8), 1, 2)],
    )


@pytest.fixture(scope="module")
def html(story):
    return page(story)


class Balance(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_data(self, data):
        self.text += data + " "


def test_every_picture_says_what_it_shows(story):
    html = page(story)
    drawn = re.findall(r"<svg[^>]*>", html)
    assert drawn and all('role="img" aria-label="' in tag for tag in drawn)
    assert "Right classes against answers" in html and "from " in html
    assert all(re.search(r'alt="[^"]+"', tag) for tag in re.findall(r"<img[^>]*>", html))


def test_page_tells_the_run(html):
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    text = " ".join(parser.text.split())
    for words in ("29 of 30", "96.67 %", "12,345", "1, read as 2", "net.hidden", "a fine one", "LIF 1"):
        assert words in text, words
    assert html.count("<svg") == 4


def test_page_loads_nothing_and_trusts_nobody(html):
    assert "<script" not in html  # what came from the configuration is escaped
    links = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", html)
    assert links and all(link.startswith(("data:image/png;base64,", "#")) for link in links)
    assert "@import" not in html


def test_page_takes_its_colours_from_the_reader(html):
    assert "prefers-color-scheme: dark" in html and "stroke: var(--first)" in html
    assert not re.search("#0[1-4]0[1-4]0[1-4]", html)  # no stand-in colour is left


def test_same_story_same_page(story, html):
    assert page(story) == html


def test_samples_that_are_no_pictures_do_without(story):
    watched = replace(story.watched, x=torch.rand(4))
    html = page(replace(story, watched=watched, wrong=[(torch.rand(4), 0, 1)]))
    assert "<img" not in html and html.count("<svg") == 4


def test_no_mistakes_no_gallery(story):
    html = page(replace(story, wrong=[]))
    assert "misread" not in html


def test_picture_is_a_png_or_nothing():
    assert picture(torch.rand(1, 8, 8)).startswith("data:image/png;base64,iVBOR")
    assert picture(torch.rand(4)) == picture(torch.rand(3, 8, 8)) == ""
