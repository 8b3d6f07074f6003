# SPDX-License-Identifier: MIT
"""Loop factories and the event loop policy: patched loops for whole programs."""

import asyncio
import warnings

from ._patch import patch_loop


def loop_factory(base=None):
    """Return a callable that makes a new, patched event loop each time it is called.

    `base` makes the loop to be patched, as uvloop.new_event_loop does; asyncio.new_event_loop by
    default.  Use the result as `loop_factory` of asyncio.run() and asyncio.Runner(), or call it.
    """
    make_loop = asyncio.new_event_loop if base is None else base
    if not callable(make_loop):
        raise TypeError(f"base must be a callable that makes an event loop, or None, got {base!r}")

    def new_event_loop():
        return patch_loop(make_loop())

    return new_event_loop


def install_policy(base=None):
    """Make the event loop policy give patched loops from now on.

    `base` is the policy to build on, or a callable that makes the loops, such as
    uvloop.new_event_loop; by default, and in the second case, it is the policy in force, which
    keeps its current loop and child watcher.  Loops that exist already are not patched.
    """
    with warnings.catch_warnings():
        # Policies are deprecated from Python 3.14 on; who calls this has made that choice.
        warnings.simplefilter("ignore", DeprecationWarning)
        if isinstance(base, asyncio.AbstractEventLoopPolicy):
            policy, make_loop = base, None
        elif base is None or callable(base):
            policy, make_loop = asyncio.get_event_loop_policy(), base
        else:
            raise TypeError(
                f"base must be an event loop policy, a callable that makes an event loop, or "
                f"None, got {base!r}"
            )
        asyncio.set_event_loop_policy(_patching(policy, make_loop))


def _patching(policy, make_loop):
    if make_loop is None:
        if getattr(policy, "_makes_patched_loops", False):
            return policy
        make_loop = policy.new_event_loop

    class PatchedLoopPolicy(type(policy)):
        _makes_patched_loops = True

        def new_event_loop(self):
            return patch_loop(make_loop())

    # Both policies share their state: the current loop of each thread and the child watcher.
    patching = PatchedLoopPolicy.__new__(PatchedLoopPolicy)
    patching.__dict__ = policy.__dict__
    return patching
