// Ends before it listens: the module that it wants is nowhere.
require('./links.js');
