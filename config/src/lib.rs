//! The settings file: what may be written in it, what it means, and what is wrong with it.
