//! What a route asks of its caller. A route is registered together with the scope it needs, and in no other way, so that
//! there is none without one; its entry in the OpenAPI document says the same.

use std::sync::Arc;

use aos_core::keys::Scope;
use aos_core::{Failure, codes};
use axum::extract::Request;
use axum::http::Method;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::gate::Gate;
use crate::http::audited::{Operations, audited};
use crate::http::openapi::Routes;
use crate::http::problem::ApiError;
use crate::state::AppState;

/// The name of the security scheme in the document.
pub(super) const SCHEME: &str = "api_key";

/// Routes of one path.
pub(super) type Route = UtoipaMethodRouter<AppState>;

/// Routes that everybody may use: what asks about health has no key.
pub(super) fn open<const N: usize>(routes: [Route; N]) -> Routes {
    routes.into_iter().fold(OpenApiRouter::new(), OpenApiRouter::routes)
}

/// Routes for callers whose key has this scope.
pub(super) fn needing<const N: usize>(scope: Scope, routes: [Route; N]) -> Routes {
    guarded(scope, routes, false)
}

/// The same, and what changes anything is written into the audit log.
pub(super) fn auditing<const N: usize>(scope: Scope, routes: [Route; N]) -> Routes {
    guarded(scope, routes, true)
}

fn guarded<const N: usize>(scope: Scope, routes: [Route; N], is_audited: bool) -> Routes {
    routes.into_iter().fold(OpenApiRouter::new(), |router, (schemas, mut paths, mut methods)| {
        if is_audited {
            let changing: Operations = paths.paths.values().flat_map(changing).collect();
            methods = methods.route_layer(from_fn(move |request, next| audited(Arc::clone(&changing), request, next)));
        }
        paths.paths.values_mut().flat_map(operations).for_each(|operation| {
            operation.security = Some(vec![SecurityRequirement::new(SCHEME, [scope.as_str()])]);
        });
        let methods = methods.route_layer(from_fn(move |request, next| admitted(scope, request, next)));
        router.routes((schemas, paths, methods))
    })
}

/// The scheme for the document.
pub(super) fn scheme() -> SecurityScheme {
    let about = "An API key, made by `aos-server keys create`. Each operation names the scope that it needs; `run` \
                 includes `read`, and `admin` everything. The header `x-api-key` does as well.";
    SecurityScheme::Http(
        HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("aos_…").description(Some(about)).build(),
    )
}

/// The operations of a path.
pub(super) fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.delete, &mut item.patch, &mut item.head]
        .into_iter()
        .flatten()
}

/// The operations of a path that change something, by their names.
fn changing(item: &PathItem) -> impl Iterator<Item = (Method, String)> {
    let methods = [
        (Method::POST, &item.post),
        (Method::PUT, &item.put),
        (Method::DELETE, &item.delete),
        (Method::PATCH, &item.patch),
    ];
    methods.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?.operation_id.clone()?)))
}

async fn admitted(scope: Scope, mut request: Request, next: Next) -> Response {
    let Some(gate) = request.extensions().get::<Gate>().cloned() else {
        let failure = Failure::new(codes::INTERNAL, "a route that needs an API key has nobody to check it");
        return ApiError::from(failure).into_response();
    };
    match gate.admit(request.headers(), scope).await {
        Ok(caller) => {
            tracing::Span::current().record("key", caller.as_str());
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(failure) => ApiError::from(failure).into_response(),
    }
}
