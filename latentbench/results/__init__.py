"""Station 7, files: what a run leaves behind, and its schema."""

from latentbench.results.figures import Figures
from latentbench.results.folder import RunFolder, read_result
from latentbench.results.schema import CellRecord, Result

__all__ = ["CellRecord", "Figures", "Result", "RunFolder", "read_result"]
