//! What went wrong, in words that a customer understands.

use std::error::Error as StdError;
use std::fmt;

use azure_core::error::ErrorKind;
use azure_storage_blob::StorageError;

use crate::container::Login;
use crate::place::Place;

/// What follows from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The service is away or busy; the same may succeed later.
    Away,
    /// Somebody must change something: a right, a name, a firewall.
    Refused,
    /// The container does not exist.
    NoContainer,
    /// The blob does not exist.
    NoBlob,
    /// A blob of that name exists, and is another one.
    Taken,
    /// A file of this machine cannot be read or written.
    File,
}

/// An error, told in words without any secret.
///
/// Lines after the first begin with `hint:` and say what to do.
#[derive(Clone, Debug)]
pub struct BlobError {
    /// What follows from it.
    pub kind: Kind,
    text: String,
    /// The service's own name of what it refused.
    code: String,
}

impl BlobError {
    /// An error of one's own words, which must hold no secret.
    #[must_use]
    pub fn new(kind: Kind, text: String) -> Self {
        Self { kind, text, code: String::new() }
    }

    /// The service's own name of the error; empty if the service said nothing.
    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    /// The text without its hints.
    pub(crate) fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }
}

impl fmt::Display for BlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for BlobError {}

/// What was done when an error came, and with what right.
#[derive(Clone, Copy)]
pub(crate) struct Doing<'a> {
    /// Such as `write`.
    pub(crate) what: &'static str,
    pub(crate) place: &'a Place,
    pub(crate) blob: Option<&'a str>,
    pub(crate) login: &'a Login,
}

/// An error of the SDK in words.
pub(crate) fn explain(error: &azure_core::Error, doing: Doing<'_>) -> BlobError {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(told) = error.downcast_ref::<BlobError>() {
            return told.clone();
        }
        cause = error.source();
    }
    let ErrorKind::HttpResponse { status, error_code, raw_response } = error.kind() else {
        let text = format!("{} cannot be understood: {error}", doing.place);
        return BlobError::new(Kind::Away, masked(&text));
    };
    let status = u16::from(*status);
    let said = raw_response.as_deref().and_then(|answer| {
        let again = ErrorKind::HttpResponse {
            status: status.into(),
            error_code: error_code.clone(),
            raw_response: Some(Box::new(answer.clone())),
        };
        StorageError::try_from(again.into_error()).ok()
    });
    let detail = said.as_ref().and_then(|said| said.authentication_error_detail.clone());
    let message = said.as_ref().and_then(|said| said.message.clone()).unwrap_or_default();
    // The SDK puts words of its own where the service sent no code.
    let code = said
        .and_then(|said| said.error_code)
        .map_or_else(|| error_code.clone().unwrap_or_default(), |code| code.as_ref().to_owned());
    let is_code = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let code = if is_code { code } else { String::new() };
    let (kind, text) = told(status, &code, &message, detail.as_deref(), doing);
    BlobError { kind, text: masked(&text), code }
}

/// What an answer means.
#[expect(clippy::too_many_lines, reason = "a table of what the service answers, one arm each")]
fn told(
    status: u16,
    code: &str,
    message: &str,
    detail: Option<&str>,
    doing: Doing<'_>,
) -> (Kind, String) {
    let Doing { what, place, blob, login } = doing;
    let host = place.host();
    let object = blob.map_or_else(|| place.to_string(), |blob| format!("{place}/{blob}"));
    let container = place.container();
    match (status, code) {
        (_, "ContainerNotFound") => (
            Kind::NoContainer,
            format!(
                "there is no container {container} at {host}\n\
                 hint: {}",
                match login {
                    Login::Sas(sas) if sas.allows('w') => {
                        "make it, or use an account SAS (srt=sco, sp with c), with which the \
                         agent makes it"
                    }
                    _ => "is its name right? An agent that may make it does so with its first file",
                }
            ),
        ),
        (_, "ContainerBeingDeleted") => (
            Kind::Away,
            format!("the container {container} at {host} is being deleted; that takes a minute"),
        ),
        (_, "BlobNotFound") => (Kind::NoBlob, format!("there is no blob {object}")),
        (_, "BlobAlreadyExists" | "UnauthorizedBlobOverwrite") => {
            (Kind::Taken, format!("{object} is there already"))
        }
        (_, "AuthenticationFailed" | "InvalidAuthenticationInfo") => {
            (Kind::Refused, not_authenticated(place, login, detail))
        }
        (_, "AuthorizationPermissionMismatch" | "InsufficientAccountPermissions") => {
            let hint = match login {
                Login::Sas(_) => "make a SAS with sp=rcw to send, and sp=rl to fetch".to_owned(),
                Login::Identity(identity) => {
                    format!("give {identity} the role Storage Blob Data Contributor on the account")
                }
                Login::Nobody => "a SAS is needed".to_owned(),
            };
            (
                Kind::Refused,
                format!("{} does not allow to {what} {object}\nhint: {hint}", right(login)),
            )
        }
        (_, "AuthorizationResourceTypeMismatch" | "AuthorizationServiceMismatch") => (
            Kind::Refused,
            format!(
                "the SAS is not for this: it does not allow to {what} {object}\n\
                 hint: an account SAS needs ss=b and srt=sco"
            ),
        ),
        (_, "AuthorizationProtocolMismatch") => {
            (Kind::Refused, format!("the SAS allows https only, and {place} is asked by http"))
        }
        (_, "AuthorizationSourceIPMismatch") => (
            Kind::Refused,
            format!("the SAS is not for this machine's address (sip), and {host} refuses it"),
        ),
        (_, "AuthorizationFailure" | "NetworkAclDenied") => {
            // Azurite says so of a wrong signature too, and to HEAD nobody gives a reason.
            let or = match (login, code) {
                (Login::Sas(_), "AuthorizationFailure") => {
                    "the SAS may be for another container or account, or its key was renewed; or "
                }
                _ => "",
            };
            (
                Kind::Refused,
                format!(
                    "{host} refuses to {what} {object}\n\
                     hint: {or}the account's firewall may not know this network: allow it, or \
                     use a private endpoint"
                ),
            )
        }
        (_, "KeyBasedAuthenticationNotPermitted") => (
            Kind::Refused,
            format!(
                "{host} takes no SAS that an account key signed\n\
                 hint: use a workload identity or a user delegation SAS"
            ),
        ),
        (_, "PublicAccessNotPermitted" | "NoAuthenticationInformation") => (
            Kind::Refused,
            format!("{host} wants a right to {what} {object}\nhint: a SAS is needed"),
        ),
        (_, "AccountIsDisabled") => (Kind::Refused, format!("the account {host} is disabled")),
        (_, "InvalidBlockList") => {
            (Kind::Away, format!("{host} has forgotten blocks of {object} that were sent"))
        }
        (_, "Md5Mismatch" | "Crc64Mismatch") => {
            (Kind::Away, format!("a block of {object} was changed on its way, and is sent again"))
        }
        (407, _) => (
            Kind::Refused,
            format!(
                "the proxy before {host} wants a password\nhint: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
            ),
        ),
        (408 | 429 | 500.., _) => {
            let code = if code.is_empty() { "no reason is given" } else { code };
            (Kind::Away, format!("{host} is busy or out of order ({status}, {code})"))
        }
        (404, _) => (
            Kind::NoBlob,
            format!(
                "{host} does not know {object}\n\
                 hint: are the names of the account and the container right?"
            ),
        ),
        (_, "") => (
            Kind::Refused,
            format!(
                "{host} answers {status} when asked to {what} {object}, not as a storage \
                 service does\nhint: a proxy or firewall may have answered in its place"
            ),
        ),
        _ => {
            let message = message.lines().next().unwrap_or_default();
            (
                Kind::Refused,
                format!("{host} refuses to {what} {object} ({status}, {code}): {message}"),
            )
        }
    }
}

fn right(login: &Login) -> String {
    match login {
        Login::Sas(_) => "the SAS".to_owned(),
        Login::Identity(identity) => format!("what {identity} may do"),
        Login::Nobody => "no right at all".to_owned(),
    }
}

fn not_authenticated(place: &Place, login: &Login, detail: Option<&str>) -> String {
    let host = place.host();
    // The service tells what it compared, which holds no signature: the masking that
    // follows is for the day on which it does.
    let detail = detail.and_then(|detail| detail.lines().next()).unwrap_or_default();
    let why = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
    match login {
        Login::Sas(sas) => {
            let end = sas.expires_ns().map_or_else(String::new, |end_ns| {
                let end = periscope_store::time::format_ns(end_ns);
                format!("; it ends at {end}")
            });
            format!(
                "{host} does not accept the SAS{why}{end}\n\
                 hint: it has expired, was altered, is for another account or container, or its \
                 key was renewed: make a new one"
            )
        }
        Login::Identity(identity) => format!("{host} does not know {identity}{why}"),
        Login::Nobody => format!("{host} wants to know who asks{why}\nhint: a SAS is needed"),
    }
}

/// A text without what follows `sig=`: a server may repeat a URL, and so may who prints
/// what a user typed.
#[must_use]
pub fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.to_ascii_lowercase().find("sig=") {
        let (before, signature) = rest.split_at(at);
        let end = signature.find(['&', ' ', '\n', '"', '\'', ')', '<']).unwrap_or(signature.len());
        out.push_str(before);
        out.push_str("‹signature›");
        rest = signature.get(end..).unwrap_or_default();
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sas::Sas;

    fn check(status: u16, code: &str, kind: Kind, word: &str) {
        let place = Place::of_account("shop", "core.windows.net", "logs").expect("a place");
        let sas = Sas::parse("sp=rcw&se=2026-11-22T10:00:00Z&sig=hunter22").expect("a token");
        let login = Login::Sas(sas);
        let doing = Doing { what: "write", place: &place, blob: Some("r/n/f.db"), login: &login };
        let (told_kind, text) = told(status, code, "Some words.", None, doing);
        assert!(told_kind == kind && text.contains(word), "{status} {code}: {told_kind:?} {text}");
        assert!(!text.contains("hunter22") && !text.contains("sig="), "{text}");
    }

    #[test]
    fn answers_are_told_in_words() {
        check(403, "AuthenticationFailed", Kind::Refused, "ends at 2026-11-22T10:00:00");
        check(403, "AuthorizationPermissionMismatch", Kind::Refused, "does not allow to write");
        check(403, "AuthorizationFailure", Kind::Refused, "firewall");
        check(403, "", Kind::Refused, "a proxy or firewall may have answered");
        check(404, "ContainerNotFound", Kind::NoContainer, "there is no container logs");
        check(404, "", Kind::NoBlob, "are the names");
        check(409, "BlobAlreadyExists", Kind::Taken, "r/n/f.db is there already");
        check(503, "ServerBusy", Kind::Away, "503, ServerBusy");
        check(429, "", Kind::Away, "no reason");
        check(407, "", Kind::Refused, "proxy");
        check(400, "InvalidInput", Kind::Refused, "Some words.");
    }

    #[test]
    fn a_signature_that_a_server_repeats_is_masked() {
        assert_eq!(masked("a?sp=r&sig=x%3D&se=1 b SIG=y"), "a?sp=r&‹signature›&se=1 b ‹signature›");
        assert_eq!(masked("nothing"), "nothing");
    }
}
