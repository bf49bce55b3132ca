"""Numbers about membership scores: ROC, intervals, privacy bounds. No JAX here."""
