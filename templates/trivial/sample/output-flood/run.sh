# Prints for ever, as fast as it can.
exec yes "all work and no play makes a dull log"
