"""The card of an encoder as one HTML file that holds all it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latentbench.pictures.page import asset, bundle, render
from latentbench.reports.card import card_tables, card_title, words_of_card
from latentbench.results.standing import worded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latentbench.cards.card import Card

__all__ = ["card_page", "cards_drawn", "cards_told"]

HEADINGS = {"directions": "Directions of the latents", "memory": "Memory of the latents"}
READINGS = {
    "directions": "The share of the variance in the directions of most variance, and the gain of "
    "each predictable component, the most predictable first.",
    "memory": "The correlation of frames by how far they are apart, and the nats that a linear "
    "prediction gains on speakers that it has not seen, with 95 % intervals over them. 0 is "
    "nothing.",
}


def card_page(card: Card) -> str:
    """The page of one card.

    Raises:
        UsageError: Altair or vl-convert is missing.
    """
    vega_lite, script = bundle()
    return render(
        "card.html",
        [script, asset("charts.js")],
        title=card_title(card),
        stamps=card.stamps,
        says=list(words_of_card(card)),
        pictures=cards_drawn({card.encoder: card}),
        tables=list(card_tables(card)),
        provenance={**card.fingerprint, "corpus": card.corpus},
        vega_lite=vega_lite,
    )


def cards_drawn(cards: Mapping[str, Card]) -> list[dict[str, Any]]:
    """The pictures of some cards, by label, as a template takes them; none of no cards."""
    from latentbench.pictures.charts import card_charts  # noqa: PLC0415 - an extra

    charts = card_charts(cards) if cards else {}
    by = "/".join(dict.fromkeys(card.sampled[:-1] for card in cards.values()))
    return [
        {"name": name, "heading": HEADINGS[name], "reading": worded(READINGS[name], by)}
        | {"charts": one}
        for name, one in charts.items()
    ]


def cards_told(cards: Mapping[str, Card]) -> list[dict[str, Any]]:
    """Sentences and tables of some cards, by label, as a template takes them."""
    return [
        {"label": label, "says": list(words_of_card(card)), "tables": list(card_tables(card))}
        for label, card in cards.items()
    ]
