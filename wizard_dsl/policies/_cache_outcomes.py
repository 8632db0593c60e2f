"""What a cache may do in a run."""

from __future__ import annotations

from typing import Final

from wizard_dsl.core.component import seconds
from wizard_dsl.core.events import CacheHit, CacheMissed, CacheRefreshed, CacheShared, CacheStale
from wizard_dsl.core.outcomes import OutcomeType, Site, outcome, told


def _stores(site: Site) -> bool:
    return bool(seconds(site.config.ttl))


def _revalidates(site: Site) -> bool:
    return _stores(site) and site.config.stale_while_revalidate != "off"


OUTCOMES: Final[tuple[OutcomeType, ...]] = (
    outcome("miss", "nothing was stored: the call was made", told(CacheMissed)),
    outcome("hit", "a stored answer was given", told(CacheHit, kind="ok"), possible=_stores),
    outcome(
        "shared",
        "an equal call was in flight, and this one followed it",
        told(CacheShared),
        possible=lambda site: site.config.single_flight,
    ),
    outcome(
        "error_again",
        "a remembered error was given again",
        told(CacheHit, when=lambda event, site: event.kind != "ok"),
        possible=lambda site: _stores(site) and site.config.negative != "off",
    ),
    outcome(
        "stale_for_error",
        "an answer after its time stood in for a failure",
        told(CacheStale, when=lambda event, site: event.reason != "revalidate"),
        possible=lambda site: _stores(site) and site.config.stale_if_error != "off",
    ),
    outcome(
        "stale_meanwhile",
        "an answer after its time was given while it was refreshed",
        told(CacheStale, reason="revalidate"),
        possible=_revalidates,
    ),
    outcome("refreshed", "a refresh behind a call succeeded", told(CacheRefreshed, kind="ok"), possible=_revalidates),
    outcome(
        "not_refreshed",
        "a refresh behind a call failed",
        told(CacheRefreshed, when=lambda event, site: event.kind != "ok"),
        possible=_revalidates,
    ),
)
