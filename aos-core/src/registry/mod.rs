//! The versioned set of skills and workflows.
