"""Every diagnostic code: what it means, why it is refused, and an example that is wrong and one that is right.

E00x–E01x reading a file · E02x its shape · E03x references, secrets, settings · E04x names and steps ·
E05x templates · E06x–E07x policies and chains · E08x test files and scenarios · E09x cassettes,
scenarios · W1xx warnings. A code keeps its meaning for ever; a new one is one more entry in the table of its group.

Examples are sections of a pipeline file; added to a file that has no such section yet they would be whole. Where
the trouble is the file itself, the example says so in a comment.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from wizard_dsl.spec._codes_cassette import CASSETTE_CODES, CASSETTE_WARNINGS
from wizard_dsl.spec._codes_lint import LINT_CODES, RULE_CODES
from wizard_dsl.spec._codes_program import PROGRAM_CODES
from wizard_dsl.spec._codes_scenarios import SCENARIO_CODES
from wizard_dsl.spec._codes_shape import SHAPE_CODES
from wizard_dsl.spec._codes_source import SOURCE_CODES
from wizard_dsl.spec._codes_tests import TEST_CODES
from wizard_dsl.spec._codes_warnings import WARNING_CODES
from wizard_dsl.spec.code import Code

ALL_CODES: Final[tuple[Code, ...]] = (
    *SOURCE_CODES,
    *SHAPE_CODES,
    *PROGRAM_CODES,
    *TEST_CODES,
    *CASSETTE_CODES,
    *SCENARIO_CODES,
    *RULE_CODES,
    *WARNING_CODES,
    *CASSETTE_WARNINGS,
    *LINT_CODES,
)
CODES: Final = MappingProxyType({each.code: each for each in ALL_CODES})
