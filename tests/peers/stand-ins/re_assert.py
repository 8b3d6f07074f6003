# SPDX-License-Identifier: MIT
"""In place of the package of this name, which Debian has not: what aiohttp's tests use of it."""
import re


class Matches:
    """Equal to every string that the pattern matches from its beginning."""

    def __init__(self, pattern, *args, **kwargs):
        self._pattern = re.compile(pattern, *args, **kwargs)

    def __eq__(self, text):
        return self._pattern.match(text) is not None

    def __repr__(self):
        return f"Matches({self._pattern.pattern!r})"

    def assert_matches(self, text):
        assert self == text, f"{text!r} does not match {self._pattern.pattern!r}"
