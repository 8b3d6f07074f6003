# SPDX-License-Identifier: MIT
"""An event loop in each of several threads: what echo_server.py and echo_client.py share.

On a free-threaded build of Python, such as python3.13t, the threads run at the same time.
"""
import asyncio
import concurrent.futures
import contextlib
import signal


def run_in_threads(coroutines, new_loop):
    """Run each coroutine on a loop of its own in a thread of its own; return their results.

    SIGINT and SIGTERM cancel them all, and so does the failure of one, which is raised.  The
    result of one that was cancelled is None.  To be called in the main thread.
    """
    tasks = [new_loop().create_task(coroutine) for coroutine in coroutines]

    def work(task):
        loop = task.get_loop()
        try:
            return loop.run_until_complete(task)
        except asyncio.CancelledError:
            return None
        finally:
            loop.close()

    def cancel():
        for task in tasks:
            with contextlib.suppress(RuntimeError):  # its loop is closed by now
                task.get_loop().call_soon_threadsafe(task.cancel)

    async def supervise():
        # A loop of its own, since a thread that waits for others in any other way may miss a
        # signal that comes just before it sleeps.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, cancel)
        workers = [loop.run_in_executor(pool, work, task) for task in tasks]
        await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        cancel()
        return await asyncio.gather(*workers)

    with concurrent.futures.ThreadPoolExecutor(len(tasks)) as pool:
        return asyncio.run(supervise())
