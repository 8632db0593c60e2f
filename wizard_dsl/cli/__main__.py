"""`python -m wizard_dsl.cli`."""

from wizard_dsl.cli.main import main

main()
