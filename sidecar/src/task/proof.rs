//! Signs the question to STS that proves the task's role; it is not asked here.

use std::time::SystemTime;

use aws_credential_types::Credentials as Keys;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningError, SigningSettings, sign};
use aws_sigv4::sign::v4;
use outrigger_wire::control::proof::{BODY, BOUND_TO, BadProof, CONTENT_TYPE, Proof, Region};

use super::credentials::Credentials;

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// Another partition, or no region at all.
    #[error("the task's region `{0}` is not one whose STS is known")]
    Region(String),
    /// The signer refuses.
    #[error("the proof cannot be signed: {0}")]
    Sign(#[from] SigningError),
    /// The signer is told too little.
    #[error("the proof cannot be signed: {0}")]
    Parameters(#[from] v4::signing_params::BuildError),
    /// What was signed is not what is asked for.
    #[error("the credentials make no proof: {0}")]
    Bad(#[from] BadProof),
}

/// The proof that these are the credentials of a role, for the controller and the connection that `bound_to` names alone.
///
/// # Errors
/// See [`ProofError`].
pub fn prove(
    credentials: &Credentials,
    region: &str,
    bound_to: &str,
    now: SystemTime,
) -> Result<Proof, ProofError> {
    let region = Region::parse(region).ok_or_else(|| ProofError::Region(region.to_owned()))?;
    let Credentials { access_key_id, secret_access_key, token } = credentials;
    let keys = Keys::new(access_key_id, secret_access_key, Some(token.clone()), None, "task");
    let keys = keys.into();
    let parameters = v4::SigningParams::builder()
        .identity(&keys)
        .region(region.as_str())
        .name("sts")
        .time(now)
        .settings(SigningSettings::default())
        .build()?
        .into();
    let host = region.sts();
    let headers = [("content-type", CONTENT_TYPE), ("host", &host), (BOUND_TO, bound_to)];
    let body = SignableBody::Bytes(BODY.as_bytes());
    let request = SignableRequest::new("POST", format!("https://{host}/"), headers.into_iter(), body)?;
    let (signed, _signature) = sign(request, &parameters)?.into_parts();
    let added = |wanted: &str| {
        let found = signed.headers().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value).unwrap_or_default()
    };
    Ok(Proof::new(region.clone(), added("x-amz-date"), added("authorization"), token)?)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// The signature was computed by botocore 1.43.11 (`SigV4Auth` over the same request), not by us.
    #[test]
    fn signs_as_botocore_does() {
        let credentials = Credentials {
            access_key_id: "ASIAIOSFODNN7EXAMPLE".into(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            token: "IQoJb3JpZ2luX2VjEXAMPLE//token==".into(),
        };
        let now = UNIX_EPOCH + Duration::from_secs(1_769_903_999);
        let proof = prove(&credentials, "eu-west-1", "sha256:aa/bb", now).unwrap();
        let question = proof.question("sha256:aa/bb");
        let (_, authorization) = &question[5];
        assert_eq!(
            authorization,
            "AWS4-HMAC-SHA256 Credential=ASIAIOSFODNN7EXAMPLE/20260131/eu-west-1/sts/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-outrigger-controller, Signature=ef53c761476475d66eafa1d88fdc99681c73ae7f04076d8fef34077549c16efd"
        );
        assert_eq!(proof.signed_at(), 1_769_903_999);
        assert!(matches!(prove(&credentials, "mars", "x", now), Err(ProofError::Region(_))));
    }
}
