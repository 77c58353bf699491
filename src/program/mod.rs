//! What threads do over and over, on whatever memory a backend gives them.

pub mod fault;
