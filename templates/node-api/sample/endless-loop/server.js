// Spins before it listens.
let ready = false;
while (!ready);
