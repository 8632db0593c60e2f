"""Imports of LiteLLM: credentials that deployments share by a name, and addresses in variables."""

from __future__ import annotations

from pathlib import Path

from import_kit import artefact, compiled, finding, read_foreign_text, written

from wizard_dsl.analysis.importing.findings import Imported
from wizard_dsl.analysis.importing.litellm import import_litellm

CREDENTIALS = """\
credential_list:
  - credential_name: ours
    credential_values:
      api_key: %s
      api_base: https://ours.example.com
      api_version: "2024-10-21"
      aws_region_name: eu
  - {credential_name: spare, credential_values: {api_key: os.environ/SPARE}}
model_list:
  - model_name: a
    litellm_params: {model: azure/gpt-4o, litellm_credential_name: %s, api_version: "2024-06-01"}
"""


def read(text: str) -> Imported:
    return import_litellm(read_foreign_text(text, "config.yaml"))


def test_a_deployment_asks_with_the_credential_that_it_names() -> None:
    made = read(CREDENTIALS % ("os.environ/OURS", "ours"))
    assert written(made)["providers"]["azure"] == {
        "type": "openai_compatible",
        "base_url": "https://ours.example.com/openai/deployments/gpt-4o",
        "api_version": "2024-06-01",
        "api_key": "${env:OURS}",
    }
    told = {each.setting.rsplit(".", 1)[-1]: each for each in made.findings if "[0].credential_values" in each.setting}
    assert {name: each.outcome for name, each in told.items()} == {
        "api_key": "mapped", "api_base": "mapped", "api_version": "mapped", "aws_region_name": "dropped",
    }  # fmt: skip
    assert finding(made, "model_list[0].litellm_params.litellm_credential_name").outcome == "mapped"
    assert finding(made, "credential_list[1].credential_values.api_key").why == "no deployment names it"


def test_a_key_in_a_credential_is_put_into_a_variable() -> None:
    made = read(CREDENTIALS % ("sk-a-literal-key", "ours"))
    assert written(made)["providers"]["azure"]["api_key"] == "${env:AZURE_API_KEY}"
    told = finding(made, "credential_list[0].credential_values.api_key")
    assert (told.outcome, told.why) == (
        "approximated",
        "a key does not stand in a file: put it into the variable AZURE_API_KEY",
    )
    assert "literal" not in artefact(made)


def test_a_credential_that_is_not_in_the_file_is_said_to_be_missing() -> None:
    made = read(CREDENTIALS % ("os.environ/OURS", "theirs"))
    told = finding(made, "model_list[0].litellm_params.litellm_credential_name")
    assert told.why is not None and told.why.startswith("no entry of credential_list has the name")
    assert written(made)["providers"]["azure"]["base_url"].startswith("${env:AZURE_API_BASE}")


def test_targets_at_addresses_in_two_variables_make_a_file_without_errors(tmp_path: Path) -> None:
    each = (
        "  - {{model_name: a, litellm_params: {{model: azure/one, api_base: os.environ/{}, api_key: os.environ/K}}}}\n"
    )
    made = read("model_list:\n" + each.format("EU") + each.format("US"))
    assert compiled(made, tmp_path).diagnostics == ()
