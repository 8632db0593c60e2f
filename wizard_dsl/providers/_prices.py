"""What the price library knows of a model: prices, and the window of its context.

The library is imported on the first question that no process has asked before (it costs 0.4 s), and asked once a
model. Prices are standard ones: the last known date, the dearest hours, no batch or priority; longer requests have
those of their tier.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from wizard_dsl.core.target import Facts, Prices, Tier
from wizard_dsl.providers import _prices_memo


@cache
def library(prices: str, model: str) -> Facts:
    """Facts of `model` in the list of a provider, named as a ProviderType's `prices` names it; all unknown where
    the library does not know them."""
    name = f"{prices}/{model}"
    known = _prices_memo.recall(name)
    if known is None:
        known = _asked(prices, model)
        _prices_memo.keep(name, known)
    return known


def _asked(prices: str, model: str) -> Facts:
    info = _info(prices, model)
    if info is None:
        return Facts()
    return Facts(context=info.context_window, prices=_standard(info.prices))


def is_deprecated(prices: str, model: str) -> bool:
    """Whether the library says that the provider gives a model up."""
    info = _info(prices, model)
    return info is not None and bool(info.deprecated)


def _info(prices: str, model: str) -> Any:
    from genai_prices.data import providers

    provider = next((each for each in providers if each.id == prices), None)
    return None if provider is None else provider.find_model(model)


def _standard(prices: Any) -> Prices | None:
    """The price of a plain request, None where input or output has none."""
    if isinstance(prices, list):
        prices = _latest(prices)
    stated = [getattr(prices, name, None) for name in ("input_mtok", "output_mtok", "cache_read_mtok")]
    rates = [_base(each) for each in stated]
    if rates[0] is None or rates[1] is None:
        return None
    starts = sorted({tier.start for each in stated for tier in getattr(each, "tiers", ())})
    return Prices(rates[0], rates[1], rates[2], tuple(_tier(start, stated) for start in starts))


def _tier(start: int, stated: list[Any]) -> Tier:
    """The prices of a request longer than `start`."""
    rates = [_above(each, start) for each in stated]
    assert rates[0] is not None and rates[1] is not None
    return Tier(start, rates[0], rates[1], rates[2])


def _above(rate: Any, start: int) -> float | None:
    reached = [tier.price for tier in getattr(rate, "tiers", ()) if tier.start <= start]
    return float(reached[-1]) if reached else _base(rate)


def _latest(conditional: list[Any]) -> Any:
    """The price with the last start date; of prices for some hours of the day the dearest."""
    dated = [each for each in conditional if hasattr(each.constraint, "start_date")]
    if dated:
        return dated[-1].prices
    return max((each.prices for each in conditional), key=lambda price: _base(getattr(price, "output_mtok", None)) or 0)


def _base(rate: Any) -> float | None:
    rate = getattr(rate, "base", rate)
    return float(rate) if rate is not None else None
