//! Where a registry may lead callers: never to themselves, to what every host has of its own, or to the mesh's virtual addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its address {address} is {what}: callers are not led there")]
pub struct Refused {
    /// The address.
    pub address: IpAddr,
    /// What it is.
    pub what: &'static str,
}

/// Takes addresses of other hosts only, whichever way they are written.
///
/// # Errors
/// It is none.
pub fn check(address: IpAddr) -> Result<(), Refused> {
    let what = match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => v6(address),
    };
    what.map_or(Ok(()), |what| Err(Refused { address, what }))
}

fn v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("unspecified"),
        // Where the mesh's virtual addresses are, too.
        [127, ..] => Some("of the caller's own host (loopback)"),
        [169, 254, ..] => Some("link-local: metadata and credentials are there"),
        [224..=239, ..] => Some("multicast"),
        [240..=255, ..] => Some("reserved: the mesh's virtual addresses are there"),
        _ => None,
    }
}

fn v6(address: Ipv6Addr) -> Option<&'static str> {
    let segments = address.segments();
    let [.., high, low] = segments;
    let embedded = || v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("of the caller's own host (loopback)"),
        // IPv4 in IPv6: as such (RFC 4291 section 2.5.5), and translated (RFC 6052).
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => embedded(),
        // Instance metadata, DNS and time of EC2 (fd00:ec2::254 and others).
        [0xfd00, 0x0ec2, ..] => Some("Amazon's own: metadata and credentials are there"),
        [first, ..] if first & 0xffc0 == 0xfe80 => Some("link-local"),
        [first, ..] if first & 0xff00 == 0xff00 => Some("multicast"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_hosts_are_led_to() {
        for good in [
            "10.0.0.5",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "203.0.113.7",
            "fd12::5",
            "2600:1f18::1",
            "64:ff9b::a00:5",
            "::ffff:10.0.0.5",
        ] {
            assert_eq!(check(good.parse().unwrap()), Ok(()), "{good}");
        }
        for bad in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.64.0.1",
            "169.254.169.254",
            "169.254.170.2",
            "224.0.0.1",
            "240.64.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "::ffff:127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fe80::1",
            "febf::1",
            "ff02::1",
        ] {
            let refused = check(bad.parse().unwrap()).unwrap_err();
            assert!(refused.to_string().contains("callers are not led there"), "{bad}");
        }
    }
}
