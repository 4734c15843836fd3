# Spins.
while :; do :; done
