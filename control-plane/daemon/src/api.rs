//! What others ask of the control plane: sidecars in `mesh`, operators in [`admin`].
//! Handlers convert, call the authority and convert back.

pub mod admin;
pub(crate) mod mesh;
