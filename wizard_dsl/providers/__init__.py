"""Providers: one file per wire protocol, presets as data. What they share has an underscore."""
