//! What every call to the AWS API shares: region, credentials, TLS, limits in time, and who calls.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::{ProvideRegion, RegionProviderChain};
use aws_config::provider_config::ProviderConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, ConfigLoader, Region, SdkConfig, imds, profile};
use aws_sdk_ecs::config::{Credentials, SharedHttpClient};
use aws_smithy_http_client::{Builder, tls};
use rustls::RootCertStore;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

/// To connect, TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// For one attempt of one call. The longest is a long poll of a queue: 20 seconds.
const ATTEMPT: Duration = Duration::from_secs(40);

/// Why the AWS API cannot be called.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AwsError {
    /// Nobody said which region.
    #[error(
        "no AWS region: set AWS_REGION=eu-west-1, say; it is not in the environment, not in a profile, not in \
         OUTRIGGER_CLUSTERS as part of an ARN, and the instance metadata service does not answer"
    )]
    Region,
}

/// Region and credentials as the AWS SDK finds them: environment, profile, web identity, the task's role (container
/// credentials), the instance's role. `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_<SERVICE>` name other endpoints, also
/// plaintext ones. Clients retry three times, as the SDK does; who has a back-off of its own switches that off.
///
/// `region` is taken where the environment and the profile name none, before the instance is asked.
///
/// # Errors
/// There is no region.
pub async fn load(region: Option<String>) -> Result<SdkConfig, AwsError> {
    let client = client();
    let regions = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(profile::region::Builder::default().build())
        .or_else(region.map(Region::new))
        .or_else(instance(&client));
    let config = loader(client).region(regions).load().await;
    config.region().ok_or(AwsError::Region)?;
    Ok(config)
}

/// One region at one address, for tests; the environment counts for nothing but what is not said here.
pub async fn at(url: &str, region: &str) -> SdkConfig {
    let credentials = Credentials::new("AKIAIOSFODNN7EXAMPLE", "example", None, None, "tests");
    let loader = loader(client()).region(Region::new(region.to_owned())).endpoint_url(url);
    loader.credentials_provider(credentials).load().await
}

fn loader(client: SharedHttpClient) -> ConfigLoader {
    let name = concat!("outrigger-", env!("CARGO_PKG_VERSION"));
    let limits = TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(ATTEMPT).build();
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(client)
        .timeout_config(limits)
        .app_name(AppName::new(name).expect("letters, digits, dots and hyphens make a name"))
}

/// The region of the instance, by the same client.
fn instance(client: &SharedHttpClient) -> impl ProvideRegion + use<> {
    let config = ProviderConfig::without_region().with_http_client(client.clone());
    imds::region::Builder::default().configure(&config).build()
}

/// The compiled-in roots, for what is asked without the SDK.
pub fn roots() -> RootCertStore {
    let mut store = RootCertStore::empty();
    let (_added, _ignored) = store.add_parsable_certificates(TLS_SERVER_ROOT_CERTS.iter().cloned());
    store
}

/// HTTPS with the compiled-in roots, since images have no CA bundle, and plain HTTP where an endpoint says so.
fn client() -> SharedHttpClient {
    let roots = TLS_SERVER_ROOT_CERTS.iter().fold(tls::TrustStore::empty(), |store, root| {
        store.with_pem_certificate(pem::encode(&pem::Pem::new("CERTIFICATE", root.to_vec())))
    });
    let context = tls::TlsContext::builder().with_trust_store(roots).build();
    let context = context.expect("a trust store alone is a whole context");
    Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
        .tls_context(context)
        .build_https()
}
