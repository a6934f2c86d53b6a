import threading

import anyio
import anyio.to_thread
import pytest

from service.runtime.microbatch import Batches


class _Held:
    """A computation that waits for ``go_on``, says that it has begun, and notes which questions came together."""

    def __init__(self):
        self.together = []
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self._now = 0
        self.most_at_once = 0
        self._lock = threading.Lock()

    def __call__(self, questions):
        with self._lock:
            self.together.append(list(questions))
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        self.begun.release()
        assert self.go_on.acquire(timeout=60)
        with self._lock:
            self._now -= 1
        return [question if isinstance(question, Exception) else f"answer {question}" for question in questions]

    def free(self):
        for _ in range(100):
            self.go_on.release()


async def _ask_all(batches, held, first, others, beside):
    """Ask ``first``, then, while it is computed, the ``others`` (owner, about, question, size); return all answers.

    Nothing is done before so many more batches are computed ``beside`` the first.
    """
    answers = {}

    async def ask(owner, about, question, size):
        try:
            answers[question] = await batches.submit(owner, about, held, question, size)
        except ValueError as error:
            answers[question] = error

    async with anyio.create_task_group() as group:
        group.start_soon(ask, *first)
        await anyio.to_thread.run_sync(held.begun.acquire)
        for one in others:
            group.start_soon(ask, *one)
        await anyio.wait_all_tasks_blocked()
        for _ in range(beside):
            await anyio.to_thread.run_sync(held.begun.acquire)
        held.free()
    return answers


def _run(batches, first, others, beside=0):
    held = _Held()
    answers = anyio.run(_ask_all, batches, held, first, others, beside)
    return answers, held


def test_a_question_waits_for_nothing_and_those_that_come_meanwhile_are_computed_together():
    answers, held = _run(Batches(1, 10, 100, 5), ("p", "m", 0, 1), [("p", "m", k, 1) for k in range(1, 6)])
    assert held.together == [[0], [1, 2, 3, 4, 5]]
    assert answers == {k: f"answer {k}" for k in range(6)}


def test_only_questions_about_the_same_of_the_same_owner_go_together():
    others = [("p", "m", 1, 1), ("p", "n", 2, 1), ("q", "m", 3, 1), ("p", "m", 4, 1)]
    _, held = _run(Batches(1, 10, 100, 5), ("p", "m", 0, 1), others)
    assert sorted(held.together) == [[0], [1, 4], [2], [3]]


def test_owners_take_turns():
    others = [("p", "m", k, 1) for k in range(1, 9)] + [("q", "m", 9, 1)]
    _, held = _run(Batches(1, 2, 100, 5), ("p", "m", 0, 1), others)
    assert held.together == [[0], [1, 2], [9], [3, 4], [5, 6], [7, 8]]


def test_a_batch_is_bounded_by_questions_and_by_their_sizes_and_a_large_one_goes_alone():
    others = [("p", "m", 1, 4), ("p", "m", 2, 4), ("p", "m", 3, 4), ("p", "m", 4, 1000), ("p", "m", 5, 1)]
    _, held = _run(Batches(1, 3, 10, 5), ("p", "m", 0, 1), others)
    assert held.together[:2] == [[0], [1, 2]]
    assert sorted(held.together[2:]) == [[3, 5], [4]]


def test_as_many_batches_run_at_once_as_there_are_threads():
    _, held = _run(Batches(2, 1, 10, 5), ("p", "m", 0, 1), [("p", "m", k, 1) for k in range(1, 8)], beside=1)
    assert held.most_at_once == 2
    assert len(held.together) == 8


def test_small_questions_about_the_same_wait_for_each_other_and_no_other_waits_for_them():
    others = [("p", "m", 1, 1), ("p", "m", 2, 1), ("p", "n", 3, 1), ("q", "m", 4, 1), ("p", "m", 5, 6)]
    _, held = _run(Batches(4, 10, 100, 5), ("p", "m", 0, 1), others, beside=3)
    assert held.together[0] == [0]
    assert sorted(held.together[1:4]) == [[3], [4], [5]]
    assert held.together[4:] == [[1, 2]]


def test_a_large_question_does_not_wait_for_small_ones_about_the_same():
    _, held = _run(Batches(2, 10, 100, 5), ("p", "m", 0, 1), [("p", "m", 1, 6), ("p", "m", 2, 1)], beside=1)
    assert held.together == [[0], [1], [2]]


@pytest.mark.parametrize("most", [1, 10])
def test_small_questions_wait_for_no_large_ones_that_have_all_threads(most):
    others = [("p", "m", 1, 7), ("p", "m", 2, 1), ("p", "m", 3, 1), ("p", "n", 4, 1)]
    _, held = _run(Batches(1, most, 100, 5), ("p", "m", 0, 6), others, beside=1)
    assert held.together[:2] == [[0], [2] if most == 1 else [2, 3]]
    assert held.most_at_once == 2


def test_questions_that_come_at_once_are_computed_together():
    held = _Held()
    held.free()

    async def ask():
        batches = Batches(2, 10, 100, 5)
        async with anyio.create_task_group() as group:
            for k in range(4):
                group.start_soon(batches.submit, "p", "m", held, k, 1)

    anyio.run(ask)
    assert held.together == [[0, 1, 2, 3]]


def test_an_answer_that_is_an_error_is_raised_for_its_question_alone():
    bad = ValueError("this one")
    answers, _ = _run(Batches(1, 10, 100, 5), ("p", "m", 0, 1), [("p", "m", 1, 1), ("p", "m", bad, 1)])
    assert answers == {0: "answer 0", 1: "answer 1", bad: bad}


def test_a_computation_that_fails_fails_its_batch_and_the_next_is_computed():
    batches = Batches(1, 10, 100, 5)

    def failing(questions):
        raise ValueError("broken")

    async def ask():
        with pytest.raises(ValueError, match="broken"):
            await batches.submit("p", "m", failing, 1, 1)
        return await batches.submit("p", "m", lambda questions: questions, 2, 1)

    assert anyio.run(ask) == 2


def test_who_went_away_is_not_computed_and_the_others_are():
    held = _Held()

    async def ask():
        batches = Batches(1, 10, 100, 5)
        async with anyio.create_task_group() as group:
            group.start_soon(batches.submit, "p", "m", held, 0, 1)
            await anyio.to_thread.run_sync(held.begun.acquire)
            with anyio.move_on_after(0):
                await batches.submit("p", "m", held, 1, 1)
            group.start_soon(batches.submit, "p", "m", held, 2, 1)
            await anyio.wait_all_tasks_blocked()
            held.free()

    anyio.run(ask)
    assert held.together == [[0], [2]]


def test_with_a_wait_the_first_has_company_too():
    held = _Held()
    held.free()

    async def ask():
        batches = Batches(1, 10, 100, 5, wait_s=0.05)
        async with anyio.create_task_group() as group:
            for k in range(3):
                group.start_soon(batches.submit, "p", "m", held, k, 1)

    anyio.run(ask)
    assert held.together == [[0, 1, 2]]


def test_batches_take_no_thread_from_other_work():
    others = [("p", k, k, 1) for k in range(1, 60)]
    # more wait than there are other threads; the thread that frees them still gets its turn
    answers, _ = _run(Batches(1, 10, 100, 5), ("p", 0, 0, 1), others)
    assert len(answers) == 60
