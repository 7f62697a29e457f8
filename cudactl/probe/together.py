"""Calls run side by side in threads.

What concurrent.futures does, without its 20 ms of imports: a prolog starts before every job.
"""

from __future__ import annotations

import threading

from . import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Callable, List, Sequence


def together(
    calls: Sequence[Callable[[], Any]], at_once: int, stop: Callable[[], None]
) -> List[Any]:
    """Return what the calls return, in their order.

    Args:
        calls: What is to be run.
        at_once: How many at a time.
        stop: Ends those that run, called when this is interrupted or one of them fails.
    """
    results: List[Any] = [None] * len(calls)
    failures: List[BaseException] = []
    waiting = list(range(len(calls)))

    def work() -> None:
        while waiting and not failures:
            try:
                number = waiting.pop(0)
            except IndexError:  # another thread took the last
                return
            try:
                results[number] = calls[number]()
            except BaseException as error:
                failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(min(at_once, len(calls)))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
    except BaseException:  # Ctrl-C: what was started has a session of its own and did not get it
        del waiting[:]
        stop()
        raise
    return results
