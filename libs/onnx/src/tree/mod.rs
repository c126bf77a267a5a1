//! Tree ensembles: reading their attributes, laying them out, walking blocks of rows through them.

mod ensemble;
mod forest;
mod layout;

pub use ensemble::{Ensemble, classifier, regressor};
