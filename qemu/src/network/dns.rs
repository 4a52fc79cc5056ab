//! Answers to questions for names and addresses of machines (RFC 1035). Questions for anything else are left to whom
//! they were asked.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::subnet::{v4_of, v6_of};
use smoltcp::wire::{DnsFlags, DnsOpcode, DnsPacket, DnsQueryType, DnsQuestion};

/// Who is called what.
pub(super) trait Names {
    fn address_of(&self, name: &str) -> Option<Ipv4Addr>;
    fn name_of(&self, address: Ipv4Addr) -> Option<String>;
    /// Whether those that are known have addresses of IPv6, too.
    fn has_ipv6(&self) -> bool;
}

const HEADER: usize = 12;
const PTR: DnsQueryType = DnsQueryType::Unknown(12);
const ANY: DnsQueryType = DnsQueryType::Unknown(255);
/// Seconds an answer may be kept: none, as machines come and go.
const TTL: u32 = 0;

/// A message that asks one question: that, and where it ends.
fn question(query: &[u8]) -> Option<(DnsPacket<&[u8]>, DnsQuestion<'_>, usize)> {
    let packet = DnsPacket::new_checked(query).ok()?;
    if packet.flags().contains(DnsFlags::RESPONSE)
        || packet.opcode() != DnsOpcode::Query
        || packet.question_count() != 1
    {
        return None;
    }
    let (rest, question) = DnsQuestion::parse(&query[HEADER..]).ok()?;
    Some((packet, question, query.len() - rest.len()))
}

/// The beginning of an answer, with so many records to follow.
fn begin(query: &[u8], end: usize, asked: DnsFlags, records: u16) -> Vec<u8> {
    let mut message = query[..end].to_vec();
    let mut out = DnsPacket::new_unchecked(&mut message[..]);
    out.set_flags(
        DnsFlags::RESPONSE
            | DnsFlags::AUTHORITATIVE
            | DnsFlags::RECURSION_AVAILABLE
            | (asked & DnsFlags::RECURSION_DESIRED),
    );
    out.set_answer_record_count(records);
    out.set_authority_record_count(0);
    out.set_additional_record_count(0);
    message
}

/// The answer to the message `query`, that there is no such name.
pub(super) fn unknown(query: &[u8]) -> Option<Vec<u8>> {
    let (packet, _, end) = question(query)?;
    let mut message = begin(query, end, packet.flags(), 0);
    // NXDOMAIN
    message[3] = message[3] & 0xf0 | 3;
    Some(message)
}

/// The answer to the message `query`, if it asks for what `names` knows.
pub(super) fn answer(query: &[u8], names: &impl Names) -> Option<Vec<u8>> {
    let (packet, question, end) = question(query)?;
    let mut labels = Vec::new();
    for label in packet.parse_name(question.name) {
        labels.push(std::str::from_utf8(label.ok()?).ok()?);
    }
    // A name that is known has addresses and nothing else, which is no error.
    let record: Option<(DnsQueryType, Vec<u8>)> = match (question.type_, reversed(&labels)) {
        (PTR, Some(address)) => Some((PTR, encoded(&names.name_of(address)?)?)),
        (_, Some(_)) => return None,
        (type_, None) => {
            let address = names.address_of(&labels.join("."))?;
            match type_ {
                DnsQueryType::A | ANY => Some((DnsQueryType::A, address.octets().to_vec())),
                DnsQueryType::Aaaa if names.has_ipv6() => {
                    Some((DnsQueryType::Aaaa, v6_of(address).octets().to_vec()))
                }
                _ => None,
            }
        }
    };
    let mut message = begin(query, end, packet.flags(), record.is_some().into());
    if let Some((type_, data)) = record {
        // The name is the question's, by a pointer.
        message.extend([0xc0, u8::try_from(HEADER).ok()?]);
        message.extend(u16::from(type_).to_be_bytes());
        message.extend(1u16.to_be_bytes());
        message.extend(TTL.to_be_bytes());
        message.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        message.extend(data);
    }
    Some(message)
}

/// The address of a machine that a name below `in-addr.arpa` or `ip6.arpa` stands for.
fn reversed(labels: &[&str]) -> Option<Ipv4Addr> {
    if let [digits @ .., domain, top] = labels
        && digits.len() == 32
    {
        let arpa = domain.eq_ignore_ascii_case("ip6") && top.eq_ignore_ascii_case("arpa");
        let digits: String = digits.iter().rev().copied().collect();
        let bits = u128::from_str_radix(&digits, 16).ok().filter(|_| arpa)?;
        return v4_of(Ipv6Addr::from_bits(bits));
    }
    let [d, c, b, a, domain, top] = labels else {
        return None;
    };
    if !domain.eq_ignore_ascii_case("in-addr") || !top.eq_ignore_ascii_case("arpa") {
        return None;
    }
    format!("{a}.{b}.{c}.{d}").parse().ok()
}

/// A name as messages have it.
fn encoded(name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        let len = u8::try_from(label.len())
            .ok()
            .filter(|len| (1..64).contains(len))?;
        bytes.push(len);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;
    impl Names for One {
        fn address_of(&self, name: &str) -> Option<Ipv4Addr> {
            name.eq_ignore_ascii_case("db")
                .then_some(Ipv4Addr::new(10, 0, 2, 15))
        }
        fn name_of(&self, address: Ipv4Addr) -> Option<String> {
            (address == Ipv4Addr::new(10, 0, 2, 15)).then(|| "db".to_owned())
        }
        fn has_ipv6(&self) -> bool {
            true
        }
    }

    fn query(name: &str, type_: u16) -> Vec<u8> {
        let head = [0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        let mut query = [
            &head[..],
            &encoded(name).unwrap(),
            &type_.to_be_bytes(),
            &[0, 1],
        ]
        .concat();
        // EDNS
        query.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]);
        query
    }

    #[test]
    fn names_are_answered() {
        let message = answer(&query("DB", 1), &One).unwrap();
        assert_eq!(
            message[..12],
            [0xab, 0xcd, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]
        );
        assert!(message.ends_with(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 10, 0, 2, 15]));
        // There is no such record, but the name is.
        let message = answer(&query("db", 15), &One).unwrap();
        assert_eq!(message[2..8], [0x85, 0x80, 0, 1, 0, 0]);
        let address = v6_of(Ipv4Addr::new(10, 0, 2, 15));
        let message = answer(&query("db", 28), &One).unwrap();
        assert_eq!(message[2..8], [0x85, 0x80, 0, 1, 0, 1]);
        assert!(message.ends_with(&address.octets()));
        let digits = format!("{:032x}", address.to_bits());
        let reverse: String = digits.chars().rev().flat_map(|c| [c, '.']).collect();
        let message = answer(&query(&format!("{reverse}ip6.arpa"), 12), &One).unwrap();
        assert!(message.ends_with(&[2, b'd', b'b', 0]));
        let message = answer(&query("15.2.0.10.in-addr.arpa", 12), &One).unwrap();
        assert!(message.ends_with(&[0, 12, 0, 1, 0, 0, 0, 0, 0, 4, 2, b'd', b'b', 0]));
    }

    #[test]
    fn others_are_left_to_others() {
        for (name, type_) in [
            ("example.org", 1),
            ("db.example.org", 1),
            ("16.2.0.10.in-addr.arpa", 12),
        ] {
            assert!(answer(&query(name, type_), &One).is_none(), "{name}");
        }
        let unknown = unknown(&query("example.org", 1)).unwrap();
        assert_eq!(unknown[2..8], [0x85, 0x83, 0, 1, 0, 0]);
        let good = query("db", 1);
        for len in 0..good.len() {
            // Cut short, it is answered or it is not.
            let _ = answer(&good[..len], &One);
        }
        assert!(
            answer(&answer(&good, &One).unwrap(), &One).is_none(),
            "an answer is no question"
        );
    }
}
