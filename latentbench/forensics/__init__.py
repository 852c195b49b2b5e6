"""Why a run scored what it did: the frames that make its means, and what they share."""
