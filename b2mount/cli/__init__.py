"""What a person types: the commands, their grammar, their exit codes."""
