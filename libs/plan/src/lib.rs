//! Capacity arithmetic: what a fleet costs in memory
