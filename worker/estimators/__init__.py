"""scikit-learn estimators over the engine: what a fit job does, on rows in memory.

They need the extra ``sklearn``.
"""

from worker.estimators.classifier import FactRFMClassifier
from worker.estimators.regressor import FactRFMRegressor

__all__ = ["FactRFMClassifier", "FactRFMRegressor"]
