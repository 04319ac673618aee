use std::io;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, HandshakeKind, NamedGroup, ServerConnection};

use super::*;

struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn contexts(&self, id: &str) -> Contexts {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        let leaf = params.signed_by(&key, &self.0).unwrap();
        let identity = Identity {
            key: key.into(),
            chain: vec![leaf.der().clone()],
            roots: vec![self.0.der().clone()],
            spiffe: id.to_owned().try_into().unwrap(),
            not_before: 0,
            not_after: 0,
        };
        Contexts::new(&identity).unwrap()
    }
}

const WEB: &str = "spiffe://a/shop/web";
const CART: &str = "spiffe://a/shop/cart";

/// Shakes hands in memory and lets both sides say one byte.
fn shake(caller: &Contexts, callee: &Contexts, expected: &str) -> Result<ClientConnection, rustls::Error> {
    let expected = SpiffeId::try_from(expected.to_owned()).unwrap();
    let name: ServerName<'static> = "80.cart.shop".try_into().unwrap();
    let mut client = ClientConnection::new(caller.client(&expected, Alpn::Tcp)?, name)?;
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
