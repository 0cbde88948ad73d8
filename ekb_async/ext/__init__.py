"""What connects sessions to other libraries, each module with an extra of its own."""
