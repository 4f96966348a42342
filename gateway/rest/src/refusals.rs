//! What requests are refused with, for the API document.
//!
//! What every request of a shape may be answered is added to its operation here, once; a handler lists only what
//! is its own. Each refusal is one component of the document, so that an operation says it in a line.

use std::collections::BTreeMap;

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::{Components, ContentBuilder, Header, OpenApi, Ref, RefOr, Response, ResponseBuilder, Schema};
use utoipa::{IntoResponses, ToSchema};

use crate::answer_document::Answer;
use crate::problem::ProblemDocument;
use crate::words;

macro_rules! refusals {
    ($($name:ident $status:literal $description:literal)*) => {
        $(
            #[doc = concat!("Answers ", $status, ": ", $description, ".")]
            pub(crate) enum $name {}

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    BTreeMap::from([($status.to_owned(), Ref::from_response_name(stringify!($name)).into())])
                }
            }
        )*

        /// Every refusal: component, status, and what it means.
        const ALL: &[(&str, &str, &str)] = &[$((stringify!($name), $status, $description)),*];
    };
}

refusals! {
    Invalid "400" "The request is not valid; `detail` says what to change"
    Unauthenticated "401" "The token is malformed, unknown, revoked or expired"
    Denied "403" "You may see it and not do this to it; or the gateway is not called by a name of its machine"
    NotFound "404" "It does not exist, or you may not see it"
    NotAcceptable "406" "No format of the answer fits `Accept` or `format`"
    Conflict "409" "The name is taken, or others work on the same thing; `code` says which"
    TooLarge "413" "The body is larger than a limit, which `detail` names"
    UriTooLong "414" "The URL has more than 16 KiB"
    UnsupportedMedia "415" "`Content-Type` or `Content-Encoding` is not read here"
    Exhausted "422" "A budget of time, memory or disk is used up, or an idempotency key was used for another body"
    TooMany "429" "Too many wrong passwords, or too many jobs of yours that wait; `Retry-After` says when to try again"
    HeadersTooLarge "431" "More than 100 headers, or more than 32 KiB of them"
    Cancelled "499" "The query was stopped"
    Internal "500" "A defect; the request id finds it in the log"
    Unavailable "503" "There is too much to do, or a part that is needed cannot be reached; try again"
}

/// Adds to every operation what its shape says that it may be answered, and which headers answers have.
pub(crate) fn complete(document: &mut OpenApi) {
    let components = document.components.get_or_insert_with(Components::new);
    name_schema::<ProblemDocument>(components);
    name_schema::<Answer>(components);
    for (name, status, description) in ALL {
        components.responses.insert((*name).to_owned(), refusal(status, description).into());
    }
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            complete_operation(path.starts_with("/v1/"), operation);
        }
    }
}

/// A schema that answers name and no handler does.
fn name_schema<T: ToSchema>(components: &mut Components) {
    let mut parts = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut parts);
    components.schemas.extend(parts);
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [get, put, post, delete, patch].into_iter().filter_map(Option::as_mut)
}

fn complete_operation(versioned: bool, operation: &mut Operation) {
    let has = |place: ParameterIn| {
        let mut parameters = operation.parameters.iter().flatten();
        parameters.any(|parameter| matches!(parameter, RefOr::T(parameter) if parameter.parameter_in == place))
    };
    let (in_path, in_query, body) = (has(ParameterIn::Path), has(ParameterIn::Query), operation.request_body.is_some());
    let may = |answered: &mut BTreeMap<String, RefOr<Response>>, more: BTreeMap<String, RefOr<Response>>| {
        for (status, response) in more {
            answered.entry(status).or_insert(response);
        }
    };
    let answered = &mut operation.responses.responses;
    for any in [Denied::responses(), UriTooLong::responses(), HeadersTooLarge::responses(), Internal::responses()] {
        may(answered, any);
    }
    if versioned {
        may(answered, Unauthenticated::responses());
        may(answered, Unavailable::responses());
    } else {
        // Nothing there looks at a token.
        operation.security = Some(Vec::new());
    }
    if in_path || in_query || body {
        may(answered, Invalid::responses());
    }
    if in_path {
        may(answered, NotFound::responses());
    }
    if body {
        for refused in [TooLarge::responses(), UnsupportedMedia::responses(), Exhausted::responses()] {
            may(answered, refused);
        }
    }
    for response in answered.values_mut() {
        if let RefOr::T(response) = response {
            response.headers.entry("X-Request-Id".to_owned()).or_insert_with(|| request_id().into());
        }
    }
}

fn refusal(status: &str, description: &str) -> Response {
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name(ProblemDocument::name()))).build();
    let mut response = ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", problem)
        .header("X-Request-Id", request_id());
    if matches!(status, "409" | "503") {
        response = response.header("Retry-After", header(words::seconds(), "After how many seconds to try again"));
    }
    if status == "401" {
        response = response.header("WWW-Authenticate", header(words::text(), "The scheme of the token"));
    }
    response.build()
}

fn request_id() -> Header {
    header(words::id(), "Finds the request in the log; a client may choose it")
}

/// A header of an answer.
pub(crate) fn header(schema: impl Into<RefOr<Schema>>, description: &str) -> Header {
    HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build()
}
