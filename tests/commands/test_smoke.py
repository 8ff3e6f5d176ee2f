"""The smoke test against real daemons, well ones and ill ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
import trio
from click.testing import CliRunner
from tests.client.answer_server import serve_answer

from trio_asr.bus.keys import Keys
from trio_asr.cli import cli
from trio_asr.client.consumer import Event, Message
from trio_asr.client.redis import connect_fleet
from trio_asr.commands.smoke import judge
from trio_asr.commands.smoke.ingest import read_ingest
from trio_asr.config import shard_prefix
from trio_asr.config.ingest import Platform
from trio_asr.core.fleet.route import shard_of
from trio_asr.lab.rig.children import clean_environment
from trio_asr.lab.rig.processes import Rig, Worker, rig
from trio_asr.lab.rig.valkey import free_port

SCRIPT = Path(__file__).parents[2] / "scripts/smoke.sh"
VENV = clean_environment(set()) | {"TRIO_ASR_VENV": str(Path(sys.executable).parents[1])}


async def smoke(
    r: Rig, port: int, *more: str, seconds: float = 4, **environment: str
) -> tuple[int, dict[str, Any]]:
    """Run it as operators do; the exit code and what it found."""
    environment |= VENV | {"ASR_WORKER_URL": f"http://127.0.0.1:{port}", "REDIS_URL": r.valkey.url}
    command = [str(SCRIPT), "--json", "--seconds", str(seconds), *more]
    with trio.fail_after(240):
        done = await trio.run_process(command, capture_stdout=True, check=False, env=environment)
    return done.returncode, msgspec.json.decode(done.stdout)


def failed(found: dict[str, Any]) -> dict[str, str]:
    return {step["check"]: step["says"] for step in found["steps"] if step["level"] == "FAIL"}


async def started(r: Rig, settings: dict[str, dict[str, Any]] | None = None) -> Worker:
    worker = r.worker(settings)
    await worker.start_and_wait()
    return worker


@pytest.mark.integration
async def test_a_deployment_that_works(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        worker = await started(r)
        code, found = await smoke(r, worker.http_port, "--log", str(worker.log))
        assert (code, failed(found)) == (0, {}), found
        steps = ["health", "metrics", "call", "transcripts", "connection", "log"]
        assert [step["check"] for step in found["steps"]] == steps
        assert found["interaction_id"].startswith("smoke-")
        client = redis.Redis.from_url(r.valkey.url)
        key = f"transcript.{found['interaction_id']}"
        assert client.exists(key)
        code, found = await smoke(r, worker.http_port, "--cleanup")
        assert code == 0
        assert not client.exists(f"transcript.{found['interaction_id']}")
        assert client.exists(key)
        client.close()


@pytest.mark.integration
async def test_the_mock_provider_needs_no_connection(tmp_path: Path) -> None:
    async with rig(tmp_path, settings={"asr": {"provider": "mock"}}) as r:
        worker = await started(r)
        code, found = await smoke(r, worker.http_port)
        assert (code, failed(found)) == (0, {})
        (says,) = [step["says"] for step in found["steps"] if step["check"] == "connection"]
        assert "no connection to Deepgram is expected" in says
        assert (await r.simulator.connections())["total"] == 0


@pytest.mark.integration
async def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        code, found = await smoke(r, free_port())
        assert (code, set(failed(found))) == (1, {"health"})
        assert "nobody answers" in failed(found)["health"]

        async with serve_answer(b"HTTP/1.1 503 Service Unavailable\r\n\r\n" + HEALTH) as (port, _):
            code, found = await smoke(r, port)
        assert (code, set(failed(found))) == (1, {"health"})
        assert "HTTP 503" in failed(found)["health"]

        worker = await started(r)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(strike, r)  # in the middle of the call
            code, found = await smoke(r, worker.http_port, "--log", str(worker.log), seconds=6)
        assert (code, set(failed(found))) == (1, {"connection"}), found
        assert "[1, 2]" in failed(found)["connection"]

        await worker.stop()
        await r.simulator.faults(refuse_status=401)
        worker = await started(r)
        code, found = await smoke(r, worker.http_port, seconds=2)
        assert code == 1
        assert failed(found)["transcripts"] == "no transcript came"


async def a_fleet(r: Rig, shards: int) -> list[Worker]:
    """Two members that hold all shards between them."""
    members = [r.worker({"fleet": {"shards": shards, "member": name}}) for name in ("a", "b")]
    for member in members:
        await member.start()
    keys = [Keys("asr-worker", shard_prefix("asr-worker", shard)).lease for shard in range(shards)]
    with connect_fleet(r.valkey.url) as client, trio.fail_after(60):
        while client.exists(*keys) < shards:  # noqa: ASYNC110
            await trio.sleep(0.1)
    return members


@pytest.mark.integration
@pytest.mark.soak
async def test_each_shard_of_a_fleet(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        member, other = await a_fleet(r, 4)
        code, found = await smoke(r, member.http_port, "--shards", "4", "--all-shards", seconds=2)
        assert (code, failed(found)) == (0, {}), found
        checks = sorted(step["check"] for step in found["steps"])
        assert checks == ["health", "metrics", *(f"shard {shard}" for shard in range(4))]
        assert sorted(shard_of(name, 4) for name in found["interaction_ids"]) == [0, 1, 2, 3]

        code, found = await smoke(r, other.http_port, "--shards", "4", "--shard", "2", "--cleanup")
        assert (code, failed(found)) == (0, {}), found
        assert shard_of(found["interaction_id"], 4) == 2
        (says,) = [step["says"] for step in found["steps"] if step["check"] == "cleanup"]
        assert says.startswith("{asr-worker.2}:transcript.smoke-")

        # Shards that nobody serves, since the fleet has fewer.
        code, found = await smoke(r, member.http_port, "--shards", "5", "--all-shards", seconds=2)
        assert (code, set(failed(found))) == (1, {"shard 4"}), found


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--shard", "1"], "must be below --shards 1"),
        (["--shards", "2", "--shard", "1", "--all-shards"], "goes neither with --shard"),
        (["--shards", "2", "--all-shards", "--log", "x"], "nor with the log of one member"),
    ],
)
def test_shards_that_make_no_sense(more: list[str], says: str) -> None:
    done = CliRunner().invoke(cli, ["smoke", *more])
    assert (done.exit_code, says in done.stderr) == (2, True)


SECRET = "secret-that-nobody-may-see"


@pytest.mark.integration
@pytest.mark.soak
async def test_a_call_that_begins_at_an_ingest(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    held = {"tenant": "acme", "id_prefix": "eu-"}
    generic = {
        "path": "/v1/ingest",
        "platform": "generic",
        "auth": "bearer",
        "token_file": f"{tmp_path}/secret",
    }
    exotel = {"path": "/exotel", "platform": "exotel", "user": "acme", "password_file": f"{tmp_path}/secret"}
    async with rig(tmp_path) as r:
        gateway = r.gateway([generic | held, exotel | held])
        await gateway.start_and_wait()
        port = (await started(r)).http_port
        place, more = f"127.0.0.1:{gateway.port}", ("--tenant", "acme", "--id-prefix", "eu-")

        code, found = await smoke(r, port, *more, INGEST_URL=f"http://{place}", INGEST_TOKEN=SECRET)
        assert (code, failed(found)) == (0, {}), found
        steps = ["health", "metrics", "ingest", "call", "transcripts", "connection"]
        assert [step["check"] for step in found["steps"]] == steps
        assert found["interaction_id"].startswith("eu-smoke-")

        url = f"ws://acme:{SECRET}@{place}/exotel"
        code, found = await smoke(r, port, *more, "--as", "exotel", INGEST_URL=url)
        assert (code, failed(found)) == (0, {}), found

        url = url.replace(SECRET, SECRET[::-1])
        code, found = await smoke(r, port, *more, "--as", "exotel", INGEST_URL=url)
        assert (code, set(failed(found))) == (1, {"call"})
        assert "refused 401" in failed(found)["call"]
        assert SECRET[::-1] not in str(found)

        url = f"ws://127.0.0.1:{free_port()}/v1/ingest"
        code, found = await smoke(r, port, INGEST_URL=url)
        assert (code, set(failed(found))) == (1, {"ingest"})


HEALTH = b'{"status":"degraded","provider":"deepgram","role":"active","problems":{"redis":40.0}}'


async def strike(r: Rig) -> None:
    while not (await r.simulator.connections())["open"]:  # noqa: ASYNC110 (another process)
        await trio.sleep(0.1)
    await trio.sleep(2)
    await r.simulator.strike(abort_after_s=0)


# ---- an ingest's URL


@pytest.mark.parametrize(
    ("url", "platform", "means"),
    [
        ("ws://asr.test/v1/ingest", "generic", ("ws://asr.test/v1/ingest", "", "token", "http://asr.test/health")),
        ("https://asr.test/", "generic", ("wss://asr.test/v1/ingest", "", "token", "https://asr.test/health")),
        (
            "wss://a%40b:p%2Fw@asr.test:8443/x?y=1", "exotel",
            ("wss://asr.test:8443/x?y=1", "a@b", "p/w", "https://asr.test:8443/health"),
        ),
        ("wss://asr.test", "twilio", ("wss://asr.test", "", "token", "https://asr.test/health")),
    ],
)  # fmt: skip
def test_what_an_ingest_url_means(url: str, platform: Platform, means: tuple[str, ...]) -> None:
    found = read_ingest(url, platform=platform, tenant="t", id_prefix="", token="token", key="")
    assert found.secret is not None
    assert (found.url, found.user, found.secret.reveal(), found.health_url) == means
    assert "token" not in repr(found)


@pytest.mark.parametrize("url", ["redis://asr.test", "wss:///x", "asr.test", "ws://[asr.test/"])
def test_what_is_no_url_of_an_ingest(url: str) -> None:
    with pytest.raises(ValueError, match=r"^must be like wss://host/path$"):
        read_ingest(url, platform="generic", tenant="t", id_prefix="", token="", key="")


# ---- the judgements


def said(*seqs: int, **more: Any) -> list[Message]:
    fields: dict[str, Any] = {"start_ms": 0, "end_ms": 500, "connection": 1, "type": "final", "text": "yes"}
    return [Message(interaction_id="i", seq=seq, **{**fields, **more}) for seq in seqs]


@pytest.mark.parametrize(
    ("messages", "wrong"),
    [
        (said(1, 2, 5), None),
        ([], "no transcript"),
        (said(1, 2, type="partial"), "no final"),
        (said(1, 1), "seq does not rise"),
        (said(3, 2), "seq does not rise"),
        (said(0, 1), "seq does not rise"),
        (said(1, text=" "), "empty text"),
        (said(1, start_ms=None), "times"),
        (said(1, end_ms=1200), "times"),
        (said(1, start_ms=600), "times"),
        (said(1) + said(2, end_ms=400), "out of order"),
        (said(1, channel=0) + said(2, channel=1, end_ms=400), None),
        (said(1, channel=0) + said(2, channel=0, end_ms=400), "out of order"),
    ],
)
def test_transcripts(messages: Sequence[Message], wrong: str | None) -> None:
    found = judge.transcripts(messages, 1000)
    assert found == [] if wrong is None else any(wrong in line for line in found)


def test_connections() -> None:
    opened = Event("connection_opened", "i")
    assert judge.connections(said(1), [opened]) == []
    assert judge.connections(said(1), [opened, opened])
    assert judge.connections(said(1) + said(2, connection=2), [opened])
    assert judge.connections(said(1), [])


def test_a_page_of_somebody_else() -> None:
    assert judge.page('asr_calls 0.0\ndeepgram_connections_closed_total{code="1000"} 1.0\n') == []
    assert judge.page("# asr_calls\nprocess_cpu_seconds_total 1\nasr_calls 0\n") == [
        "no line begins with deepgram_"
    ]


GOOD = [
    "Creating new connection for i",
    "Processing audio buffer i",
    "Sending audio chunk i",
    "Reusing existing connection for i",
]


def test_logs() -> None:
    assert judge.log([*GOOD, "Timeout waiting for transcript other"], "i")[1:] == []
    assert judge.log(["nothing"], "I") == ["the log has no line of this call: is it the right log?"]
    assert judge.log([*GOOD, GOOD[0]], "i") == ["'Creating new connection' 2 times, not once"]
    assert judge.log(GOOD[:3], "i") == ["'Reusing existing connection for i' is missing"]
    assert judge.log([*GOOD, "Buffer already processing i"], "i") == ["'Buffer already processing' is there"]
