"""What is made once: by whoever asks first, for all threads, and not in a pickle."""

import pickle
import time
from concurrent.futures import ThreadPoolExecutor

from mcmargin.scenarios.kept import Kept


def test_threads_that_ask_at_once_have_it_made_once():
    kept, made = Kept(), []

    def make():
        time.sleep(0.05)
        made.append(object())
        return made[-1]

    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: kept.once("a", make), range(8)))
    assert found == set(made)
    assert len(made) == 1


def test_making_one_may_ask_for_another():
    """As the rate of a currency that is quoted in another asks for that one's."""
    kept = Kept()
    assert kept.once("a", lambda: 1 + kept.once("b", lambda: 1)) == 2


def test_a_pickle_starts_empty():
    kept = Kept()
    assert kept.once("a", lambda: 1) == 1
    assert pickle.loads(pickle.dumps(kept)).once("a", lambda: 2) == 2
