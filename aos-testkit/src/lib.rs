//! AOS.
