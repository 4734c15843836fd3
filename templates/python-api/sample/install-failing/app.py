"""Never started: its requirements are not met."""
