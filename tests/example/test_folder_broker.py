"""The folder broker: messages appear complete, in order, and once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kombu import Connection

from example_project import folder_broker

ROOT = Path(__file__).resolve().parents[2]
MESSAGES = 300
WRITER = """
import json, sys
from kombu import Connection
from example_project import folder_broker
folder_broker.install()
with Connection("folder://", transport_options=json.loads(sys.argv[1])) as connection:
    queue = connection.SimpleQueue("photos")
    for number in range(int(sys.argv[2])):
        queue.put({"number": number, "padding": "x" * 20_000})
"""


@pytest.fixture
def options(tmp_path: Path) -> dict[str, str]:
    folder_broker.install()
    (tmp_path / "messages").mkdir()
    (tmp_path / "control").mkdir()
    return {
        "data_folder_in": str(tmp_path / "messages"),
        "data_folder_out": str(tmp_path / "messages"),
        "control_folder": str(tmp_path / "control"),
    }


def test_messages_of_another_process_arrive_whole_in_order_and_once(
    options: dict[str, str],
) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, json.dumps(options), str(MESSAGES)], cwd=ROOT
    )
    with Connection("folder://", transport_options=options) as connection:
        queue = connection.SimpleQueue("photos")
        numbers = []
        while len(numbers) < MESSAGES:
            message = queue.get(timeout=30)
            message.ack()
            numbers.append(message.payload["number"])
        assert queue.qsize() == 0
    assert writer.wait(30) == 0
    assert numbers == list(range(MESSAGES))


def test_a_queue_that_is_declared_twice_is_bound_once(options: dict[str, str]) -> None:
    # A separate name: kombu caches for the whole process which queues it has bound.
    for _ in range(2):
        with Connection("folder://", transport_options=options) as connection:
            queue = connection.SimpleQueue("prints")
            assert len(queue.channel.get_table("prints")) == 1
            queue.close()
