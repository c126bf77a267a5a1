//! Steps, the reference model, invariants and the catalogue of histories
