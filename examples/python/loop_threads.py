# SPDX-License-Identifier: MIT
"""An event loop in each of several threads: what echo_server.py and echo_client.py share.

On a free-threaded build of Python, such as python3.13t, the threads run at the same time.
"""
import asyncio
import concurrent.futures
import contextlib
import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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

    def cancel(*_):
        for task in tasks:
            with contextlib.suppress(RuntimeError):  # its loop is closed by now
                task.get_loop().call_soon_threadsafe(task.cancel)

    # Python calls handlers in the main thread.  It would sleep on if the system chose another one
    # for the signal, so that these start with both blocked.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    for number in SIGNALS:
        signal.signal(number, cancel)
    with concurrent.futures.ThreadPoolExecutor(len(tasks)) as pool:
        workers = [pool.submit(work, task) for task in tasks]
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        concurrent.futures.wait(workers, return_when=concurrent.futures.FIRST_EXCEPTION)
        cancel()
    return [worker.result() for worker in workers]
