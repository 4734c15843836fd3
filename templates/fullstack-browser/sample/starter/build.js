// Your work, if you want to build something.
