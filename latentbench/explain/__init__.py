"""Why a run scored what it did: the frames that carry its means, and what they share."""
