"""What can go wrong in the mathematics.

EngineError
├── InvalidConfig         an option is out of its range
├── NonFiniteValues       inputs or results hold NaN or infinities
├── NotPositiveDefinite   the ridge system cannot be factored
├── NotConverged          an iterative solve did not reach its tolerance
├── Inconsistent          a solution does not predict what it was solved for: rounding has eaten it
└── DamagedFile           a file holds no model that this program reads
"""


class EngineError(Exception):
    """Base of the engine's errors."""


class InvalidConfig(EngineError):
    pass


class NonFiniteValues(EngineError):
    pass


class NotPositiveDefinite(EngineError):
    pass


class NotConverged(EngineError):
    pass


class Inconsistent(EngineError):
    pass


class DamagedFile(EngineError):
    pass
