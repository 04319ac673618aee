use std::io;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, HandshakeKind, NamedGroup, ServerConnection};

use super::*;
use crate::identity::validity;

struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn contexts(&self, id: &str) -> Contexts {
        let key = KeyPair::generate().unwrap();
        let chain = vec![self.leaf(id, &key)];
        let identity = Identity {
            key: key.into(),
            chain,
            roots: vec![self.0.der().clone()],
            spiffe: id.to_owned().try_into().unwrap(),
            not_before: 0,
            not_after: 0,
        };
        Contexts::new(&identity).unwrap()
    }

    fn leaf(&self, id: &str, key: &KeyPair) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        params.signed_by(key, &self.0).unwrap().der().clone()
    }
}

const WEB: &str = "spiffe://a/shop/web";
const CART: &str = "spiffe://a/shop/cart";

/// Shakes hands in memory and lets both sides say one byte.
fn shake(caller: &Contexts, callee: &Contexts, expected: &str) -> Result<ClientConnection, rustls::Error> {
    finish(begin(caller, expected, 80)?, callee)
}

/// Not a byte has left it; a session that is resumed is taken.
fn begin(caller: &Contexts, expected: &str, port: u16) -> Result<ClientConnection, rustls::Error> {
    let expected = SpiffeId::try_from(expected.to_owned()).unwrap();
    let name: ServerName<'static> = format!("{port}.cart.shop").try_into().unwrap();
    ClientConnection::new(caller.client(&expected, Alpn::Tcp)?, name)
}

fn finish(mut client: ClientConnection, callee: &Contexts) -> Result<ClientConnection, rustls::Error> {
    let mut server = ServerConnection::new(callee.server())?;
    for _ in 0..6 {
        carry(&mut client, &mut server);
        server.process_new_packets()?;
        carry(&mut server, &mut client);
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    assert_eq!(server.alpn_protocol(), Some(Alpn::Tcp.id()));
    Ok(client)
}

fn carry<A, B>(
    from: &mut impl std::ops::DerefMut<Target = rustls::ConnectionCommon<A>>,
    to: &mut impl std::ops::DerefMut<Target = rustls::ConnectionCommon<B>>,
) {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut bytes = io::Cursor::new(bytes);
    while (bytes.position() as usize) < bytes.get_ref().len() {
        to.read_tls(&mut bytes).unwrap();
    }
}

#[test]
fn tls_1_3_with_a_post_quantum_exchange() {
    let ca = Ca::new();
    let client = shake(&ca.contexts(WEB), &ca.contexts(CART), CART).unwrap();
    assert_eq!(client.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    let group = client.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
}

#[test]
fn sessions_are_resumed_with_the_same_identity_only() {
    let ca = Ca::new();
    let (web, cart) = (ca.contexts(WEB), ca.contexts(CART));
    let kinds: Vec<_> = (0..3).map(|_| shake(&web, &cart, CART).unwrap().handshake_kind()).collect();
    assert_eq!(
        kinds,
        [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed), Some(HandshakeKind::Resumed)]
    );
    // The session with `cart` is no proof of being another.
    assert!(shake(&web, &cart, WEB).is_err());
    // A renewed identity starts anew.
    let renewed = shake(&ca.contexts(WEB), &cart, CART).unwrap();
    assert_eq!(renewed.handshake_kind(), Some(HandshakeKind::Full));
}

/// rustls keeps eight sessions for each name: of more connections at a time all others would begin in full.
#[test]
fn as_many_connections_resume_at_once_as_sessions_are_kept() {
    let ca = Ca::new();
    let (web, cart) = (ca.contexts(WEB), ca.contexts(CART));
    let resumed = || {
        let begun: Vec<_> = (0..sessions::MOST + 5).map(|_| begin(&web, CART, 80).unwrap()).collect();
        let kinds = begun.into_iter().map(|client| finish(client, &cart).unwrap().handshake_kind());
        kinds.filter(|kind| *kind == Some(HandshakeKind::Resumed)).count()
    };
    assert_eq!(resumed(), 0);
    assert_eq!(resumed(), sessions::MOST);
    // Those of one port are of no use for another.
    let other = finish(begin(&web, CART, 81).unwrap(), &cart).unwrap();
    assert_eq!(other.handshake_kind(), Some(HandshakeKind::Full));
}

#[test]
fn a_resumed_session_does_not_outlive_the_certificate_it_began_with() {
    let ca = Ca::new();
    let (web, cart) = (ca.contexts(WEB), ca.contexts(CART));
    let _full = shake(&web, &cart, CART).unwrap();
    let resumed = shake(&web, &cart, CART).unwrap();
    assert_eq!(resumed.handshake_kind(), Some(HandshakeKind::Resumed));
    let chain = resumed.peer_certificates();
    let (from, until) = validity(&chain.unwrap()[0]).unwrap();
    let at = |seconds| web.peer(chain, UnixTime::since_unix_epoch(Duration::from_secs(seconds)));
    assert_eq!((at(from).unwrap().to_string(), at(until).unwrap().to_string()), (CART.into(), CART.into()));
    for seconds in [from - 1, until + 1] {
        assert_eq!(at(seconds), Err(WrongIdentity::NotGood(CART.to_owned().try_into().unwrap())));
    }
    assert_eq!(web.peer(None, UnixTime::now()), Err(WrongIdentity::Missing));
}

#[test]
fn certificates_of_one_key_are_told_apart_and_few_are_kept() {
    let (ca, key, peers) = (Ca::new(), KeyPair::generate().unwrap(), Peers::default());
    let now = UnixTime::now();
    for number in 0..600 {
        let id = format!("spiffe://a/shop/web-{number}");
        let leaf = ca.leaf(&id, &key);
        for _ in 0..2 {
            assert_eq!(peers.identify(&leaf, now).unwrap().to_string(), id);
        }
        assert!(peers.kept() <= 256);
    }
    assert_eq!(peers.identify(&vec![1, 2, 3].into(), now), Err(WrongIdentity::Unreadable));
}

#[test]
fn wrong_identities_are_named() {
    let (ca, other) = (Ca::new(), Ca::new());
    let error = shake(&ca.contexts(WEB), &ca.contexts(CART), "spiffe://a/shop/db").unwrap_err().to_string();
    assert!(error.contains(CART) && error.contains("spiffe://a/shop/db"), "{error}");
    let error = shake(&ca.contexts("spiffe://b/shop/web"), &ca.contexts(CART), CART).unwrap_err().to_string();
    assert!(error.contains("trust domain a"), "{error}");
    assert!(shake(&other.contexts(WEB), &ca.contexts(CART), CART).is_err());
}

#[test]
fn bytes_that_are_no_certificate_are_survived() {
    let mut rng = fastrand::Rng::with_seed(11);
    for _ in 0..5_000 {
        let bytes: Vec<u8> = (0..rng.usize(0..200)).map(|_| rng.u8(..)).collect();
        assert!(spiffe_id(&bytes.into()).is_err());
    }
}
