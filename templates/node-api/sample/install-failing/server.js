// Never started: its dependency did not come with it.
