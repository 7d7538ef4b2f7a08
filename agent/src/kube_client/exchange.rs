//! One request and its answer, and what a failure is called.

use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::header;
use hyper::http::Request;
use kube::client::Body;
use serde::Deserialize;

use super::ApiError;

/// Largest answer that explains an error.
const STATUS_BYTES: usize = 64 << 10;

/// What came back.
pub(super) struct Answer {
    /// Its status.
    pub(super) status: u16,
    /// Its body, `None` if a good one is larger than it may be.
    pub(super) body: Option<Vec<u8>>,
    /// When the server wants to be asked again, if it says.
    pub(super) retry_after: Option<Duration>,
}

/// Sends a request and reads an answer of at most `limit` bytes.
pub(super) async fn exchange(
    client: &kube::Client,
    request: Request<Vec<u8>>,
    limit: usize,
) -> Result<Answer, ApiError> {
    let request = request.map(Body::from);
    let answer = client.send(request).await.map_err(|error| transport_error(&error))?;
    let status = answer.status();
    let retry_after = answer.headers().get(header::RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let answer_of = |body| Answer {
        status: status.as_u16(),
        body,
        retry_after: retry_after.map(Duration::from_secs),
    };
    let limit = if status.is_success() { limit } else { STATUS_BYTES };
    match Limited::new(answer.into_body(), limit).collect().await {
        Ok(body) => Ok(answer_of(Some(body.to_bytes().into()))),
        Err(error) if error.is::<LengthLimitError>() && status.is_success() => Ok(answer_of(None)),
        Err(error) if error.is::<LengthLimitError>() => Ok(answer_of(Some(Vec::new()))),
        Err(error) => Err(transport_error(&*error)),
    }
}

/// What went wrong before there was an answer, in the words of the innermost
/// error: the outer ones say `client error (Connect)`.
fn transport_error(error: &(dyn std::error::Error + 'static)) -> ApiError {
    let mut innermost = error;
    let mut tls = false;
    loop {
        tls |= innermost.is::<rustls::Error>();
        // An io::Error hides what it was made of from `source`.
        let inner = innermost.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let next = match inner {
            Some(inner) => Some(inner as &(dyn std::error::Error + 'static)),
            None => innermost.source(),
        };
        match next {
            Some(next) => innermost = next,
            None if tls => return ApiError::Tls(innermost.to_string()),
            None => return ApiError::Unreachable(innermost.to_string()),
        }
    }
}

/// What the server says in a `Status` object, or the first line of what it is.
pub(super) fn status_message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Status {
        message: String,
    }
    if let Ok(status) = serde_json::from_slice::<Status>(body) {
        return status.message;
    }
    let text = String::from_utf8_lossy(body);
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}
