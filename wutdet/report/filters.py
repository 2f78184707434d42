"""A gallery of cards that a reader can filter. Without its script, all cards are shown and there are no filters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from wutdet.report.markup import Markup, tag
from wutdet.report.page import Picture

#: Hides cards that do not fit the chosen filters. No "&" and no "<", since the page is XML, too.
SCRIPT = """
(function () {
  "use strict";
  var bar = document.getElementById("filters");
  var cards = Array.from(document.querySelectorAll("figure[data-kind]"));
  var boxes = Array.from(bar.querySelectorAll("input"));
  var lists = Array.from(bar.querySelectorAll("select"));
  var said = bar.querySelector("output");
  function fits(card) {
    var kind = boxes.some(function (box) { return box.checked ? box.value === card.dataset.kind : false; });
    var rest = lists.every(function (list) { return list.value === "" || list.value === card.dataset[list.name]; });
    return kind ? rest : false;
  }
  function apply() {
    cards.forEach(function (card) { card.hidden = !fits(card); });
    var shown = cards.filter(function (card) { return !card.hidden; }).length;
    said.textContent = shown + " of " + cards.length + " shown";
  }
  bar.addEventListener("change", apply);
  bar.hidden = false;
  apply();
}());
"""


@dataclass(frozen=True)
class Card:
    """One picture of the gallery.

    Attributes:
        picture: with its caption.
        title: first line below the picture.
        kind: what it is filtered by, ``(key, words)``.
        facts: more filters: ``{"size": "tiny (8-16 px)", ...}``; keys are plain letters.
    """

    picture: Picture
    title: str
    kind: tuple[str, str]
    facts: Mapping[str, str]

    def to_html(self) -> Markup:
        data = {f"data_{key}": value for key, value in {"kind": self.kind[0], **self.facts}.items()}
        caption = tag("figcaption", tag("b", self.title, class_=f"is {self.kind[0]}"), " ", self.picture.caption)
        seen = replace(self.picture, caption=f"{self.title}: {self.picture.caption}")
        return tag("figure", seen.to_img(), caption, class_="card shot", **data)


def filter_bar(cards: Sequence[Card], labels: Mapping[str, str], orders: Mapping[str, Sequence[str]]) -> Markup:
    """Boxes for kinds and one list per fact, hidden until the script shows them.

    Args:
        cards: of the gallery; kinds and facts are counted.
        labels: names of facts by key.
        orders: values of a fact in the order in which they are listed; alphabetical where not given.
    """
    kinds = Counter(card.kind for card in cards)
    boxes = [
        tag(
            "label",
            tag("input", type="checkbox", value=key, checked="checked", autocomplete="off"),
            tag("span", f"{words} ({count})", class_=f"is {key}"),
        )
        for (key, words), count in kinds.items()
    ]
    lists = []
    for key, label in labels.items():
        counts = Counter(card.facts[key] for card in cards if card.facts.get(key))
        if len(counts) < 2:
            continue
        names = [name for name in orders.get(key, sorted(counts)) if name in counts]
        options = [tag("option", f"{name} ({counts[name]})", value=name) for name in names]
        listed = tag("select", tag("option", "all", value=""), *options, name=key, autocomplete="off")
        lists.append(tag("label", f"{label} ", listed))
    kinds_box = tag("fieldset", tag("legend", "Show"), *boxes)
    return tag("div", kinds_box, *lists, tag("output", ""), id="filters", class_="filters", hidden="hidden")
