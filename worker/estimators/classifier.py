"""The estimator of classes."""

from inspect import Parameter, signature
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin

from worker.estimators.base import FactRFM
from worker.estimators.targets import class_targets, encode_labels, exact_labels
from worker.estimators.weights import ClassWeight, CodedRows, class_weights
from worker.serving.model import ServedModel


class FactRFMClassifier(ClassifierMixin, FactRFM):  # type: ignore[misc]
    """FACT-RFM for classes. The parameters are those of the service's training spec.

    ``class_weight``: None, "balanced", which gives all classes the same weight altogether, or a weight for each label;
    it multiplies ``sample_weight``, of validation rows too.

    Learned: ``classes_``, and what ``FactRFMRegressor`` learns.
    """

    def __init__(self, *, class_weight: ClassWeight | None = None, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.class_weight = class_weight

    # scikit-learn reads the parameters off the signature
    _inherited = signature(FactRFM.__init__)
    _own = Parameter("class_weight", Parameter.KEYWORD_ONLY, default=None, annotation=ClassWeight | None)
    __init__.__signature__ = _inherited.replace(  # type: ignore[attr-defined]
        parameters=[*_inherited.parameters.values(), _own]
    )

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of every row, (n,)."""
        places = self._probabilities(X).argmax(axis=1)
        predicted: np.ndarray = self.classes_[places]
        return predicted

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities (n, classes) in the order of ``classes_``."""
        return self._probabilities(X)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the natural logarithms of ``predict_proba``, (n, classes)."""
        logarithms: np.ndarray = np.log(self._probabilities(X))
        return logarithms

    def decision_function(self, X: Any) -> np.ndarray:
        """Return scores: of two classes (n,), above 0 for the second, else (n, classes), the largest for the predicted.

        ``predict_proba`` is the nearest point of the simplex, which cuts scores off that are far on one side.
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def _probabilities(self, X: Any) -> np.ndarray:
        probabilities = self._answer(X, stacklevel=3).probabilities
        if probabilities is None:
            raise TypeError("the model is a regression")
        return probabilities

    def _targets(self, y: Any) -> tuple[np.ndarray, list[Any] | None]:
        self.classes_, codes = class_targets(y)
        return codes, self.classes_.tolist()

    def _weighed(self, rows: CodedRows, classes: list[Any] | None) -> tuple[CodedRows, list[Any] | None]:
        self._class_weights = None
        if self.class_weight is not None:
            self._class_weights = class_weights(self.class_weight, self.classes_.tolist(), rows)
        rows = self._times_class_weights(rows).weighing
        present, codes = np.unique(rows.Y, return_inverse=True)
        if len(present) < 2:
            raise ValueError(
                f"a classifier needs at least 2 classes, and rows with a weight above 0 hold one class: "
                f"{self.classes_[present].tolist()}"
            )
        if self._class_weights is not None:
            self._class_weights = self._class_weights[present]
        self.classes_ = self.classes_[present]
        return CodedRows(rows.table, codes, rows.weights), self.classes_.tolist()

    def _times_class_weights(self, rows: CodedRows) -> CodedRows:
        return rows if self._class_weights is None else rows.times(self._class_weights)

    def _codes(self, y: Any, classes: list[Any] | None) -> np.ndarray:
        return encode_labels(self.classes_, y)

    def _set_model_attributes(self, model: ServedModel) -> None:
        if not hasattr(self, "classes_"):
            self.classes_ = exact_labels(model.classes or [])
        super()._set_model_attributes(model)
