"""E095–E097: scenarios, what they say about time and numbers. What they name is told as for test files, E08x."""

from __future__ import annotations

from typing import Final

from wizard_dsl.spec.code import Code

SCENARIO_CODES: Final = (
    Code(
        "E095", "a span of time that cannot be",
        "Phases and changes of the load are spans since the start of the load: they begin before they end, and lie "
        "within the load's duration. Changes of the load do not overlap, for there is one rate at a time; phases may, "
        "and then the first one that hits an attempt counts.",
        "# outage.sim.yaml\nload: {rate: 20/s, duration: 5m}\ntargets: {\"openai/*\": {phases: [{from: 4m, to: 6m, "
        "status: 503}]}}",
        "# outage.sim.yaml\nload: {rate: 20/s, duration: 10m}\ntargets: {\"openai/*\": {phases: [{from: 4m, to: 6m, "
        "status: 503}]}}",
    ),
    Code(
        "E096", "a number that cannot be",
        "A share is at most 100%. Of a spread, the median is above zero and the p99 is not below it. Runs come at a "
        "rate of runs, not of tokens, and there are at most a million of them in a seed.",
        "# outage.sim.yaml\ntargets: {\"openai/*\": {latency: {median: 4s, p99: 800ms}}}",
        "# outage.sim.yaml\ntargets: {\"openai/*\": {latency: {median: 800ms, p99: 4s}}}",
    ),
    Code(
        "E097", "a part of a scenario that does nothing",
        "A phase makes attempts fail in one way, or take another time; what else it says belongs to a failure with a "
        "status. The time to the first chunk is measured where somebody reads the answers as they come.",
        "# outage.sim.yaml\ntargets: {\"openai/*\": {phases: [{from: 4m, to: 6m, retry_after: 2s}]}}",
        "# outage.sim.yaml\ntargets: {\"openai/*\": {phases: [{from: 4m, to: 6m, status: 429, retry_after: 2s}]}}",
    ),
)  # fmt: skip
