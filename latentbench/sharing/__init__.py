"""Results that leave this machine: leaderboards, what is published, and running it again."""
