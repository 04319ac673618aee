use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use outrigger_controller::source::ecs::record::Stage;
use outrigger_wire::control::pin::Pin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ANY;
use super::caller::{bound, headers, headers_of, open, shake};
use super::cloud::{Cloud, Controller, key};
use crate::control::within;

/// PERMISSION_DENIED and UNAVAILABLE, as gRPC writes them.
const DENIED: &str = "7 ";
const UNAVAILABLE: &str = "14 ";

/// Calls with a proof by these keys that is right for the connection.
async fn call(controller: &Controller, name: &str, from: Option<&str>) -> Result<(), String> {
    call_with(controller, from, |bound_to| headers(name, bound_to, 0)).await
}

async fn call_with(
    controller: &Controller,
    from: Option<&str>,
    headers: impl FnOnce(&str) -> HeaderMap,
) -> Result<(), String> {
    let from: Option<IpAddr> = from.map(|from| from.parse().unwrap());
    let line = shake(controller.address, controller.pin, from).await.unwrap();
    let headers = headers(&bound(&line, controller.pin));
    open(line, headers).await
}

/// The words of a refusal, which the status shows as well.
async fn denied(controller: &Controller, name: &str, from: Option<&str>, words: &str) {
    let told = call(controller, name, from).await.unwrap_err();
    assert!(told.starts_with(DENIED) && told.contains(words), "{name}: {told}");
    let shown = controller.problems.all();
    assert!(
        shown.iter().any(|problem| problem.kind == "refused" && problem.what.contains(words)),
        "{shown:?}"
    );
    assert!(controller.proxies.all().is_empty());
}

#[tokio::test]
async fn a_proof_is_good_on_its_own_connection_and_there_once() {
    let cloud = Cloud::new().await;
    let controller = cloud.controller(ANY).await;
    let line = shake(controller.address, controller.pin, None).await.unwrap();
    let proof = headers("cart", &bound(&line, controller.pin), 0);
    let replayed = call_with(&controller, None, |_| proof.clone()).await.unwrap_err();
    assert!(replayed.starts_with(DENIED) && replayed.contains("another connection"), "{replayed}");
    // The same one, where it belongs.
    assert_eq!(open(line, proof.clone()).await, Ok(()));
    assert!(controller.problems.all().is_empty(), "who was let in is not shown as refused");
    let again = call_with(&controller, None, |_| proof).await.unwrap_err();
    assert!(again.contains("SignatureDoesNotMatch"), "{again}");
}

#[tokio::test]
async fn a_proof_for_another_controller_is_refused() {
    let cloud = Cloud::new().await;
    let controller = cloud.controller(ANY).await;
    let other = |bound_to: &str| {
        let (_, connection) = bound_to.split_once('/').unwrap();
        headers("cart", &format!("{}/{connection}", Pin::of(b"another root")), 0)
    };
    let told = call_with(&controller, None, other).await.unwrap_err();
    assert!(told.contains("it was made for another controller"), "{told}");
    let unbound = call_with(&controller, None, |_| headers("cart", "", 0)).await.unwrap_err();
    assert!(unbound.contains("SignatureDoesNotMatch"), "{unbound}");
}

#[tokio::test]
async fn another_role_another_account_and_no_role_at_all_are_refused() {
    let cloud = Cloud::new().await;
    let controller = cloud.controller(ANY).await;
    denied(
        &controller,
        "other role",
        None,
        "has the role cart-task by its definition, and the proof is of web-task",
    )
    .await;
    denied(
        &controller,
        "other account",
        None,
        "of account 111122223333, and the proof is of account 444455556666",
    )
    .await;
    denied(&controller, "user", None, "not that of a role").await;
    assert_eq!(call(&controller, "cart", None).await, Ok(()));
}

#[tokio::test]
async fn a_session_that_is_no_task_is_refused() {
    let cloud = Cloud::new().await;
    let controller = cloud.controller(ANY).await;
    denied(&controller, "no task", None, "the session eve of the role cart-task is no task").await;
}

#[tokio::test]
async fn a_stopped_task_is_refused() {
    let cloud = Cloud::new().await;
    let controller = cloud.controller(ANY).await;
    cloud.change(|task| task.desired_status = Stage::Stopped);
    denied(&controller, "cart", None, "is stopping").await;
    cloud.seen.send_modify(|seen| {
        std::sync::Arc::make_mut(&mut seen.tasks).retain(|_, task| task.service.as_deref() != Some("cart"));
    });
    let asked = cloud.sts.asked();
    denied(&controller, "cart", None, "127.0.0.1 is not the address of a meshed task").await;
    assert_eq!(cloud.sts.asked(), asked, "where nobody can be, nobody is asked about");
}

#[tokio::test]
async fn a_task_calls_from_its_own_address() {
    let cloud = Cloud::new().await;
    let controller = cloud.controller(ANY).await;
    let words = "has the address 127.0.0.1, and the call comes from 127.0.0.2";
    denied(&controller, "cart", Some("127.0.0.2"), words).await;
    assert_eq!(call(&controller, "web", Some("127.0.0.2")).await, Ok(()));
}

#[tokio::test]
async fn an_old_proof_and_one_of_tomorrow_are_refused_before_aws_is_asked() {
    let cloud = Cloud::new().await;
    let controller = cloud.controller(ANY).await;
    for seconds in [-301, 310, -86_400 * 400] {
        let told =
            call_with(&controller, None, |bound_to| headers("cart", bound_to, seconds)).await.unwrap_err();
        assert!(told.starts_with(DENIED) && told.contains("signed at another time"), "{seconds}: {told}");
    }
    assert_eq!(cloud.sts.asked(), 0);
    let close = call_with(&controller, None, |bound_to| headers("cart", bound_to, -200)).await;
    assert_eq!(close, Ok(()));
}

#[tokio::test]
async fn what_is_smuggled_in_never_reaches_aws() {
    let cloud = Cloud::new().await;
    let controller = cloud.controller(ANY).await;
    let edited = |name: &'static str, from: &'static str, to: String| {
        move |bound_to: &str| {
            let mut all = headers("cart", bound_to, 0);
            let name: http::HeaderName = format!("outrigger-proof-{name}").parse().unwrap();
            let value = all[&name].to_str().unwrap().replacen(from, &to, 1);
            all.insert(name, HeaderValue::from_str(&value).unwrap());
            all
        }
    };
    let cases = [
        ("a header more", edited("authorization", "content-type;", "accept;content-type;".into())),
        ("unbound", edited("authorization", ";x-outrigger-controller", String::new())),
        ("another service", edited("authorization", "/sts/", "/iam/".into())),
        ("another region", edited("region", "eu-west-1", "us-east-1".into())),
        ("another host", edited("region", "eu-west-1", "eu-west-1.evil.example/x-1".into())),
        ("a host with a port", edited("region", "eu-west-1", "eu-west-1:80".into())),
        (
            "a presigned URL",
            edited(
                "authorization",
                "AWS4-HMAC-SHA256 ",
                "https://sts.amazonaws.com/?X-Amz-Signature=".into(),
            ),
        ),
        ("a second signature", edited("authorization", ", Signature", ", Signature=00, Signature".into())),
        ("a long token", edited("token", "IQoJ", "I".repeat(9000))),
        ("an empty token", edited("token", "IQoJ//token==", String::new())),
        ("garbage", edited("date", "T", "\t".into())),
    ];
    for (what, headers) in cases {
        let told = call_with(&controller, None, headers).await.unwrap_err();
        assert!(told.starts_with(DENIED), "{what}: {told}");
    }
    let twice = call_with(&controller, None, |bound_to| {
        let mut all = headers("cart", bound_to, 0);
        all.append("outrigger-proof-token", HeaderValue::from_static("x"));
        all
    });
    assert!(twice.await.unwrap_err().contains("more than one"));
    let none = call_with(&controller, None, |_| HeaderMap::new()).await.unwrap_err();
    assert!(none.contains("there is no proof"), "{none}");
    assert_eq!(cloud.sts.asked(), 0);
}

#[tokio::test]
async fn headers_over_the_limit_and_bytes_that_are_no_tls_end_the_connection_alone() {
    let cloud = Cloud::new().await;
    let controller = cloud.controller(ANY).await;
    let long = call_with(&controller, None, |bound_to| {
        let mut all = headers("cart", bound_to, 0);
        all.insert("x-more", HeaderValue::from_str(&"x".repeat(64 << 10)).unwrap());
        all
    });
    assert!(long.await.is_err());
    let mut rng = 0x2545_F491_4F6C_DD1D_u64;
    for _ in 0..50 {
        let mut tcp = TcpStream::connect(controller.address).await.unwrap();
        let garbage: Vec<u8> = (0..200)
            .map(|_| {
                rng ^= rng << 13;
                rng ^= rng >> 7;
                rng ^= rng << 17;
                rng.to_le_bytes()[0]
            })
            .collect();
        let _refused_already = tcp.write_all(&garbage).await;
        let _reset = within(tcp.read_to_end(&mut Vec::new())).await;
    }
    assert_eq!(call(&controller, "cart", None).await, Ok(()));
}

#[tokio::test]
async fn without_aws_nobody_is_let_in() {
    let cloud = Cloud::new().await;
    let controller = cloud.controller(ANY).await;
    let says = |answer: Option<(u16, &str)>| {
        *cloud.sts.says.lock().unwrap() = answer.map(|(status, body)| (status, body.to_owned()));
    };
    for (status, body) in
        [(503, ""), (200, ""), (200, "<html>"), (429, "<Code>Throttling</Code>"), (302, "x")]
    {
        says(Some((status, body)));
        let told = call(&controller, "cart", None).await.unwrap_err();
        assert!(told.starts_with(UNAVAILABLE) && told.contains("cannot be asked"), "{status}: {told}");
    }
    let long = "x".repeat(1 << 20);
    says(Some((200, &long)));
    assert!(call(&controller, "cart", None).await.unwrap_err().starts_with(UNAVAILABLE));
    says(None);
    assert_eq!(call(&controller, "cart", None).await, Ok(()));
}

#[tokio::test]
async fn keys_that_aws_does_not_know_are_refused_and_who_goes_on_so_waits() {
    let cloud = Cloud::new().await;
    let controller = cloud.controller(ANY).await;
    let mut told = String::new();
    for _ in 0..80 {
        let line = shake(controller.address, controller.pin, None).await.unwrap();
        let made_up = super::fake::Key { id: "ASIAMADEUP0000000000", ..key("cart") };
        let headers = headers_of(&made_up, &bound(&line, controller.pin), 0);
        told = open(line, headers).await.unwrap_err();
        if told.starts_with(UNAVAILABLE) {
            break;
        }
        assert!(told.contains("InvalidClientTokenId"), "{told}");
    }
    assert!(told.contains("was refused too often"), "{told}");
    assert_eq!(call(&controller, "web", Some("127.0.0.2")).await, Ok(()), "others are heard");
}

/// Handshakes cost the controller more than the caller.
#[tokio::test]
async fn who_shakes_hands_without_end_and_proves_nothing_is_not_answered_and_others_are() {
    let cloud = Cloud::new().await;
    let controller = cloud.controller(ANY).await;
    let mut answered = 0;
    while shake(controller.address, controller.pin, None).await.is_ok() {
        answered += 1;
        assert!(answered < 2000, "it goes on and on");
    }
    assert!(answered >= 64, "{answered}");
    assert_eq!(call(&controller, "web", Some("127.0.0.2")).await, Ok(()));
    assert_eq!(cloud.sts.asked(), 1);
}
