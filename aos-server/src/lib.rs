//! AOS server.
