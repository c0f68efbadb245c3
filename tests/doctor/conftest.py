"""Looks take seconds and next to no work. So all of them are taken side by side, a few at a time, while each test waits for
its own."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

AT_ONCE = 8
"""Looks at the same time: more would be late for their own deadlines on two cores."""


@pytest.fixture(scope="session")
def looks(request: pytest.FixtureRequest) -> Iterator[Callable[[object], object]]:
    """What came of a look, by what is looked at: the parameter of a test, or a function of a test's own (`beside`). All are
    under way from the first test on."""
    wanted: list[Callable[[], object]] = []
    for item in request.session.items:
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        wanted += [each.look for each in (item.function, *parameters) if hasattr(each, "look")]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures: dict[object, Future] = {look: pool.submit(look) for look in wanted}
        yield lambda look: futures[look].result()
        pool.shutdown(cancel_futures=True)
