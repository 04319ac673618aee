use super::*;

const V4: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 31337 1 0000000000000000 100 0 0 10 0
   1: 0B00007F:9C4F 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31338 1 0000000000000000 100 0 0 10 0
   2: 020012AC:A1B2 030012AC:0050 01 00000000:00000000 02:000A 00000000 61337        0 99 2 0000000000000000 20 4 30 10 -1
";
const V6: &str = "  sl  local_address                         remote_address                        st tx_queue
   0: 00000000000000000000000000000000:0BB8 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000    33        0 1 1 0 100 0 0 10 0
   1: 0000000000000000FFFF0000020012AC:0BB8 0000000000000000FFFF0000030012AC:D431 01 00000000:00000000 00:00000000 00000000    33        0 1 1 0 100 0 0 10 0
";

fn socket(local: &str, remote: &str, uid: u32) -> Socket {
    let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
    Socket { local, remote, state: State::Established, uid }
}

#[test]
#[cfg(target_endian = "little")]
fn reads_both_families() {
    let v4: Vec<_> = parse(V4).collect();
    assert_eq!(v4.len(), 3);
    assert_eq!(v4[0].local, "127.0.0.1:8080".parse().unwrap());
    assert_eq!((v4[0].state, v4[0].uid), (State::Listen, 1000));
    assert_eq!(v4[2].remote, "172.18.0.3:80".parse().unwrap());
    assert_eq!((v4[2].state, v4[2].uid), (State::Established, 61337));
    let v6: Vec<_> = parse(V6).collect();
    assert_eq!(v6[0].local, "[::]:3000".parse().unwrap());
    assert_eq!(v6[1].local, "172.18.0.2:3000".parse().unwrap(), "mapped addresses are IPv4");
}

#[test]
fn rows_that_are_none_are_left_out() {
    for text in
        ["", "\n\n", "0:", "0: x y z", "0: 0100007F 0 0A", "0: 0100007F:1F90 00000000:0000 0A 0 0 0 x"]
    {
        assert_eq!(parse(text).count(), 0, "{text}");
    }
    // Cut anywhere, also inside a character: fewer rows, no panic.
    let odd = V6.replace("0BB8", "é0BB8");
    for end in (0..odd.len()).filter(|end| odd.is_char_boundary(*end)) {
        assert!(parse(&odd[..end]).count() <= 2);
    }
}

#[test]
fn only_connections_that_leave_without_the_sidecar_are_unmeshed() {
    let meshed = [
        // Out, redirected: the sidecar accepted it from the application's address.
        socket("172.18.0.2:40000", "127.64.0.3:80", 1000),
        socket("127.0.0.1:15001", "172.18.0.2:40000", 61337),
        // The same before the sidecar has accepted it: older kernels show the owner as root.
        socket("172.18.0.2:40001", "10.1.1.1:443", 1000),
        socket("127.0.0.1:15001", "172.18.0.2:40001", 0),
        // In, handed over on the workload's own address.
        socket("172.18.0.2:8080", "172.18.0.2:50000", 1000),
        socket("172.18.0.2:50000", "172.18.0.2:8080", 61337),
        // The sidecar's own way out.
        socket("172.18.0.2:50001", "172.18.0.9:15008", 61337),
        // In from a peer, not accepted yet.
        socket("172.18.0.2:15008", "172.18.0.9:41000", 0),
        // Loopback.
        socket("127.0.0.1:6379", "127.0.0.1:40002", 1000),
        socket("[::1]:6379", "[::1]:40002", 1000),
    ];
    assert_eq!(unmeshed(&meshed), 0);
    let mut all = meshed.to_vec();
    all.push(socket("172.18.0.2:40003", "10.1.1.1:443", 1000));
    all.push(socket("172.18.0.2:8080", "172.18.0.1:52000", 0));
    assert_eq!(unmeshed(&all), 2);
}
