"""The loop that claims submissions and sees each of them through.

One turn: compare what the database says this dispatcher owns with its runs, take back what dead
dispatchers left, claim as many submissions as there are free slots. The runs have threads of their
own (`ramp_engine.run`), so that a turn never waits for a worker.

A turn starts when work is announced (`ramp_database.changes`), a run ends or a delayed submission
becomes due, and does no more than that calls for; every few seconds one does everything, so that a
missed announcement delays a submission and never strands it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from contextlib import suppress

from sqlalchemy.orm import Session

from ramp_database import changes, events, queue, submissions
from ramp_database.queue import Claim
from ramp_database.session import Database
from ramp_database.states import State
from ramp_engine import registry
from ramp_engine.base import Capability
from ramp_engine.config import EventConfig
from ramp_engine.errors import (
    ClaimLostError,
    DatabaseUnavailableError,
    NotFoundError,
)
from ramp_engine.heartbeat import Heartbeat
from ramp_engine.hook_calls import HookCalls
from ramp_engine.hung_calls import HungCalls
from ramp_engine.leftovers import Sweeper
from ramp_engine.observing import Everybody, HookTeller, Observer, Quiet
from ramp_engine.outcome import Stop
from ramp_engine.premises import Premises
from ramp_engine.provisions import Provisions
from ramp_engine.reaping import Place, Reaping
from ramp_engine.registration import Registration
from ramp_engine.room import Room
from ramp_engine.run import Run
from ramp_engine.run_context import RunContext
from ramp_engine.scoring import ScoreStep, WarmScoring

logger = logging.getLogger(__name__)

#: The longest time between two full turns, in seconds; work and the end of a run start one at once.
FULL_TURN_SECONDS = 5.0
#: Time until the next turn after one that failed, in seconds.
RETRY_SECONDS = 1.0
#: Added to the wait for a delayed submission, in seconds: SQLite's clock knows milliseconds.
_DUE_MARGIN_SECONDS = 0.002
#: How long a shutdown waits for the runs to end, in seconds.
SHUTDOWN_SECONDS = 30.0
#: How long a shutdown then waits for what hung to be recorded, in seconds.
RECORDING_SECONDS = 10.0
#: So many turns in a row that fail for an unknown reason end the dispatcher.
MAX_FAILED_TURNS = 20


class Dispatcher:
    """Evaluate the submissions of one event.

    Parameters
    ----------
    database : Database
    event : EventConfig
        Of an event that is deployed in `database`.
    is_exiting_when_done : bool
        Whether `run` returns when every submission has reached a final state.
    observer : Observer, optional
    score : ScoreStep, optional
        Rehearsals and tests, which have no predictions, put their own in place.
    premises : Premises, optional
        Where they have been begun; closed when `run` ends.

    Raises
    ------
    NotFoundError
        The event is not deployed.
    PluginError
        There is no such worker type.
    """

    def __init__(
        self,
        database: Database,
        event: EventConfig,
        *,
        is_exiting_when_done: bool = False,
        observer: Observer | None = None,
        score: ScoreStep | None = None,
        premises: Premises | None = None,
    ) -> None:
        self.event = event
        self.runs: dict[Claim, Run] = {}
        self._begun: set[Claim] = set()  # claims that had a run
        self.n_open = 0
        self._database = database
        self._hooks = HookCalls(event.hooks, event.directory)
        tellers = [HookTeller(event, self._hooks)] if event.hooks else []
        self._observer = Everybody([observer or Quiet(), *tellers])
        self._is_exiting_when_done = is_exiting_when_done
        self._ending = threading.Event()
        self._is_lost = threading.Event()
        self._hung_calls = HungCalls(event.dispatcher.hung_after_seconds)
        self._n_failed_turns = 0
        self._away_since: float | None = None  # monotonic seconds, while the database is away
        with database.session(read_only=True) as session:
            row = events.get_event(session, event.ramp.event_name)
            self._event_id = row.id
            deployment = events.identity(row)
        self._registration = Registration(database, self._event_id, event.dispatcher)
        self._watcher = changes.watch(database, self._event_id)
        self._has_changed = True
        self._has_more = True  # something may wait that can be claimed
        self._full_turn_at = self._due_at = 0.0  # of the monotonic clock
        premises = premises or Premises(event, registry.worker_class(event.worker_type))
        premises.deployment = deployment
        self._reaping = Reaping(
            database, lambda: Place(event, premises.worker_class, premises.shared)
        )
        self._room = Room(event.ramp.work_dir)
        self._sweeper = Sweeper(database, event, self._event_id)
        self._provisions = Provisions(
            database, event, premises, self._watcher.wake, is_scoring=score is None
        )
        self._context = RunContext(
            database=database,
            event=event,
            worker_class=premises.worker_class,
            shared=premises.shared,
            python=premises.python,
            bundle=self._provisions.bundle,
            score=score or WarmScoring(premises.score_servers),
            wake=self._watcher.wake,
            deployment=deployment,
        )

    def stop(self) -> None:
        """Ask the loop to end; safe in a signal handler."""
        self._ending.set()
        self._watcher.wake()

    def run(self) -> None:
        """Claim and evaluate until told to stop, or until all is done."""
        with self._hooks:  # outside: their last calls are made when nobody waits for us any more
            self._run()

    def _run(self) -> None:
        self._dispatcher_id = self._registration.register()
        heartbeat = Heartbeat(
            self._registration.beat,
            seconds=self.event.dispatcher.heartbeat_seconds,
            stalled_after_seconds=self.event.dispatcher.stalled_after_seconds,
            on_lost=self._lost,
        )
        try:
            with self._watcher, heartbeat:
                self._sweeper.sweep()
                with self._provisions:
                    self._loop(heartbeat)
        finally:
            self._registration.deregister()

    def _loop(self, heartbeat: Heartbeat) -> None:
        while not self._ending.is_set():
            heartbeat.turned()
            is_done = self._try_turn() and self._provisions.is_checked
            if is_done and self._is_exiting_when_done:
                break
            if self._hung_calls.are_too_many and not self.runs:
                self._wind_up()
                raise self._hung_calls.error()
            self._has_changed = self._watcher.wait(self._next_turn_at - time.monotonic())
        self._wind_up()

    @property
    def _next_turn_at(self) -> float:
        """When there is something to do though nothing wakes, in monotonic seconds."""
        return min(self._full_turn_at, self._due_at, *(run.hung_at for run in self.runs.values()))

    def _wind_up(self) -> None:
        """End the runs, and the making of the bundle that they may wait for."""
        deadline = time.monotonic() + SHUTDOWN_SECONDS
        for run in self.runs.values():
            run.stop(Stop.SHUTDOWN)
        self._provisions.stop()  # after: the end of the making is no crash of a run
        self._end_runs(Stop.SHUTDOWN)
        self._provisions.join(max(0.0, deadline - time.monotonic()))
        self._reaping.join(max(0.0, deadline - time.monotonic()))

    def _lost(self) -> None:
        """Note that another dispatcher took this one for dead, as after a laptop's sleep."""
        self._is_lost.set()
        self._watcher.wake()

    def _start_over(self) -> None:
        """End the runs, whose claims are gone, and go on as a new dispatcher."""
        logger.warning("another dispatcher took this one for dead: ending its runs, starting over")
        self._end_runs(Stop.CLAIM_LOST)
        with self._database.session(read_only=True) as session:
            row = events.get_event(session, self.event.ramp.event_name)
        if row.id != self._event_id:
            raise NotFoundError("event", self.event.ramp.event_name, hint="It was deleted")
        self._dispatcher_id = self._registration.register()
        self._is_lost.clear()

    def _try_turn(self) -> bool:
        """Go round once, whatever happens; a fault that stays ends the dispatcher after a while.

        Returns
        -------
        bool
            As `_turn`.
        """
        try:
            if self._is_lost.is_set():
                self._start_over()
            is_done = self._turn()
        except DatabaseUnavailableError as error:
            self._reaping.doubt()
            if self._away_since is None:
                self._away_since = time.monotonic()
                logger.warning("the database is away, will try again: %s", error)
            return False
        except NotFoundError:
            raise  # the event was deleted: there is nothing left to dispatch
        except Exception:
            self._n_failed_turns += 1
            logger.exception("a turn of the dispatcher failed")
            if self._n_failed_turns >= MAX_FAILED_TURNS:
                raise
            return False
        if self._away_since is not None:
            logger.warning("the database is back after %.0f s", time.monotonic() - self._away_since)
        self._n_failed_turns, self._away_since = 0, None
        return is_done

    def _turn(self) -> bool:
        """Go round once.

        Returns
        -------
        bool
            Whether every submission has reached a final state.
        """
        self._reap()
        self._hung_calls.leave_due(self.runs.values())
        self._room.check()
        now, full_turn_at = time.monotonic(), self._full_turn_at
        is_full, is_due = now >= full_turn_at, now >= self._due_at
        self._full_turn_at = now + RETRY_SECONDS  # should this one fail
        self._due_at = math.inf if is_due else self._due_at
        with self._database.session() as session:
            is_compared = is_full or (self._has_changed and bool(self.runs))
            unheard = self._reconcile(session) if is_compared else {}
            rescued = self._rescue(session) if is_full else queue.Rescued()
            adopted = {run.claim: run for run in rescued.adopted}
            rescued_claims = [*rescued.to_score, *adopted]
            self._has_more = self._has_more or self._has_changed or is_full or is_due
            claims = self._claim(session, self._n_free - len(rescued_claims) - len(unheard))
            taken = [*unheard, *rescued_claims, *claims]
            titles = submissions.titles(session, taken)
            is_last = self._is_exiting_when_done and not self.runs and not taken
            # no delay is shorter than the time between full turns: one of them sees it in time
            is_delayed = self._has_changed and not claims and not self._has_more
            if is_full or is_due or is_last or is_delayed:
                self._look_ahead(session)
        self._full_turn_at = now + self._full_turn_seconds if is_full else full_turn_at
        # before a run starts, which goes on with the folds that are found
        if rescued != queue.Rescued() or (is_full and self._sweeper.is_due):
            self._sweeper.sweep()
        elif is_full:
            self._sweeper.sweep_kept()
        for claim in taken:
            team, name = titles[claim.submission_id]
            run = Run(
                self._context,
                claim,
                team=team,
                name=name,
                is_tested=claim in rescued.to_score or unheard.get(claim) is State.TESTED,
                adopted=adopted.get(claim),
            )
            self._start(run)
        self._reaping.turn(self._dispatcher_id, is_urgent=rescued != queue.Rescued())
        return self.n_open == 0 and not self.runs

    @property
    def _full_turn_seconds(self) -> float:
        return min(FULL_TURN_SECONDS, self.event.dispatcher.stalled_after_seconds / 2)

    def _claim(self, session: Session, n_free: int) -> list[Claim]:
        """Fill the free slots; nothing is asked while the last answer was that no more waits."""
        if n_free < 1 or not self._has_more:
            return []
        claims = queue.claim(session, self._event_id, self._dispatcher_id, n_free)
        self._has_more = len(claims) == n_free
        return claims

    def _rescue(self, session: Session) -> queue.Rescued:
        limits = self.event.dispatcher
        return queue.rescue(
            session,
            self._event_id,
            self._dispatcher_id,
            limits.stale_after_seconds,
            limits.max_attempts,
            is_adopting=Capability.ADOPT in self._context.worker_class.capabilities,
        )

    @property
    def _n_free(self) -> int:
        """How many submissions may be claimed: none while too many calls hang, or without room.

        A run whose predictions are being scored has left its slot; with those, there are no more
        runs than twice the slots.
        """
        if not self._room.is_there or self._hung_calls.are_too_many:
            return 0
        n_workers = self.event.dispatcher.n_workers
        n_held = sum(run.holds_slot for run in self.runs.values())
        return min(n_workers - n_held, 2 * n_workers - len(self.runs))

    def _look_ahead(self, session: Session) -> None:
        outlook = queue.outlook(session, self._event_id)
        self.n_open = outlook.n_open
        due = math.inf if outlook.due_seconds is None else outlook.due_seconds
        self._due_at = time.monotonic() + due + _DUE_MARGIN_SECONDS

    def _reap(self) -> None:
        for claim, run in list(self.runs.items()):
            if not run.is_alive:
                del self.runs[claim]
                if run.verdict is not None and run.verdict.is_disk_full:
                    self._room.doubt()
                self._observer.run_ended(run)

    def _reconcile(self, session: Session) -> dict[Claim, State]:
        """Compare the database's view with the runs.

        Wishes are passed on, runs whose claim is lost are stopped, and a submission whose run ended
        without a record, as after an outage of the database, is given another attempt.

        Returns
        -------
        dict
            Claims that never had a run, with their states: the answer to the transaction that
            made them ours was lost.
        """
        owned = {item.claim: item for item in queue.owned(session, self._dispatcher_id)}
        for claim, run in self.runs.items():
            if claim not in owned:
                run.stop(Stop.CLAIM_LOST)
            elif owned[claim].is_cancel_requested:
                run.stop(Stop.CANCELED)
        missing = owned.keys() - self.runs.keys()
        unheard = {
            claim: owned[claim].state
            for claim in sorted(missing - self._begun, key=lambda claim: claim.submission_id)
            if owned[claim].state in (State.SENT_TO_TRAINING, State.TESTED)
        }
        self._begun &= owned.keys()
        for claim in missing - unheard.keys():
            reason = "the run ended without being recorded"
            with suppress(ClaimLostError):
                queue.crash(session, claim, reason, self.event.dispatcher.max_attempts)
        return unheard

    def _start(self, run: Run) -> None:
        self.runs[run.claim] = run
        self._begun.add(run.claim)
        run.start()
        self._observer.run_started(run)

    def _end_runs(self, reason: Stop) -> None:
        """End every run; a call that hangs is given up, and its submission given back."""
        for run in self.runs.values():
            run.stop(reason)
        deadline = time.monotonic() + SHUTDOWN_SECONDS
        for run in self.runs.values():
            run.join(max(0.0, deadline - time.monotonic()))
        late = [run for run in self.runs.values() if run.is_alive]
        self._hung_calls.leave(late)
        for run in late:
            run.join(RECORDING_SECONDS)
        self._reap()
        for claim in self.runs:
            extra = {"submission": claim.submission_id, "attempt": claim.attempt}
            logger.error("a run does not end; its submission will be rescued", extra=extra)
