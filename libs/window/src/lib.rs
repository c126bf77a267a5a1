//! Windowing: admission, open windows, marks, closing, budget, recovery, late merge
