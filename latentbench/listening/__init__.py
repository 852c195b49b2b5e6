"""What a finished run predicted, as sound: decoded, written and scored."""
