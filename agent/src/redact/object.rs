//! Secrets that only the structure of a Kubernetes object gives away.

use serde_json::{Map, Value};

use super::rules::is_path;
use super::value::is_no_secret;

/// Annotation with the whole object as somebody applied it, values of its
/// environment included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Words that make a name secret, wherever in it they stand.
const SECRET_WORDS: [&str; 8] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "CREDENTIAL",
    "CONNECTIONSTRING",
    "AUTHORIZATION",
];

/// Words that make a name secret if they stand alone: `MONKEY` is no key.
const SECRET_WHOLE_WORDS: [&str; 11] = [
    "KEY",
    "KEYS",
    "APIKEY",
    "ACCESSKEY",
    "ACCOUNTKEY",
    "SECRETKEY",
    "STORAGEKEY",
    "SAS",
    "PWD",
    "CONNSTR",
    "COOKIE",
];

/// Last words of names of what only speaks of a secret: where it is, how long
/// it lasts, what it is called.
const HARMLESS_LAST_WORDS: [&str; 44] = [
    "PATH",
    "FILE",
    "FILES",
    "FILENAME",
    "DIR",
    "DIRECTORY",
    "NAME",
    "NAMES",
    "NAMESPACE",
    "ID",
    "REF",
    "TYPE",
    "KIND",
    "MODE",
    "CLASS",
    "PROVIDER",
    "VERSION",
    "ALGORITHM",
    "ALG",
    "SIZE",
    "LENGTH",
    "LEN",
    "LIMIT",
    "COUNT",
    "MIN",
    "MAX",
    "TTL",
    "TIMEOUT",
    "SECONDS",
    "MINUTES",
    "HOURS",
    "DAYS",
    "INTERVAL",
    "EXPIRY",
    "EXPIRATION",
    "ENABLED",
    "DISABLED",
    "URL",
    "URI",
    "ENDPOINT",
    "ISSUER",
    "AUDIENCE",
    "AUDIENCES",
    "PREFIX",
];

/// Masks what a Kubernetes object holds of secrets, and drops what repeats the
/// object. Tells `found` the name of the rule, once for each secret.
///
/// Masked are values of the environment and of HTTP headers by their name,
/// passwords of proxies, and arguments by their flag. The masks carry no hash:
/// only a [`Redactor`](super::Redactor) has a salt, and what it recognises by
/// itself it masks afterwards in the text of the object. `managedFields` go
/// without being counted, because they hold no values.
pub(crate) fn redact_object(value: &mut Value, found: &mut dyn FnMut(&'static str)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| redact_object(item, found)),
        Value::Object(fields) => {
            if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
                redact_metadata(metadata, found);
            }
            redact_named_value(fields, found);
            for name in ["command", "args"] {
                if let Some(Value::Array(arguments)) = fields.get_mut(name) {
                    redact_arguments(arguments, found);
                }
            }
            fields.values_mut().for_each(|field| redact_object(field, found));
        }
        _ => {}
    }
}

fn redact_metadata(metadata: &mut Map<String, Value>, found: &mut dyn FnMut(&'static str)) {
    metadata.shift_remove("managedFields");
    let Some(Value::Object(annotations)) = metadata.get_mut("annotations") else { return };
    if annotations.shift_remove(LAST_APPLIED).is_some() {
        found("last-applied-configuration");
    }
}

/// `{"name": "DB_PASSWORD", "value": "…"}`, in `env` and in `httpHeaders`.
fn redact_named_value(fields: &mut Map<String, Value>, found: &mut dyn FnMut(&'static str)) {
    let Some(Value::String(name)) = fields.get("name") else { return };
    let (secret, proxy) = (names_secret(name), name.to_ascii_uppercase().ends_with("PROXY"));
    let Some(Value::String(value)) = fields.get_mut("value") else { return };
    if secret && is_secret(value) {
        "‹secret-env›".clone_into(value);
        found("secret-env");
    } else if proxy && let Some(masked) = without_credentials(value) {
        *value = masked;
        found("proxy-credentials");
    }
}

/// A list of proxies without the passwords in it; `None` if it has none.
fn without_credentials(value: &str) -> Option<String> {
    let (credentials, host) = value.rsplit_once('@')?;
    let user_start = credentials.find("://").map_or(0, |at| at + 3);
    let colon = user_start + credentials[user_start..].find(':')?;
    let password = &credentials[colon + 1..];
    (!is_no_secret(password.as_bytes()))
        .then(|| format!("{}:‹proxy-credentials›@{host}", &credentials[..colon]))
}

/// `--password=…`, and `--password` with the next argument.
fn redact_arguments(arguments: &mut [Value], found: &mut dyn FnMut(&'static str)) {
    let mut after_flag = false;
    for argument in arguments {
        let Value::String(argument) = argument else { continue };
        let is_flag = argument.starts_with('-');
        let is_word = |name: &str| !name.contains(char::is_whitespace);
        match argument.split_once('=') {
            _ if after_flag && !is_flag => {
                if is_secret(argument) {
                    "‹secret-argument›".clone_into(argument);
                    found("secret-argument");
                }
                after_flag = false;
            }
            Some((name, value)) if is_flag && is_word(name) => {
                if names_secret(name) && is_secret(value) {
                    *argument = format!("{name}=‹secret-argument›");
                    found("secret-argument");
                }
                after_flag = false;
            }
            _ => after_flag = is_flag && is_word(argument) && names_secret(argument),
        }
    }
}

fn is_secret(value: &str) -> bool {
    !is_no_secret(value.as_bytes()) && !is_path(value.as_bytes())
}

/// Whether a name of a variable, header or flag says that its value is secret.
fn names_secret(name: &str) -> bool {
    let words = words(name);
    let is_any = |list: &[&str], word: &str| list.contains(&word);
    if words.last().is_none_or(|last| is_any(&HARMLESS_LAST_WORDS, last)) {
        return false;
    }
    let joined = words.concat();
    if SECRET_WORDS.iter().any(|word| joined.contains(word)) {
        return true;
    }
    let is_harmless_key = |at: usize| {
        words.get(at + 1).is_some_and(|next| next == "VAULT")
            || at.checked_sub(1).is_some_and(|before| words[before] == "PUBLIC")
    };
    words.iter().enumerate().any(|(at, word)| {
        is_any(&SECRET_WHOLE_WORDS, word) && !is_harmless_key(at)
            || word == "CONN" && words.get(at + 1).is_some_and(|next| next == "STR")
    })
}

/// Words of a name in upper case: `dbPassword`, `DB_PASSWORD` and
/// `--db-password` have the same.
fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    for part in name.split(|c: char| !c.is_ascii_alphanumeric()) {
        let mut start = 0;
        let bytes = part.as_bytes();
        for at in 1..bytes.len() {
            if bytes[at].is_ascii_uppercase() && bytes[at - 1].is_ascii_lowercase() {
                words.push(part[start..at].to_ascii_uppercase());
                start = at;
            }
        }
        if start < part.len() {
            words.push(part[start..].to_ascii_uppercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(mut value: Value, expected: &Value, rules: &[&str]) {
        let mut found = Vec::new();
        redact_object(&mut value, &mut |rule| found.push(rule));
        assert_eq!((&value, found.as_slice()), (expected, rules));
        redact_object(&mut value, &mut |rule| panic!("{rule} again"));
        assert_eq!(&value, expected);
    }

    #[test]
    fn names_tell_secrets_from_what_speaks_of_them() {
        for name in [
            "DB_PASSWORD",
            "dbPassword",
            "PGPASSWORD",
            "MYSQL_PWD",
            "CLIENT_SECRET",
            "API_TOKEN",
            "AZURE_STORAGE_KEY",
            "APIKEY",
            "X-Api-Key",
            "CONNECTION_STRING",
            "AZURE_BLOB_SAS_KEY",
            "ConnectionStrings__Default",
            "SQL_CONN_STR",
            "GOOGLE_CREDENTIALS",
            "SAS",
            "PASSWORD_2",
            "--client-secret",
            "Authorization",
            "Cookie",
        ] {
            assert!(names_secret(name), "{name}");
        }
        for name in [
            "PATH",
            "TOKEN_PATH",
            "PASSWORD_FILE",
            "SECRET_NAME",
            "KEY_VAULT_NAME",
            "KEY_NAME",
            "AZURE_KEY_VAULT",
            "KEYCLOAK_REALM",
            "MONKEY",
            "TOKEN_URL",
            "TOKEN_TTL",
            "PUBLIC_KEY",
            "KUBERNETES_SERVICE_HOST",
            "--tls-private-key-file",
            "--token-auth-file",
            "--v",
            "",
        ] {
            assert!(!names_secret(name), "{name}");
        }
    }

    #[test]
    fn values_of_the_environment_and_of_headers_go_by_name() {
        check(
            json!({ "env": [
                { "name": "DB_PASSWORD", "value": "hunter2" },
                { "name": "API_TOKEN", "value": "$(TOKEN)" },
                { "name": "TLS_KEY", "value": "/etc/tls/tls.key" },
                { "name": "EMPTY_SECRET", "value": "" },
                { "name": "API_KEY", "valueFrom": { "secretKeyRef": { "name": "a", "key": "b" } } },
                { "name": "http_proxy", "value": "http://bob:hunter2@proxy:3128" },
                { "name": "HTTPS_PROXY", "value": "bob:p@ss@proxy:3128" },
                { "name": "NO_PROXY", "value": "10.0.0.0/16,localhost" },
            ], "httpHeaders": [{ "name": "Authorization", "value": "Basic YTpi" }] }),
            &json!({ "env": [
                { "name": "DB_PASSWORD", "value": "‹secret-env›" },
                { "name": "API_TOKEN", "value": "$(TOKEN)" },
                { "name": "TLS_KEY", "value": "/etc/tls/tls.key" },
                { "name": "EMPTY_SECRET", "value": "" },
                { "name": "API_KEY", "valueFrom": { "secretKeyRef": { "name": "a", "key": "b" } } },
                { "name": "http_proxy", "value": "http://bob:‹proxy-credentials›@proxy:3128" },
                { "name": "HTTPS_PROXY", "value": "bob:‹proxy-credentials›@proxy:3128" },
                { "name": "NO_PROXY", "value": "10.0.0.0/16,localhost" },
            ], "httpHeaders": [{ "name": "Authorization", "value": "‹secret-env›" }] }),
            &["secret-env", "proxy-credentials", "proxy-credentials", "secret-env"],
        );
    }

    #[test]
    fn arguments_go_by_their_flag() {
        check(
            json!({
                "command": ["run", "--password=hunter2", "--token", "hunter2", "hunter3"],
                "args": ["--token", "--v=2", "--secret-name=a", "--key", "/etc/a.key", 7,
                         "-c", "echo --token x", "--api-key", "k-12345"],
            }),
            &json!({
                "command": ["run", "--password=‹secret-argument›", "--token",
                            "‹secret-argument›", "hunter3"],
                "args": ["--token", "--v=2", "--secret-name=a", "--key", "/etc/a.key", 7,
                         "-c", "echo --token x", "--api-key", "‹secret-argument›"],
            }),
            &["secret-argument", "secret-argument", "secret-argument"],
        );
    }

    #[test]
    fn what_repeats_the_object_is_dropped_at_any_depth() {
        let metadata =
            json!({ "managedFields": [{}], "annotations": { LAST_APPLIED: "{}", "a": "b" } });
        check(
            json!({ "metadata": metadata, "spec": { "template": { "metadata": metadata } } }),
            &json!({
                "metadata": { "annotations": { "a": "b" } },
                "spec": { "template": { "metadata": { "annotations": { "a": "b" } } } },
            }),
            &["last-applied-configuration", "last-applied-configuration"],
        );
    }
}
