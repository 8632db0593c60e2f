"""What a provider's type says about its own settings, each at its line."""

from __future__ import annotations

from wizard_dsl.compiler.report import Report
from wizard_dsl.spec.document import Document


def check_providers(document: Document, report: Report) -> None:
    """E078 for each setting that no schema can refuse."""
    for name, entry in document.providers.items():
        for path, message, suggestion in entry.type.refuse(entry.config):
            report.add("E078", message, ("providers", name, *path), suggestion=suggestion)
