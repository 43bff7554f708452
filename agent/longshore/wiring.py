"""The only wiring, with `neighbours`: configuration → host → lifecycle → front doors.

Started in that order, stopped in the reverse one. Stopping never touches a container: the shims
hold them, the journal knows them, and the next start finds them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from longshore.bus.server import BusServer
from longshore.config import Config
from longshore.host.archives import Archives
from longshore.host.containerd.client import Client
from longshore.host.containerd.events import OUT_OF_MEMORY, Events
from longshore.host.journal import Journal
from longshore.host.log_keeper import LogKeeper
from longshore.host.log_watch import LogWatch
from longshore.host.logs import Logs
from longshore.lifecycle.admission import Admission
from longshore.lifecycle.agent import Agent
from longshore.lifecycle.asking import Asking
from longshore.lifecycle.changes import Changes
from longshore.lifecycle.clock import Clock
from longshore.lifecycle.collection import Collection, Watermarks
from longshore.lifecycle.containers import Containers
from longshore.lifecycle.converge import Converge
from longshore.lifecycle.copying import Copying
from longshore.lifecycle.execs import Commands
from longshore.lifecycle.fetches import Fetches
from longshore.lifecycle.fitting import Fitting
from longshore.lifecycle.health import Health, Rates
from longshore.lifecycle.history import History
from longshore.lifecycle.holding import Holding
from longshore.lifecycle.holds import Holds
from longshore.lifecycle.images import Images
from longshore.lifecycle.log_keeping import LogKeeping
from longshore.lifecycle.neighbour import Neighbour
from longshore.lifecycle.node import Node
from longshore.lifecycle.pipeline import attempt
from longshore.lifecycle.planning import Planning
from longshore.lifecycle.pruning import Pruning
from longshore.lifecycle.pulls import Pulls
from longshore.lifecycle.rebuilding import Rebuilding
from longshore.lifecycle.restarts import Restarts
from longshore.lifecycle.shelf import Shelf
from longshore.lifecycle.stats import Stats
from longshore.lifecycle.story import Stories
from longshore.lifecycle.sweep import Pace, Sweep
from longshore.lifecycle.timers import Timers
from longshore.lifecycle.trials import Trials
from longshore.lifecycle.updates import Updates
from longshore.lifecycle.versioning import Verdicts
from longshore.lifecycle.volumes import Volumes
from longshore.lifecycle.waiting import Waiting
from longshore.lifecycle.workers import Workers
from longshore.local.server import LocalServer
from longshore.local.spool import empty_spool
from longshore.model.capacity import ADDRESSES, AUTOMATIC_PORTS, USER_RANGES, Stock
from longshore.model.idranges import IdRanges
from longshore.model.layout import Layout
from longshore.model.restarts import Backoff
from longshore.model.trials import is_probed
from longshore.neighbours import meet
from longshore.settings import Reload

CLOCK = Clock(time.time, time.perf_counter)
#: Seconds that each part has to leave, though those before it have used up all of them.
_LAST_MOMENT = 0.5
#: How many new versions of containers are judged in a second, and how late at most.
_VERDICTS, _DAY = 100.0, 86400.0


class Daemon:
    """Built and running once constructed; `stop` takes everything down again, last first."""

    def __init__(self, config: Config) -> None:
        self._leave: float = config.converge.stop_timeout
        self._stops: list[Callable[[float], bool | None]] = []
        try:
            self._start(config)
        except BaseException:
            self.stop()
            raise

    def _start(self, config: Config) -> None:
        layout = Layout(config.state_dir, config.run_dir)
        for folder in (
            layout.containers,
            layout.volumes,
            layout.namespaces,
            layout.user_namespaces,
            layout.injected,
            layout.stdio,
            layout.spool,
        ):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        journal = self.journal = Journal(layout.journal, CLOCK.now)
        self._stops.append(lambda left: journal.close())
        # Not before the journal's lock: what lies there could be another agent's.
        empty_spool(layout.spool)
        client = Client(
            Path(config.containerd.socket), config.containerd.namespace, config.containerd.timeout
        )
        self._stops.append(lambda left: client.close())
        there = meet(config, layout, client)
        self._stops.append(lambda left: there.close())

        changes = Changes(CLOCK.now)
        workers = Workers(config.converge.workers)
        images = config.images
        holds = Holds()
        pulls = Pulls(
            there.host.images,
            there.sources,
            holds,
            CLOCK,
            parallel=images.pulls,
            timeout=images.pull_timeout,
        )
        fetches = Fetches(pulls)
        seen: set[str] = set()
        shelf = Shelf(there.host.images, journal, pulls, holds, seen)
        marks = Watermarks(images.high_watermark, images.low_watermark, images.min_age)
        collection = Collection(shelf, marks, there.image_space, CLOCK.now)
        # Apart from the others: however many start again and again, verbs find a free worker.
        starters = Workers(max(1, config.converge.workers // 2), "restart")
        backoff = Backoff(
            config.restart.first, config.restart.factor, config.restart.max, config.restart.reset
        )
        timers = Timers(CLOCK, starters.soon, config.restart.rate, config.restart.max)
        restarts = Restarts(timers, backoff, CLOCK, random.random)
        ports = range(config.network.port_min, config.network.port_max + 1)
        admission = Admission(
            there.host,
            there.sources,
            {there.network.name: there.network},
            ports,
            there.policy,
            there.flavors,
            there.stock,
            seen,
            IdRanges(config.userns.first, config.userns.count),
            there.beside,
        )
        holding = Holding(admission)
        verdicts = Timers(CLOCK, workers.soon, _VERDICTS, _DAY)
        trials = Trials(holding, CLOCK, config.update.probation, verdicts, backoff, random.random)
        converge = Converge(
            *(there.host, journal, changes, CLOCK, workers.soon),
            *(fetches, restarts, trials),
        )
        pace = Pace(config.converge.interval, config.converge.retention)
        stats = Stats(journal, there.meters, CLOCK)
        volumes = Volumes(there.host, journal, CLOCK.now)
        log_keeping = LogKeeping(
            LogWatch(layout.containers), LogKeeper(layout, config.logs.max_size), time.thread_time
        )
        sweep = Sweep(
            *(there.host, journal, converge, CLOCK, pace, workers.soon),
            *(restarts, trials),
            lambda: [
                *there.findings(),
                *reload.findings(),
                *log_keeping.findings(),
                *health.findings(),
            ],
            collect=collection.run,
            volumes=volumes.look,
            rest=stats.rest,
        )
        reload = Reload(config, there.apply, sweep.look)
        self.reload = reload.run
        archives = Archives([Path(root) for root in images.archive_roots])
        containerd = Neighbour("containerd", there.containerd_version, CLOCK.now)
        neighbours = [containerd.status]
        containers = Containers(
            *(journal, converge, admission, changes, CLOCK.now, workers.soon),
            *(fetches, holds, there.host.tasks),
        )
        planning = Planning(journal, admission, holding, CLOCK.now)
        health = Health(
            *(journal, changes, there.host.tasks),
            Asking(there.probes, there.execs, CLOCK.timer).ask,
            {"restart": containers.restart, "stop": containers.stop},
            CLOCK,
            Rates(config.health.workers, config.health.exec_rate),
            random.random,
        )
        agent = Agent(
            containers=containers,
            stories=Stories(journal, CLOCK.now, sweep.next, pace.retention),
            admission=admission,
            fitting=Fitting(journal, admission, CLOCK.now),
            volumes=volumes,
            images=Images(
                *(there.host, journal, converge, pulls, shelf, holds),
                archives.created,
                workers.soon,
            ),
            node=Node(
                there.identity,
                lambda: [
                    *there.stock(),
                    Stock(ADDRESSES, "count", there.network.size),
                    Stock(AUTOMATIC_PORTS, "count", len(ports)),
                    Stock(USER_RANGES, "count", config.userns.count),
                ],
                journal,
                neighbours,
                lambda: sweep.last,
                pulls.transfers,
            ),
            commands=Commands(
                journal,
                there.execs,
                there.consoles,
                there.host.tasks,
                there.privileged,
                changes,
                CLOCK.now,
            ),
            seen=changes,
            usage=stats,
            log_files=Logs(layout),
            spool_dir=layout.spool,
            waiting=Waiting(journal, changes, time.monotonic),
            pruning=Pruning(journal, containers, CLOCK.now),
            planning=planning,
            updates=Updates(
                *(journal, planning, there.host.files, Verdicts(journal, changes)),
                *(CLOCK.now, containers.carry_out),
            ),
            rebuilding=Rebuilding(
                *(journal, planning, there.host.files, fetches, holds),
                *(CLOCK.now, containers.carry_out),
            ),
            history=History(journal),
            archive=archives.opened,
            copying=Copying(there.host, journal, converge, there.copies, CLOCK.now),
            newest=health.newest,
        )

        def reconnected() -> None:
            containerd.up()
            sweep.now()

        self._run(log_keeping.start, log_keeping.stop)
        sweep.run()
        self._run(there.execs.clearing.start, there.execs.clearing.stop)
        self._run(lambda: workers.start(converge.visit), workers.stop)
        self._run(lambda: starters.start(converge.visit), starters.stop)
        self._run(timers.start, timers.stop)
        changes.tell(lambda record: workers.soon(record.id) if is_probed(record) else None)
        self._run(verdicts.start, verdicts.stop)
        self._run(sweep.start, sweep.stop)
        self._run(health.start, health.stop)

        def heard(id: str, topic: str) -> None:
            if topic == OUT_OF_MEMORY:
                attempt(topic, converge.out_of_memory, id)
            workers.soon(id)

        events = Events(client, reconnected, containerd.down, heard)
        self._run(events.start, events.close)
        local = LocalServer(
            agent,
            Path(config.local.socket),
            group=config.local.group,
            verbs=config.local.workers,
            streams=config.local.streams,
            max_message=config.bus.max_message,
            max_image=images.archive_max,
        )
        self._run(local.start, lambda left: local.stop())
        if config.bus.enabled:
            bus = BusServer(
                config.raw,
                None,
                config.node_name,
                agent,
                workers=config.bus.workers,
                max_message=config.bus.max_message,
            )
            neighbours.append(bus.state)
            self._run(bus.start, bus.stop)
        # The first to stop: the front doors wait for creates, and those may wait for an image.
        self._stops.append(pulls.stop)
        # And for commits, which hold a container frozen: that must go on before we leave.
        self._stops.append(lambda left: there.interrupt())
        # Before all that, which may take long: whose process ends from now on is the next start's
        # to settle. At the node's shutdown all end as we do, and who comes back after it must not
        # depend on who was faster.
        self._stops += [lambda left: starters.leave(), lambda left: workers.leave()]

    def _run(self, start: Callable[[], None], stop: Callable[[float], bool | None]) -> None:
        start()
        self._stops.append(stop)

    def stop(self) -> bool:
        """Everybody has a part of `[converge] stop_timeout`, however the others fare.

        Returns False if something was still at work when its time to leave was over.
        """
        until = CLOCK.timer() + self._leave
        whole = True

        def end(stop: Callable[[float], bool | None]) -> None:
            nonlocal whole
            whole &= stop(max(_LAST_MOMENT, until - CLOCK.timer())) is not False

        for stop in reversed(self._stops):
            whole &= attempt("stop", end, stop) is None
        self._stops.clear()
        return whole
