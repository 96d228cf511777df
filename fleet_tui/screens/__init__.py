"""What a person sees. Every screen but the first is imported when it is first shown."""
