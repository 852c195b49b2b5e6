"""Whether a run reproduces Phase 1: the published table, its reruns, and their conditions."""
