"""What draws: one-line-at-a-time widgets that repaint only what differs and print foreign text as plain text."""
