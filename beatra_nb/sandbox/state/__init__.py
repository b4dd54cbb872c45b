"""What the sandbox remembers: tasks, files, money and idempotency keys, in one folder."""
