# SPDX-License-Identifier: MIT
"""Helpers of the Python tests."""
