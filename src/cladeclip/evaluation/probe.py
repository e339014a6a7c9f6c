"""The linear probe: logistic regression on frozen embeddings, the field's other standard read-out."""

import warnings

import numpy as np
import pandas as pd

from cladeclip.evaluation.subsets import Subset


def linear_probe(subset: Subset, embeddings: np.ndarray, *, c: float, max_iterations: int) -> dict:
    """Fits scikit-learn's logistic regression (L2, lbfgs) on the gallery's standardised embeddings and asks the queries.

    A query whose label the gallery lacks counts as wrong.

    Args:
        c: inverse of the regularisation.

    Returns:
        A row of the `probe` table; micro and macro are NaN where the gallery has only one label.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    row = {"column": subset.column, "n_query": len(subset.query), "n_gallery": len(subset.gallery)}
    labels, truth = subset.names[subset.gallery], subset.names[subset.query]
    if len(set(labels)) < 2:
        return row | {"micro": np.nan, "macro": np.nan, "converged": False}
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=max_iterations))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        probe.fit(embeddings[subset.gallery], labels)
    right = pd.Series(probe.predict(embeddings[subset.query]) == truth)
    converged = not any(issubclass(one.category, ConvergenceWarning) for one in caught)
    return row | {"micro": right.mean(), "macro": right.groupby(truth).mean().mean(), "converged": converged}
