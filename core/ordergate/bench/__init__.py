"""Benchmarks: what a decision costs, each case timed side by side with its floor and printed as a ratio.

    python -m ordergate.bench

`case` says what a case is, `measure` times, `report` keeps what was measured, `surroundings` says on what. Each other
module holds the cases of one goal. Nothing here is imported by the gate, and nothing here trades.
"""
