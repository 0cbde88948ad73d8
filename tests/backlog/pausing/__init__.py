"""What persons hold back: pauses, and cancelled calls."""
