//! What a run keeps of the request that it is for.

use aos_core::codes;
use aos_core::trace::TraceParent;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::gate::Caller;
use crate::http::problem::ApiError;
use crate::http::request_id::RequestId;

/// Who asks, under which id, and within which span.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The request's id.
    pub request_id: RequestId,
    /// Whose key it came with.
    pub caller: Caller,
    /// Its span.
    pub trace: TraceParent,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let extensions = &parts.extensions;
        let (request_id, caller, trace) = (extensions.get(), extensions.get(), extensions.get::<TraceParent>());
        let (Some(request_id), Some(caller), Some(trace)) = (request_id, caller, trace) else {
            return Err(ApiError::new(codes::INTERNAL, "a route is answered past the layers that say who asks"));
        };
        Ok(Self { request_id: RequestId::clone(request_id), caller: Caller::clone(caller), trace: *trace })
    }
}
