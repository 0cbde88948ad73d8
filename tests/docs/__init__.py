"""The documentation: its languages say the same, its code runs, and its site builds."""
