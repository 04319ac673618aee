//! The resolver over real sockets on loopback, against servers made here.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};
use outrigger_lifecycle::Tasks;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::answer::tests::{names, query};
use super::*;

const LIMIT: Duration = Duration::from_secs(10);

struct Fixture {
    resolver: SocketAddr,
    counters: Arc<Counters>,
    names: watch::Sender<Arc<Names>>,
    _stop: watch::Sender<()>,
    _tasks: Tasks,
}

async fn resolver(forward: &[SocketAddr]) -> Fixture {
    let counters = Arc::new(Counters::default());
    let any = (Ipv4Addr::LOCALHOST, 0).into();
    let bound = Resolver::bind(any, forward.to_vec(), counters.clone()).unwrap();
    let (sender, receiver) = watch::channel(Arc::new(names()));
    let mut tasks = Tasks::new();
    let resolver = bound.address();
    let (stop, stopped) = watch::channel(());
    tasks.spawn("resolver", bound.run(receiver, stopped));
    Fixture { resolver, counters, names: sender, _stop: stop, _tasks: tasks }
}

/// Asks over UDP as an application does.
async fn ask(server: SocketAddr, query: &[u8]) -> Message {
    let socket = UdpSocket::bind((server.ip(), 0)).await.unwrap();
    socket.connect(server).await.unwrap();
    socket.send(query).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = timeout(LIMIT, socket.recv(&mut answer)).await.unwrap().unwrap();
    Message::from_vec(&answer[..length]).unwrap()
}

/// A server on UDP and TCP that answers by `answer`; none means silence.
async fn server(
    answer: impl Fn(Message) -> Option<Message> + Send + Sync + Copy + 'static,
) -> (SocketAddr, Tasks) {
    let Side { udp, tcp } = bind_both((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = tcp.local_addr().unwrap();
    let mut tasks = Tasks::new();
    tasks.spawn("udp", async move {
        let mut datagram = vec![0; 4096];
        loop {
            let (length, client) = udp.recv_from(&mut datagram).await.unwrap();
            if let Some(answer) = answer(Message::from_vec(&datagram[..length]).unwrap()) {
                // What a stranger would guess comes first; it must not be taken.
                let mut guess = answer.clone();
                guess.metadata.id ^= 1;
                guess.answers.clear();
                udp.send_to(&guess.to_vec().unwrap(), client).await.unwrap();
                udp.send_to(b"garbage", client).await.unwrap();
                udp.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
            }
        }
    });
    tasks.spawn("tcp", async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let query = forward::read_message(&mut stream).await.unwrap().unwrap();
            let mut reply = answer(Message::from_vec(&query).unwrap()).unwrap();
            reply.metadata.truncation = false;
            forward::write_message(&mut stream, &reply.to_vec().unwrap()).await.unwrap();
        }
    });
    (address, tasks)
}

/// The address says who answered.
fn reply(query: Message, last: u8) -> Message {
    let mut reply = Message::response(query.metadata.id, OpCode::Query);
    let name = query.queries[0].name.clone();
    reply.add_queries(query.queries);
    reply.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, last))));
    reply
}

fn only(message: &Message) -> String {
    assert_eq!(message.answers.len(), 1, "{message:?}");
    message.answers[0].data.to_string()
}

#[tokio::test]
async fn mesh_names_are_answered_and_follow_the_configuration() {
    let (upstream, _tasks) = server(|query| Some(reply(query, 2))).await;
    let fixture = resolver(&[upstream]).await;
    let asked = query("cart.", RecordType::A);
    let answer = ask(fixture.resolver, &asked.to_vec().unwrap()).await;
    assert_eq!((answer.metadata.id, only(&answer)), (asked.metadata.id, "127.64.0.7".into()));
    let six: SocketAddr = (Ipv6Addr::LOCALHOST, fixture.resolver.port()).into();
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok() {
        assert_eq!(only(&ask(six, &asked.to_vec().unwrap()).await), "127.64.0.7");
    }
    assert!(fixture.counters.mesh.load(Relaxed) >= 1);
    fixture.names.send_replace(Arc::default());
    assert_eq!(only(&ask(fixture.resolver, &asked.to_vec().unwrap()).await), "192.0.2.2");
}

#[tokio::test]
async fn other_names_are_forwarded_and_a_stranger_s_reply_is_not_taken() {
    let (upstream, _tasks) = server(|query| Some(reply(query, 1))).await;
    let fixture = resolver(&[upstream]).await;
    let asked = query("example.com.", RecordType::A);
    let answer = ask(fixture.resolver, &asked.to_vec().unwrap()).await;
    assert_eq!((answer.metadata.id, only(&answer)), (asked.metadata.id, "192.0.2.1".into()));
    assert_eq!(fixture.counters.forwarded.load(Relaxed), 1);
}

#[tokio::test]
async fn a_dead_a_silent_and_a_refusing_server_are_passed_over() {
    let dead = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (silent, _silent) = server(|_| None).await;
    let (refusing, _refusing) = server(|query| {
        let bytes = answer::refusal(&query.to_vec().unwrap(), ResponseCode::Refused);
        Some(Message::from_vec(&bytes).unwrap())
    })
    .await;
    let (good, _good) = server(|query| Some(reply(query, 4))).await;
    let fixture = resolver(&[dead, refusing, silent, good]).await;
    let asked = query("example.com.", RecordType::A).to_vec().unwrap();
    assert_eq!(only(&ask(fixture.resolver, &asked).await), "192.0.2.4");

    // A refusal is passed on when nobody knows better.
    let fixture = resolver(&[dead, refusing]).await;
    let answer = ask(fixture.resolver, &asked).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
    // And nobody at all is SERVFAIL, at once where the kernel says so.
    let fixture = resolver(&[dead]).await;
    let answer = ask(fixture.resolver, &asked).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(answer.queries.len(), 1);
    assert_eq!(fixture.counters.failed.load(Relaxed), 1);
}

#[tokio::test]
async fn a_cut_answer_is_passed_on_and_asked_again_over_tcp() {
    let (upstream, _tasks) = server(|query| {
        let mut cut = reply(query, 9);
        cut.metadata.truncation = true;
        Some(cut)
    })
    .await;
    let fixture = resolver(&[upstream]).await;
    let asked = query("big.example.com.", RecordType::A).to_vec().unwrap();
    assert!(ask(fixture.resolver, &asked).await.metadata.truncation);

    // Two queries on one connection, the second in pieces and of the mesh.
    let mut stream = TcpStream::connect(fixture.resolver).await.unwrap();
    forward::write_message(&mut stream, &asked).await.unwrap();
    let whole = timeout(LIMIT, forward::read_message(&mut stream)).await.unwrap().unwrap().unwrap();
    let whole = Message::from_vec(&whole).unwrap();
    assert!(!whole.metadata.truncation);
    assert_eq!(only(&whole), "192.0.2.9");
    let mesh = query("cart.shop.", RecordType::A).to_vec().unwrap();
    stream.write_u8(0).await.unwrap();
    stream.write_u8(mesh.len() as u8).await.unwrap();
    for byte in mesh {
        stream.write_u8(byte).await.unwrap();
    }
    let answer = timeout(LIMIT, forward::read_message(&mut stream)).await.unwrap().unwrap().unwrap();
    assert_eq!(only(&Message::from_vec(&answer).unwrap()), "127.64.0.7");
}

#[tokio::test]
async fn garbage_over_both_protocols_leaves_it_serving() {
    let fixture = resolver(&["127.0.0.1:9".parse().unwrap()]).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for length in [0, 1, 11, 12, 13, 600, 9000] {
        let garbage: Vec<u8> = (0..length).map(|_| fastrand::u8(..)).collect();
        socket.send_to(&garbage, fixture.resolver).await.unwrap();
        let mut stream = TcpStream::connect(fixture.resolver).await.unwrap();
        let _closed_early = stream.write_all(&garbage).await;
    }
    let asked = query("cart.", RecordType::A).to_vec().unwrap();
    assert_eq!(only(&ask(fixture.resolver, &asked).await), "127.64.0.7");
}
