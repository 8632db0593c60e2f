"""Test tools that ship with the package: virtual time, scripted targets."""
