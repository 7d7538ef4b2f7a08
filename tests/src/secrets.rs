//! Secrets to plant: what no database of an agent may hold.

/// One secret of each kind: the rule that must find it, the text it stands in, and
/// the secret itself.
pub const SECRETS: [(&str, &str, &str); 16] = [
    (
        "sas-signature",
        "PUT https://a.blob.core.windows.net/c?sv=2024&se=2026&sr=c&sig=PLANTEDsas0123456%3D failed",
        "PLANTEDsas0123456",
    ),
    (
        "account-key",
        "AccountName=a;AccountKey=PLANTEDaccountkey0123456789==;EndpointSuffix=core.windows.net",
        "PLANTEDaccountkey0123456789",
    ),
    (
        "shared-access-key",
        "Endpoint=sb://x/;SharedAccessKeyName=Root;SharedAccessKey=PLANTEDsharedkey01234=",
        "PLANTEDsharedkey01234",
    ),
    (
        "json-web-token",
        "got eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJQTEFOVEVEIn0.PLANTEDsignature-0123",
        "PLANTEDsignature-0123",
    ),
    ("authorization", "Authorization: Bearer PLANTEDbearer0123456789", "PLANTEDbearer0123456789"),
    ("authorization", "authorization: Basic UExBTlRFRDpwYXNzd29yZA==", "UExBTlRFRDpwYXNzd29yZA"),
    ("bearer-token", "sent bearer PLANTEDbare0123456789 again", "PLANTEDbare0123456789"),
    ("bootstrap-token", "join with the token pl4nt3.d0b00t5tr4pt0k3n", "pl4nt3.d0b00t5tr4pt0k3n"),
    ("url-password", "proxy http://me:PLANTEDproxy01@10.0.0.4:3128", "PLANTEDproxy01"),
    (
        "client-secret",
        "grant_type=x&client_secret=PLANTED~client.secret&scope=y",
        "PLANTED~client.secret",
    ),
    (
        "private-key",
        "-----BEGIN RSA PRIVATE KEY----- PLANTEDMIIEowIBAAKCAQEA0b5 -----END RSA PRIVATE KEY-----",
        "PLANTEDMIIEowIBAAKCAQEA0b5",
    ),
    ("password", "user=bob password=PLANTEDpassword01 ok", "PLANTEDpassword01"),
    ("api-key", "x-api-key: PLANTEDapikey0123456", "PLANTEDapikey0123456"),
    ("token", "refresh_token=PLANTEDrefresh0123456&x=1", "PLANTEDrefresh0123456"),
    ("employee", "seen by EMP-731337 and others", "EMP-731337"),
    ("code-word", "they say planted xyzzy here", "planted xyzzy"),
];

/// Pieces that are in most of them, and in none of the tests' other texts.
pub const PIECES: [&str; 2] = ["PLANTED", "pl4nt3"];
