//! Supervised actors: roots, nurseries, portals, four ways to spawn.
