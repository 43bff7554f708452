"""The main job, as a scheduler and an operator see it. Each step shows and checks what it says."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.demo import bare, leftovers, limits, reach, speed
from bench.demo.screen import Screen
from bench.demo.stage import Stage
from bench.lab import process
from bench.lab.image import busybox_archive
from longshore.bus.client import ComputeClient
from longshore.cli import tables, units
from longshore.cli.output import Column, print_facts, print_table
from longshore.model.status import ContainerStatus

IMAGE = "docker.io/library/busybox:latest"
MEMORY, CPUS, PIDS = 64 * 2**20, 0.5, 32
#: Prints, serves what is mounted at /www with a line of log for each request, and ends in order.
_SERVE = "trap 'echo stopping; exit 0' TERM; echo serving /www; httpd -f -vv -p 80 -h /www & wait"


@dataclass
class Play:
    """What the steps hand on to each other."""

    stage: Stage
    screen: Screen
    nodes: ComputeClient
    page: bytes
    ids: list[str] = field(default_factory=list)
    snapshotter: str = ""
    runtime: str = ""


def tell(stage: Stage, screen: Screen, creates: int, *, goal: bool) -> None:
    """The whole job.

    Args:
        creates: how many containers are compared with bare calls.
        goal: whether the demo fails when a create takes too long beside them.

    Raises:
        Broken: something is not as promised.
        LongshoreError: the agent refused something, or failed.
    """
    with screen.step("Start containerd, RabbitMQ and the agent"):
        start(stage, screen)
    with ComputeClient(stage.url, origin="demo", timeout=30.0) as nodes:
        play = Play(stage, screen, nodes, f"Longshore: hello, {uuid4()}\n".encode())
        with screen.step("Load an image made of busybox-static, over the bus"):
            load(play)
        with screen.step("Ask the node for its status, over the bus"):
            show_node(play)
        with screen.step("Create a container that serves a page, over the bus"):
            web = create(play)
        with screen.step("Look at it as an operator does, on the node"):
            show_container(play, web)
        with screen.step("Fetch the page through the published port"):
            fetch_page(play, web)
        with screen.step("Read its log"):
            show_log(play, web)
        with screen.step("Read its limits back from the kernel"):
            show_limits(play, web)
        with screen.step("Restart the agent: SIGTERM, then kill -9"):
            restart_agent(play, web)
        with screen.step("Stop and delete the container, over the bus"):
            stop_and_delete(play, web)
        with screen.step(f"Create {creates} more, each beside one made by bare containerd calls"):
            compare(play, creates, goal=goal)
        with screen.step("Count what is left of all of them"):
            count_leftovers(play)


def start(stage: Stage, screen: Screen) -> None:
    stage.set_up()
    stage.agent.start()
    reach.await_bus(stage)
    owner = {True: "in use here; the demo has a namespace of its own", False: "private"}
    screen.say(f"containerd at {stage.containerd_socket} ({owner[bool(stage.foreign_containerd)]})")
    broker = stage.url.rpartition("@")[2].strip("/")
    screen.say(f"RabbitMQ at {broker} ({'in use here' if stage.foreign_url else 'private'})")
    screen.say(f"longshore-agent, process {stage.agent.pid}, serves node {stage.node}")


def load(play: Play) -> None:
    archive = busybox_archive(play.stage.agent.archives / "busybox.tar", IMAGE)
    image = play.nodes.load_image(play.stage.node, archive)[0]
    listed = play.nodes.list_images(play.stage.node)
    play.screen.say(f"{image.name} ({units.size(image.size)}, {image.digest[:19]})")
    play.screen.holds(f"the node lists {IMAGE}", IMAGE in [one.name for one in listed], listed)


def show_node(play: Play) -> None:
    node = play.nodes.node_status(play.stage.node)
    play.runtime, play.snapshotter = node.runtime, node.snapshotter
    now = time.time()
    print_facts(tables.node_facts(node, now))
    for columns, rows in (
        (tables.NEIGHBOURS, tables.neighbour_rows(node, now)),
        (tables.RESOURCES, tables.resource_rows(node)),
        (tables.CANNOT, tables.cannot_rows(node)),
    ):
        if rows:
            print()
            print_table(columns, rows)
    states = {one.name: one.state for one in node.neighbours}
    play.screen.holds("containerd and RabbitMQ are up", set(states.values()) == {"up"}, states)


def spec(play: Play, id: str, name: str) -> dict[str, Any]:
    """What a scheduler asks for: JSON types only."""
    return {
        "id": id,
        "name": name,
        "image": IMAGE,
        "command": ["sh", "-c", _SERVE],
        "limits": {"memory": MEMORY, "cpus": CPUS, "pids": PIDS},
        "ports": [{"container_port": 80}],
        "mounts": [
            {"type": "bind", "source": str(_site(play)), "target": "/www", "read_only": True}
        ],
    }


def _site(play: Play) -> Path:
    return play.stage.agent.volumes / "site"


def create(play: Play) -> ContainerStatus:
    _site(play).mkdir(exist_ok=True)
    (_site(play) / "index.html").write_bytes(play.page)
    id = str(uuid4())
    play.ids.append(id)
    wanted = spec(play, id, "web")
    play.screen.say("create the container")
    play.screen.say("\n".join(f"    {key}: {json.dumps(value)}" for key, value in wanted.items()))
    began = time.perf_counter()
    status = play.nodes.create(play.stage.node, wanted)
    took = units.brief(time.perf_counter() - began)
    play.screen.holds(f"the answer after {took}: it runs", status.state == "running", status)
    play.screen.parts({step.name: step.seconds for step in status.steps})
    return status


def show_container(play: Play, web: ContainerStatus) -> None:
    reach.operate(play.stage, "ps")
    print()
    reach.operate(play.stage, "inspect", "-o", "table", web.name)
    shown = play.nodes.show(play.stage.node, web.id)
    play.screen.holds("the bus says the same process", shown.pid == web.pid, shown)


def fetch_page(play: Play, web: ContainerStatus) -> None:
    port = web.ports[0].host_port
    for address in ("127.0.0.1", reach.address(web)):
        got = reach.fetch(address, port)
        play.screen.holds(
            f"http://{address}:{port}/ answers {got.decode().strip()!r}", got == play.page, got
        )


def show_log(play: Play, web: ContainerStatus) -> None:
    text = reach.operate(play.stage, "logs", web.name, capture=True)
    play.screen.say(f"$ longshore logs {web.name}\n{text}")
    requests = text.count("url:/")
    play.screen.holds("it says that it serves", "serving /www" in text, text)
    play.screen.holds(f"{requests} requests are in it", requests >= 2, text)


def show_limits(play: Play, web: ContainerStatus) -> None:
    assert web.pid is not None
    has = limits.read(web.pid, web.id)
    asked = {"memory": MEMORY, "cpus": CPUS, "pids": PIDS}
    titles = (Column("LIMIT"), Column("ASKED"), Column("HAS"), Column("FILE", shrink=True))
    print_table(
        (*titles, Column("SAYS")),
        [
            (name, f"{value:.10g}", f"{has[name].value:.10g}", str(has[name].file), has[name].text)
            for name, value in asked.items()
        ],
    )
    same = all(has[name].value == value for name, value in asked.items())
    play.screen.holds("the kernel has each limit as asked", same, has)


def restart_agent(play: Play, web: ContainerStatus) -> None:
    agent, screen = play.stage.agent, play.screen
    assert web.pid is not None
    before = process.look(web.pid)
    for how, end in (("SIGTERM", agent.stop), ("kill -9", agent.kill)):
        old = agent.pid
        end()
        screen.holds(f"{how}: agent {old} has ended", agent.running() is None)
        mark = f"no-agent-{how[-2:].strip('-')}.html"
        port = web.ports[0].host_port
        got = reach.fetch("127.0.0.1", port)
        screen.holds("without an agent the page still answers", got == play.page, got)
        reach.fetch("127.0.0.1", port, f"/{mark}", status=404)
        agent.start()
        now = play.nodes.show(play.stage.node, web.id)
        same = now.state == "running" and (now.pid, now.started_at) == (web.pid, web.started_at)
        screen.holds(
            f"agent {agent.pid} finds it running: process {now.pid}, as before, "
            f"{tables.status_text(now, time.time()).lower()}",
            same and process.look(web.pid) == before,
            now,
        )
        log = reach.operate(play.stage, "logs", web.name, capture=True)
        screen.holds("what it wrote meanwhile is in its log", mark in log, log)


def stop_and_delete(play: Play, web: ContainerStatus) -> None:
    nodes, screen, node = play.nodes, play.screen, play.stage.node
    stopped = nodes.stop(node, web.id)
    ended = stopped.state == "stopped" and stopped.exit_code == 0
    screen.holds("stopped by its SIGTERM, exit code 0", ended, stopped)
    log = reach.operate(play.stage, "logs", web.name, capture=True)
    screen.holds("the log has its last word, 'stopping'", "stopping" in log, log)
    gone = nodes.delete(node, web.id)
    screen.holds("deleted", gone.state == "absent", gone)
    listed = nodes.list(node)
    screen.holds("the node lists no container", not listed, listed)


def compare(play: Play, creates: int, *, goal: bool) -> None:
    stage = play.stage
    bare_place = bare.place(
        stage.containerd_socket,
        stage.bare_namespace,
        stage.agent.archives / "busybox.tar",
        stage.folder / "bare",
        cgroup=stage.bare_cgroup,
        runtime=play.runtime,
        snapshotter=play.snapshotter,
    )
    with bare_place as place:

        def measure() -> speed.Comparison:
            found = speed.compare(
                play.nodes, stage.node, place, lambda id, name: spec(play, id, name), creates
            )
            play.ids += found.ids
            return found

        if goal:
            speed.judge(play.screen, measure)
        else:
            speed.show(measure())
            play.screen.say("\nnot judged here: --no-goal")


def count_leftovers(play: Play) -> None:
    found = leftovers.count(play.stage, play.ids, play.snapshotter)
    # The kernel takes the veths of a namespace away some 100 ms after it.
    until = time.monotonic() + 10.0
    while any(found.values()) and time.monotonic() < until:
        time.sleep(0.1)
        found = leftovers.count(play.stage, play.ids, play.snapshotter)
    for kind, things in found.items():
        play.screen.say(f"{kind:22}{len(things)}")
    left = [f"{kind} {thing}" for kind, things in found.items() for thing in things]
    play.screen.holds(f"nothing is left of {len(play.ids)} containers", not left, left)
    node = play.nodes.node_status(play.stage.node)
    claimed = {one.name: one.claimed for one in node.resources if one.name != "disk"}
    play.screen.holds("the node has nothing claimed", not any(claimed.values()), claimed)


def stay(stage: Stage, screen: Screen) -> str:
    """For --keep: makes the container once more; returns what to try with it."""
    with ComputeClient(stage.url, origin="demo", timeout=30.0) as nodes:
        web = create(Play(stage, screen, nodes, b"Longshore: hello, you\n"))
    port = web.ports[0].host_port
    program = os.path.relpath(reach.LONGSHORE)
    return f"""\
export LONGSHORE_SOCKET={stage.agent.socket}
{program} status
{program} ps
{program} inspect -o table web
{program} logs -f web
{program} run -d --name second --memory 64m --cpus 0.5 -p 80 {IMAGE}
{program} events
curl http://127.0.0.1:{port}/
{os.path.relpath(sys.executable)} -c 'from longshore.bus.client import ComputeClient as C
print(C("{stage.url}").list("{stage.node}"))'

the agent's log: {stage.agent.log}
to end it:       make demo-stop, or: {os.path.relpath(sys.executable)} -m bench.demo --stop"""
