"""Who does the work of tasks: a bounded crew of worker processes."""
