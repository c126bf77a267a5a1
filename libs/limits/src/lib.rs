//! Admission limits at the edge: byte budget, per-device rates, retry hints
