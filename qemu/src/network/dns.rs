//! Answers to questions for names and addresses of machines (RFC 1035). Questions for anything else are left to whom
//! they were asked.

use std::net::Ipv4Addr;

use smoltcp::wire::{DnsFlags, DnsOpcode, DnsPacket, DnsQueryType, DnsQuestion};

/// Who is called what.
pub(super) trait Names {
    fn address_of(&self, name: &str) -> Option<Ipv4Addr>;
    fn name_of(&self, address: Ipv4Addr) -> Option<String>;
}

const HEADER: usize = 12;
const PTR: DnsQueryType = DnsQueryType::Unknown(12);
const ANY: DnsQueryType = DnsQueryType::Unknown(255);
/// Seconds an answer may be kept: none, as machines come and go.
const TTL: u32 = 0;

/// The answer to the message `query`, if it asks for what `names` knows.
pub(super) fn answer(query: &[u8], names: &impl Names) -> Option<Vec<u8>> {
    let packet = DnsPacket::new_checked(query).ok()?;
    let flags = packet.flags();
    if flags.contains(DnsFlags::RESPONSE)
        || packet.opcode() != DnsOpcode::Query
        || packet.question_count() != 1
    {
        return None;
    }
    let (rest, question) = DnsQuestion::parse(packet.payload()).ok()?;
    let mut labels = Vec::new();
    for label in packet.parse_name(question.name) {
        labels.push(std::str::from_utf8(label.ok()?).ok()?);
    }
    // A name that is known has an address of IPv4 and nothing else, which is no error.
    let data: Option<Vec<u8>> = match (question.type_, reversed(&labels)) {
        (PTR, Some(address)) => Some(encoded(&names.name_of(address)?)?),
        (_, Some(_)) => return None,
        (type_, None) => {
            let address = names.address_of(&labels.join("."))?;
            let wanted = matches!(type_, DnsQueryType::A | ANY);
            wanted.then(|| address.octets().to_vec())
        }
    };
    let end = query.len() - rest.len();
    let mut message = query[..end].to_vec();
    let mut out = DnsPacket::new_unchecked(&mut message[..]);
    out.set_flags(
        DnsFlags::RESPONSE
            | DnsFlags::AUTHORITATIVE
            | DnsFlags::RECURSION_AVAILABLE
            | (flags & DnsFlags::RECURSION_DESIRED),
    );
    out.set_answer_record_count(data.is_some().into());
    out.set_authority_record_count(0);
    out.set_additional_record_count(0);
    if let Some(data) = data {
        let type_ = if data.len() == 4 && question.type_ != PTR {
            DnsQueryType::A
        } else {
            PTR
        };
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

/// The address that a name below `in-addr.arpa` stands for.
fn reversed(labels: &[&str]) -> Option<Ipv4Addr> {
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
        let message = answer(&query("db", 28), &One).unwrap();
        assert_eq!(message[2..8], [0x85, 0x80, 0, 1, 0, 0]);
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
