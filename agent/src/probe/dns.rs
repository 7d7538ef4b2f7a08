//! Asks name servers for an address, each time anew: one question, one answer.
//!
//! There is no cache and no second try, because a sample tells what a program
//! would have met that asked just then. A socket is connected to its server, so
//! that "nobody listens there" and "the firewall forbids it" are seen as such
//! and not as silence; a library resolver hides both behind its retries, and
//! turns silence into "no such name" by going on with the search domains.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

use super::failure::{Class, Failure};
use super::names::Names;

/// Answer size that is offered to servers: fits any path without fragments.
const UDP_PAYLOAD_BYTES: u16 = 1_232;

/// First address of a name: from the hosts file, else IPv4, else IPv6 of the
/// first name of the search list that has one.
///
/// # Errors
///
/// That of the name as it is written, unless a server failed before it was asked.
pub(crate) async fn resolve(
    names: &Names,
    name: &str,
    deadline: Instant,
) -> Result<IpAddr, Failure> {
    if let Some(address) = names.pinned(name) {
        return Ok(address);
    }
    if names.servers.is_empty() {
        return Err(Failure::new(Class::Local, "resolv.conf names no server"));
    }
    let candidates = names.candidates(name);
    let own_first = candidates
        .first()
        .is_some_and(|first| first.trim_end_matches('.') == name.trim_end_matches('.'));
    let mut told: Option<Failure> = None;
    for candidate in &candidates {
        let failure = match ask_for_address(names, candidate, deadline).await {
            Ok(address) => return Ok(address),
            Err(failure) => failure,
        };
        match failure.class {
            Class::NxDomain | Class::NoAddress | Class::ServFail | Class::DnsRefused => {}
            _ => return Err(failure),
        }
        match &told {
            Some(earlier) if own_first || !is_negative(earlier) => {}
            _ => told = Some(failure),
        }
    }
    Err(told.unwrap_or_else(|| Failure::new(Class::NoAddress, "no name to ask for")))
}

/// Whether a server knows that there is no address, rather than not knowing.
fn is_negative(failure: &Failure) -> bool {
    matches!(failure.class, Class::NxDomain | Class::NoAddress)
}

/// First IPv4 address of a full name, else its first IPv6 address.
async fn ask_for_address(names: &Names, name: &str, deadline: Instant) -> Result<IpAddr, Failure> {
    match ask_servers(names, name, RecordType::A, deadline).await {
        Err(failure) if failure.class == Class::NoAddress => {
            ask_servers(names, name, RecordType::AAAA, deadline).await
        }
        answer => answer,
    }
}

/// Asks the servers in their order until one knows. The time left is shared
/// among those left, so that the last is asked too.
async fn ask_servers(
    names: &Names,
    name: &str,
    kind: RecordType,
    deadline: Instant,
) -> Result<IpAddr, Failure> {
    let own = Name::from_str_relaxed(name)
        .map_err(|error| Failure::new(Class::Local, format!("{name} is no name: {error}")))?;
    let query = Query::query(own, kind);
    let mut told: Option<Failure> = None;
    for (place, server) in names.servers.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = (left / (names.servers.len() - place) as u32).min(names.server_timeout);
        let failure = match timeout(share, ask(*server, &query)).await {
            Ok(Ok(address)) => return Ok(address),
            Ok(Err(failure)) if is_negative(&failure) => return Err(failure),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::new(Class::Timeout, format!("{server} did not answer for {name}")),
        };
        // An answer, even a bad one, says more than silence.
        if told.as_ref().is_none_or(|earlier| earlier.class == Class::Timeout) {
            told = Some(failure);
        }
    }
    Err(told.unwrap_or_else(|| Failure::new(Class::Local, "resolv.conf names no server")))
}

/// Asks one server one question.
async fn ask(server: SocketAddr, query: &Query) -> Result<IpAddr, Failure> {
    let mut message = Message::query();
    message.add_query(query.clone());
    message.metadata.recursion_desired = true;
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD_BYTES);
    message.set_edns(edns);
    let request = message
        .to_vec()
        .map_err(|error| Failure::new(Class::Local, format!("{}: {error}", query.name())))?;
    let mut answer = ask_udp(server, &message, &request).await?;
    if answer.metadata.truncation {
        answer = ask_tcp(server, &message, &request).await?;
    }
    read_answer(server, query, &answer)
}

async fn ask_udp(
    server: SocketAddr,
    message: &Message,
    request: &[u8],
) -> Result<Message, Failure> {
    let what = format!("asking {server}");
    let failed = |error| Failure::io(&what, &error);
    let any = match server {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await.map_err(failed)?;
    socket.connect(server).await.map_err(failed)?;
    socket.send(request).await.map_err(failed)?;
    let mut buffer = [0; 4_096];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(failed)?;
        if let Some(answer) = read_message(server, message, &buffer[..length])? {
            return Ok(answer);
        }
    }
}

async fn ask_tcp(
    server: SocketAddr,
    message: &Message,
    request: &[u8],
) -> Result<Message, Failure> {
    let what = format!("asking {server} over tcp");
    let failed = |error| Failure::io(&what, &error);
    let mut stream = TcpStream::connect(server).await.map_err(failed)?;
    let mut framed = Vec::with_capacity(request.len() + 2);
    framed.extend_from_slice(&(request.len() as u16).to_be_bytes());
    framed.extend_from_slice(request);
    stream.write_all(&framed).await.map_err(failed)?;
    let length = stream.read_u16().await.map_err(failed)?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await.map_err(failed)?;
    read_message(server, message, &buffer)?.ok_or_else(|| senseless(server))
}

/// Answer in a datagram, `None` if it answers another question.
fn read_message(
    server: SocketAddr,
    asked: &Message,
    bytes: &[u8],
) -> Result<Option<Message>, Failure> {
    if bytes.get(..2) != Some(&asked.metadata.id.to_be_bytes()) {
        return Ok(None);
    }
    let answer = Message::from_vec(bytes).map_err(|_| senseless(server))?;
    let same = answer.queries == asked.queries
        || answer.queries.is_empty() && answer.metadata.response_code != ResponseCode::NoError;
    Ok((answer.metadata.message_type == MessageType::Response && same).then_some(answer))
}

fn senseless(server: SocketAddr) -> Failure {
    Failure::new(Class::ServFail, format!("the answer of {server} makes no sense"))
}

/// First address in an answer, or why there is none. The name may have led
/// through aliases, which the server has followed.
fn read_answer(server: SocketAddr, query: &Query, answer: &Message) -> Result<IpAddr, Failure> {
    let code = answer.metadata.response_code;
    let failed = |class| {
        let text = format!("{server} answers {code} for {} {}", query.name(), query.query_type());
        Err(Failure::new(class, text))
    };
    match code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => return failed(Class::NxDomain),
        ResponseCode::Refused | ResponseCode::NotImp => return failed(Class::DnsRefused),
        _ => return failed(Class::ServFail),
    }
    let mut addresses = answer.answers.iter().filter_map(|record| match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    });
    addresses.next().map_or_else(
        || {
            let text = format!("{server} has no {} record of {}", query.query_type(), query.name());
            Err(Failure::new(Class::NoAddress, text))
        },
        Ok,
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::{Dns, Reply, closed_udp_port};
    use super::*;

    fn names(servers: &[SocketAddr]) -> Names {
        Names { servers: servers.to_vec(), search: vec!["corp.example".into()], ..Names::default() }
    }

    async fn ask_within(names: &Names, name: &str, millis: u64) -> Result<IpAddr, Failure> {
        resolve(names, name, Instant::now() + Duration::from_millis(millis)).await
    }

    fn class(result: Result<IpAddr, Failure>) -> &'static str {
        result.expect_err("a failure").class.as_str()
    }

    #[tokio::test]
    async fn answers_have_their_class() {
        let dns = Dns::start(|name, kind| match (name, kind) {
            ("good.example.", RecordType::A) => Reply::Address([10, 1, 2, 3]),
            ("six.example.", RecordType::AAAA) => Reply::Address6("fd00::5"),
            ("alias.example.", RecordType::A) => Reply::Alias([10, 1, 2, 4]),
            ("big.example.", RecordType::A) => Reply::Truncated([10, 1, 2, 5]),
            ("broken.example.", _) => Reply::Code(ResponseCode::ServFail),
            ("refused.example.", _) => Reply::Code(ResponseCode::Refused),
            ("silent.example.", _) => Reply::Nothing,
            ("noise.example.", _) => Reply::Noise,
            ("six.example." | "empty.example.", _) => Reply::Empty,
            _ => Reply::Code(ResponseCode::NXDomain),
        })
        .await;
        let names = names(&[dns.address]);
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        for (name, expected) in [
            ("good.example", "10.1.2.3"),
            ("good.example.", "10.1.2.3"),
            ("six.example", "fd00::5"),
            ("alias.example", "10.1.2.4"),
            ("big.example", "10.1.2.5"),
        ] {
            let found = ask_within(&names, name, 5_000).await;
            assert_eq!(found, Ok(address(expected)), "{name}");
        }
        for (name, expected) in [
            ("broken.example", "servfail"),
            ("refused.example", "dns_refused"),
            ("empty.example", "no_address"),
            ("missing.example", "nxdomain"),
            ("noise.example", "servfail"),
        ] {
            assert_eq!(class(ask_within(&names, name, 5_000).await), expected, "{name}");
        }
        assert_eq!(class(ask_within(&names, "silent.example", 50).await), "timeout");
    }

    #[tokio::test]
    async fn every_sample_asks_and_silence_ends_the_search() {
        let dns = Dns::start(|name, _| match name {
            "good.example." => Reply::Address([10, 1, 2, 3]),
            "silent.example." => Reply::Nothing,
            "db.corp.example." => Reply::Address([10, 1, 2, 9]),
            _ => Reply::Code(ResponseCode::NXDomain),
        })
        .await;
        let names = names(&[dns.address]);
        for _ in 0..3 {
            ask_within(&names, "good.example", 5_000).await.expect("an address");
        }
        assert_eq!(dns.asked(), ["good.example. A"; 3]);
        assert_eq!(class(ask_within(&names, "silent.example", 50).await), "timeout");
        assert_eq!(dns.asked()[3..], ["silent.example. A"]);
        ask_within(&names, "db", 5_000).await.expect("through the search domain");
        assert_eq!(dns.asked()[4..], ["db.corp.example. A"]);
        assert_eq!(class(ask_within(&names, "no.example", 5_000).await), "nxdomain");
        assert_eq!(dns.asked()[5..], ["no.example. A", "no.example.corp.example. A"]);
    }

    #[tokio::test]
    async fn a_failing_server_is_not_hidden_by_no_such_name() {
        let dns = Dns::start(|name, _| match name {
            "db.corp.example." => Reply::Code(ResponseCode::ServFail),
            _ => Reply::Code(ResponseCode::NXDomain),
        })
        .await;
        assert_eq!(class(ask_within(&names(&[dns.address]), "db", 5_000).await), "servfail");
    }

    #[tokio::test]
    async fn the_next_server_is_asked() {
        let silent = Dns::start(|_, _| Reply::Nothing).await;
        let broken = Dns::start(|_, _| Reply::Code(ResponseCode::ServFail)).await;
        let good = Dns::start(|_, _| Reply::Address([10, 1, 2, 3])).await;
        let closed = closed_udp_port().await;
        for first in [silent.address, broken.address, closed] {
            let found = ask_within(&names(&[first, good.address]), "a.example", 1_000).await;
            assert_eq!(found, Ok(IpAddr::from([10, 1, 2, 3])), "{first}");
        }
        let both = names(&[silent.address, broken.address]);
        assert_eq!(class(ask_within(&both, "a.example", 1_000).await), "servfail");
        assert_eq!(class(ask_within(&names(&[closed]), "a.example", 5_000).await), "refused");
    }

    #[tokio::test]
    async fn what_is_known_is_not_asked() {
        let mut names = names(&[]);
        names.hosts.push(("pinned.example".into(), [10, 9, 9, 9].into()));
        let found = ask_within(&names, "pinned.example", 50).await;
        assert_eq!(found, Ok([10, 9, 9, 9].into()));
        assert_eq!(class(ask_within(&names, "other.example", 50).await), "local");
    }
}
