"""Rehearsing an event before it happens: synthetic submissions, real dispatchers, real faults.

::

    plan         who submits what when, which fault comes when: pure, from a seed
    stage        a schema or file and folders of its own, removed at the end
    crowd        the teams, which submit
    crew         the dispatchers: processes that run `dispatch`, whose workers are `actor.Actor`
    chaos        the faults; `troubles` are those that dispatchers have in themselves
    records      what the database holds at the end; `invariants` says what must hold of it
    report       figures, bottleneck and recommendation, from what `meter` and `play` measured
    play         all of it together
"""

from __future__ import annotations
