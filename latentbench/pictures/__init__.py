"""Pictures of finished runs: rows made from their figures, drawn for papers and for browsers."""
