"""What holds for long or under too much: deadlines behind a busy worker, overload, a million jobs."""
