//! Skills that need the outside: they live here and not in `aos-core`.

pub mod http_call;
