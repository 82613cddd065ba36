"""Manners: rate, requests at once, waits, time-outs, redirects, User-Agent."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from crawler_standin import StandIn, serving

from crawler import (
    BadResponseError,
    GivenUpError,
    NotFoundError,
    ParsedResponse,
    RequestPolicy,
    Response,
    SelectionError,
    ServiceError,
    Session,
    StoppedError,
    is_loopback,
    retry_after,
    settle,
)

HOME = "model/identifiers"


@pytest.fixture
def world() -> Iterator[StandIn]:
    with serving(StandIn()) as served:
        yield served


def session(world: StandIn, **policy: object) -> Session:
    given = {"rate": 0, "first_wait": 0.001, **policy}
    return Session(world.url, policy=RequestPolicy(**given))  # type: ignore[arg-type]


def body(answer: Response) -> bytes:
    return answer.body


def test_rate_spaces_the_starts_of_all_threads(world: StandIn) -> None:
    polite = session(world, rate=50.0, at_once=3)
    begin = time.monotonic()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: polite.get(HOME, read=body), range(11)))
    assert time.monotonic() - begin >= 10 / 50.0 - 0.01


def test_never_more_at_once_than_allowed(world: StandIn) -> None:
    world.delay = 0.02
    polite = session(world, at_once=2)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: polite.get(HOME, read=body), range(20)))
    assert world.peak == 2


def test_a_stalled_answer_is_given_up_and_its_slot_stays_taken(world: StandIn) -> None:
    world.fault = lambda path, attempt: "stall" if attempt == 1 and HOME in path else None
    world.stall = 0.5
    polite = session(world, timeout=0.3, at_once=1)
    with ThreadPoolExecutor(2) as pool:
        stalled = pool.submit(polite.get, HOME, read=body)
        while not world.asked:
            time.sleep(0.01)
        other = pool.submit(polite.get, "search", {"query": "x", "offset": "0", "numResults": "1"}, read=body)
        assert stalled.result().value == b'{"hits": 0, "models": []}'
        assert other.result().value
    assert polite.requests == 3
    assert world.peak == 1, "the server was still at work on the first one"


def test_retry_after_is_honoured(world: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, seconds in (("7", 7.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", None)):
        assert retry_after({"retry-after": text}) == seconds
    world.fault = lambda path, attempt: ("busy", "limit", None)[attempt - 1]
    world.retry_after = "7"
    polite = session(world)
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        polite._next_start = 0.0

    monkeypatch.setattr(polite, "_pause", pause)
    assert polite.get(HOME, read=body).value
    assert min(waits) >= 7.0
    assert polite.requests == 3
    world.forget()
    world.retry_after = "86400"
    with pytest.raises(GivenUpError, match="asked to wait 86400 s"):
        polite.get(HOME, read=body)
    assert polite.requests == 4


def test_waits_grow_are_jittered_and_bounded() -> None:
    calm = RequestPolicy(first_wait=1.0, longest_wait=8.0)
    for attempt, middle in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (9, 8.0)):
        waits = {calm.wait(attempt) for _ in range(50)}
        assert len(waits) > 40
        assert 0.5 * middle <= min(waits) <= max(waits) <= 1.5 * middle
    assert calm.wait(1, 30.0) == 30.0


@pytest.mark.parametrize("fault", ["busy", "limit", "reset", "short", "corrupt"])
def test_gives_up_after_all_tries_with_one_sentence(world: StandIn, fault: str) -> None:
    world.fault = lambda path, attempt: f"{fault}" if fault != "corrupt" or attempt % 2 else "short"
    polite = session(world, tries=3)
    with pytest.raises(GivenUpError, match=r"\(3 tries\); run the same command later$"):
        polite.get(HOME, read=body)
    assert polite.requests == 3


def test_404_is_told_at_once(world: StandIn) -> None:
    polite = session(world)
    with pytest.raises(NotFoundError):
        polite.get("nothing", read=body)
    assert polite.requests == 1


def test_a_body_that_is_not_its_etag_is_asked_for_again(world: StandIn) -> None:
    world.fault = lambda path, attempt: "corrupt" if attempt <= 2 else None
    reading = session(world).get(HOME, read=body)
    assert (reading.value, reading.sure) == (b'{"hits": 0, "models": []}', True)


def test_etags_that_are_no_digests_cost_two_requests_in_all(world: StandIn) -> None:
    world.fault = lambda path, attempt: "corrupt"  # always the same way: then it is the ETag that is something else
    polite = session(world)
    first, second = polite.get(HOME, read=body), polite.get(HOME, read=body)
    assert (first.sure, second.sure) == (False, False)
    assert first.value == second.value
    assert polite.requests == 3 + 1


@pytest.mark.parametrize(
    ("etag", "sure", "doubtful"),
    [
        ('"5d41402abc4b2a76b9719d911017c592"', True, False),
        ('"05d41402abc4b2a76b9719d911017c592"', True, False),  # as Spring writes it
        ('"aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"', True, False),
        ('"aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434e"', False, True),
        ('W/"5d41402abc4b2a76b9719d911017c592"', False, False),
        ('"v7"', False, False),
        (None, False, False),
    ],
)
def test_what_an_etag_says(etag: str | None, sure: bool, doubtful: bool) -> None:
    answer = Response(200, "u", {"etag": etag} if etag else {}, b"hello")
    assert (answer.sure, answer.doubtful) == (sure, doubtful)


def test_a_redirect_leads_only_to_known_hosts(world: StandIn) -> None:
    world.fault = lambda path, attempt: f"http://localhost:{world.port}/biomodels/{HOME}" if attempt == 1 else None
    assert session(world).get(HOME, read=body).value, "the names of this machine are one host"
    world.forget()
    world.fault = lambda path, attempt: f"http://127.0.0.2:{world.port}/biomodels/{HOME}" if attempt == 1 else None
    with pytest.raises(ServiceError, match="not a known host; it was not followed"):
        session(world).get(HOME, read=body)
    world.forget()
    world.fault = lambda path, attempt: f"{world.url}/{HOME}"
    with pytest.raises(ServiceError, match="redirected more than"):
        session(world).get(HOME, read=body)


def test_a_body_beyond_the_limit_is_not_read_to_its_end(world: StandIn) -> None:
    with pytest.raises(ServiceError, match="more than 0 MB"):
        session(world).get(HOME, read=body, limit=4)


def test_says_who_it_is(world: StandIn) -> None:
    session(world, contact="someone@example.org").get(HOME, read=body)
    (agent,) = world.agents
    assert agent.startswith("sbmlump-crawler/")
    assert "(contact: someone@example.org)" in agent
    with pytest.raises(SelectionError):
        session(world, contact="two words\r\nX-Header: 1")


@pytest.mark.parametrize("url", ["ftp://x/y", "www.biomodels.org", "", "file:///etc/passwd"])
def test_a_base_url_that_is_none(url: str) -> None:
    with pytest.raises(SelectionError, match="begins with https"):
        Session(url)


@pytest.mark.parametrize("wrong", [{"rate": -1}, {"at_once": 0}, {"timeout": 0}, {"tries": 0}])
def test_policies_that_make_no_sense(wrong: dict[str, int]) -> None:
    with pytest.raises(SelectionError):
        RequestPolicy(**wrong)  # type: ignore[arg-type]


def test_stopping_ends_every_wait(world: StandIn) -> None:
    world.fault = lambda path, attempt: "busy"
    slow = session(world, first_wait=60.0)
    threading.Timer(0.1, slow.stop.set).start()
    with pytest.raises(StoppedError):
        slow.get(HOME, read=body)


def test_nobody_listens() -> None:
    with pytest.raises(GivenUpError, match="no connection"):
        Session("http://127.0.0.1:9", policy=RequestPolicy(rate=0, tries=2, first_wait=0.001)).get("x", read=body)


def readings(*values: tuple[str, bool]) -> Iterator[ParsedResponse[str]]:
    return (ParsedResponse(value, sure, None, 0) for value, sure in values)


def test_settle_believes_certain_expected_or_repeated_readings() -> None:
    for given, expected, right in (
        ([("a", True)], None, "a"),
        ([("a", False)], "a", "a"),
        ([("x", False), ("a", False), ("a", False)], None, "a"),
    ):
        stream = readings(*given)
        assert settle(lambda s=stream: next(s), lambda value, e=expected: value == e) == right  # type: ignore[misc]
    stream = readings(*((str(i), False) for i in range(20)))
    with pytest.raises(BadResponseError, match="all differ"):
        settle(lambda: next(stream))


def test_proxies_come_from_the_environment_but_not_to_ourselves(
    world: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert session(world).get(HOME, read=body).value
    afar = Session("http://models.invalid", policy=RequestPolicy(rate=0, tries=1))
    with pytest.raises(GivenUpError, match="the proxy of the environment does not answer"):
        afar.get("x", read=body)
    loopback = {
        url: is_loopback(url) for url in ("http://127.0.0.2:1/x", "http://[::1]/", "http://localhost", "http://x")
    }
    assert list(loopback.values()) == [True, True, True, False]
